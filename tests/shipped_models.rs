//! The shipped models are what training on the simulated press gives, byte for byte.
//!
//! `UPDATE=1 cargo test --test shipped_models` writes them anew.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use trimloop_core::plan::{FeatureId, Model};
use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header, Kind};
use trimloop_simulator::cell::Cell as Press;
use trimloop_simulator::{Cause, Scenario, Sensor};
use trimloop_train::{PcaOptions, RidgeOptions, Table, fit_pca, fit_ridge};

/// Seeds of the training runs; none of them is used by a test or by the demo's acceptance.
const SEEDS: std::ops::RangeInclusive<u64> = 101..=106;
/// Parts of each run.
const PARTS: u64 = 3600;
/// What happens before hold pressure acts: a correction cannot change it.
const UPSTREAM: [(&str, &str, Sensor); 7] = [
    ("fill_pressure", "bar", Sensor::InjectionPeakPressure),
    ("fill_work", "bar s", Sensor::FillPressureIntegral),
    ("melt_temp", "degC", Sensor::MeltTemp),
    ("mould_temp", "degC", Sensor::MouldTemp),
    ("cushion", "mm", Sensor::Cushion),
    ("plasticising_time", "s", Sensor::PlasticisingTime),
    ("screw_torque", "Nm", Sensor::ScrewTorque),
];

/// Parts made at the baseline setpoints: upstream values and weight.
fn history() -> (Table, Vec<f64>) {
    let (mut rows, mut weights) = (Vec::new(), Vec::new());
    for seed in SEEDS {
        let mut press = Press::new(Scenario::named("nominal").expect("a scenario"), seed);
        press.set_producing(true);
        while press.part() < PARTS {
            press.prepare();
            press.latch();
            let Some(shot) = press.complete().shot else { continue };
            // A short shot weighs less for another reason than those the sensor can see.
            if shot.cause == Some(Cause::Short) {
                continue;
            }
            let readings = press.sensors().readings();
            rows.push(UPSTREAM.iter().map(|(_, _, s)| readings[*s as usize].value).collect());
            weights.push(shot.weight_g);
        }
    }
    let names = UPSTREAM.iter().map(|(name, _, _)| (*name).to_owned()).collect();
    (Table::new(names, &rows).expect("a table"), weights)
}

fn header(id: &str, kind: Kind, rows: usize, note: String) -> Header {
    let features = UPSTREAM
        .iter()
        .map(|(name, unit, _)| FeatureSpec { name: (*name).to_owned(), unit: (*unit).to_owned() });
    Header {
        id: id.to_owned(),
        kind,
        features: features.collect(),
        recipe: "housing-lid r1".to_owned(),
        rows: rows as u64,
        window: None,
        seed: *SEEDS.start(),
        note,
    }
}

fn hold(id: &str, artifact: &Artifact, card: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(id);
    let (model, page) = (folder.join("model.tlm"), folder.join("card.md"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&model, artifact.write()).expect("a file");
        std::fs::write(&page, card).expect("a file");
    }
    let stale = "is stale: UPDATE=1 cargo test --test shipped_models";
    assert!(std::fs::read(&model).unwrap_or_default() == artifact.write(), "{id} {stale}");
    assert_eq!(std::fs::read_to_string(&page).unwrap_or_default(), card, "{id} card {stale}");
}

/// Both artifacts and their cards are current.
#[test]
fn shipped_models_are_current() {
    let (table, weights) = history();
    let inputs: Vec<FeatureId> = (0..7).map(FeatureId).collect();
    let rows = table.rows();

    let pca = fit_pca(&table, &PcaOptions::default()).expect("a monitor");
    let id = "upstream-r1";
    let note = format!(
        "{} components, {:.1} % of the variance; held out {:.2} % over the alarm limits.",
        pca.components,
        100.0 * pca.report.explained,
        100.0 * pca.report.held_out,
    );
    let card = format!(
        "# {id}\n\nMonitor (T2 and SPE) of what happens in the press before hold pressure acts.\n\n\
         - {rows} parts of the simulated press, scenario nominal, seeds 101 to 106, baseline \
         setpoints.\n- {note}\n- Results of a simulator; no field claim.\n",
    );
    let model = Model::Pca(pca.plan(&inputs).expect("a plan"));
    let header_of = |id, kind, note| header(id, kind, rows, note);
    hold(id, &Artifact::new(header_of(id, Kind::Pca, note), &model).expect("an artifact"), &card);

    let line = fit_ridge(&table, &weights, &RidgeOptions::default()).expect("a soft sensor");
    let id = "weight-sensor-r1";
    let note = format!(
        "Held out: RMSE {:.4} g, R2 {:.3}; 90 % interval of half width {:.4} g.",
        line.rmse_held_out, line.r2_held_out, line.half_width,
    );
    let card = format!(
        "# {id}\n\nWeight of the lid at the baseline setpoints, from what happens before hold \
         pressure acts.\n\n- {rows} parts of the simulated press, scenario nominal, seeds 101 to \
         106, baseline setpoints.\n- {note}\n- Results of a simulator; no field claim.\n",
    );
    let model = Model::Linear(line.plan(&inputs, None).expect("a plan"));
    hold(id, &Artifact::new(header_of(id, Kind::Linear, note), &model).expect("one"), &card);
}
