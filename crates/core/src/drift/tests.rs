//! Watches over whole models.

use super::*;
use crate::model::tests::{Noise, plan_of, value};
use crate::plan::{
    CharacteristicPlan, InputReference, LinearPlan, PcaLimits, PcaPlan, ScoreReference,
};
use crate::tag::TagId;
use alloc::string::String;
use std::println;

/// Inputs of the plans here.
const INPUTS: u16 = 5;

/// Rows of a first-order process of variance 1.
struct Process {
    noise: Noise,
    memory: f64,
    x: [f64; INPUTS as usize],
}

impl Process {
    fn new(seed: u64, memory: f64) -> Self {
        let mut noise = Noise::new(seed);
        let x = core::array::from_fn(|_| noise.normal());
        Self { noise, memory, x }
    }

    fn row(&mut self) -> [f64; INPUTS as usize] {
        let fresh = libm::sqrt(1.0 - self.memory * self.memory);
        for x in &mut self.x {
            *x = self.memory * *x + fresh * self.noise.normal();
        }
        self.x
    }
}

fn features(row: &[f64]) -> Vec<FeatureValue> {
    row.iter().map(|x| value(*x)).collect()
}

fn monitor() -> Model {
    let p = usize::from(INPUTS);
    Model::Pca(PcaPlan {
        inputs: (0..INPUTS).map(FeatureId).collect(),
        lags: 0,
        mean: vec![0.0; p],
        scale: vec![1.0; p],
        loadings: (0..p).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect(),
        eigenvalues: vec![1.0],
        alarm: PcaLimits { t2: 6.6, spe: 13.3 },
        domain_out: PcaLimits { t2: 10.8, spe: 18.5 },
        domain_in: PcaLimits { t2: 6.6, spe: 13.3 },
    })
}

fn sensor() -> Model {
    let p = usize::from(INPUTS);
    Model::Linear(LinearPlan {
        inputs: (0..INPUTS).map(FeatureId).collect(),
        coefficients: vec![1.0; p],
        mean: vec![0.0; p],
        scale: vec![1.0; p],
        intercept: 0.0,
        half_width: 0.8,
        span: vec![(-3.5, 3.5); p],
        domain: None,
    })
}

/// A monitor and a sensor, watched as training on so many rows would have it.
fn plan(seed: u64, memory: f64, rows: usize) -> Plan {
    let mut plan = plan_of(vec![monitor(), sensor()]);
    plan.characteristics = vec![CharacteristicPlan {
        name: String::from("y"),
        unit: String::new(),
        part: TagId(0),
        value: TagId(0),
        range: (-1e9, 1e9),
    }];
    let mut process = Process::new(seed, memory);
    let rows: Vec<_> = (0..rows).map(|_| process.row()).collect();
    let mut models = Models::new(&plan);
    let mut scores = Vec::new();
    for row in &rows {
        models.score(&plan, &features(row));
        scores.push(models.get(ModelId(0)).unwrap().value);
    }
    let input = |id: u16| {
        let column: Vec<f64> = rows.iter().map(|row| row[usize::from(id)]).collect();
        let (ends, shares) = deciles(&column);
        let memory = persistence(&column);
        let rows = worth(column.len() as f64, memory);
        InputReference { feature: FeatureId(id), ends, shares, rows, memory }
    };
    let watch = |model, score, truth| DriftPlan {
        model,
        inputs: (0..INPUTS).map(input).collect(),
        score,
        truth,
        classes: Vec::new(),
        demotes: false,
    };
    let (mean, deviation) = moments(&scores);
    let score = ScoreReference { mean, deviation, memory: persistence(&scores) };
    plan.drifts = vec![
        watch(ModelId(0), Some(score), None),
        watch(ModelId(1), None, Some(CharacteristicId(0))),
    ];
    plan
}

/// Runs parts with labels; what came on, with the part.
fn run(
    plan: &Plan,
    process: &mut Process,
    parts: u64,
    change: impl Fn(u64, &mut [f64], &mut f64),
) -> Vec<(u64, ModelId, bool, Drift)> {
    let mut drifts = Drifts::new(plan);
    let mut models = Models::new(plan);
    let mut told = Vec::new();
    for part in 1..=parts {
        let mut row = process.row();
        let mut label = row.iter().sum::<f64>() + 0.4 * process.noise.normal();
        change(part, &mut row, &mut label);
        models.score(plan, &features(&row));
        drifts.observe(plan, &features(&row), &models, true, part);
        drifts.judge(plan, CharacteristicId(0), label, part, |_| Some(0.0));
        for place in 0..plan.drifts.len() {
            let model = plan.drifts[place].model;
            drifts.tell(place, |on, drift| {
                told.push((part, model, on, drift));
                true
            });
        }
    }
    told
}

/// What is promised in the book: without drift at most one event in 10,000 parts and model, with
/// memory from row to row or without.
#[test]
fn quiet_processes_drift_seldom() {
    let (mut events, mut parts) = (0, 0);
    for memory in [0.0, 0.5, 0.8] {
        for seed in 1..=10 {
            let plan = plan(seed, memory, 800);
            let mut process = Process::new(seed + 1000, memory);
            let told = run(&plan, &mut process, 4000, |_, _, _| {});
            let on = told.iter().filter(|(_, _, on, _)| *on).count();
            println!("memory {memory} seed {seed}: {on} {told:?}");
            events += on;
            parts += 4000;
        }
    }
    // Two models.
    assert!(events <= 2 * parts / 10_000, "{events} events in {parts} parts of two models");
}

/// Each change is found by the check that is there for it, names what it found, is told once, and
/// its end once.
#[test]
fn each_check_finds_its_change() {
    let plan = plan(1, 0.5, 800);
    let look = |change: &dyn Fn(u64, &mut [f64], &mut f64)| {
        let within = |part: u64, row: &mut [f64], label: &mut f64| {
            if (1001..=3000).contains(&part) {
                change(part, row, label);
            }
        };
        run(&plan, &mut Process::new(7, 0.5), 6000, within)
    };
    let check = |told: &[(u64, ModelId, bool, Drift)], model, check| {
        let mine = |told: &&(u64, ModelId, bool, Drift)| told.1 == model && told.3.check == check;
        let mine: Vec<_> = told.iter().filter(mine).copied().collect();
        let states: Vec<bool> = mine.iter().map(|told| told.2).collect();
        assert_eq!(states, [true, false], "{told:?}");
        assert!((1001..2600).contains(&mine[0].0) && mine[1].0 > 3000, "{mine:?}");
        assert!(mine[0].3.value > mine[0].3.limit, "{mine:?}");
        mine[0].3
    };
    // One input is spread narrower about its middle: neither score nor domain see that.
    let told = look(&|_, row, _| row[3] *= 0.3);
    let found = check(&told, ModelId(0), DriftCheck::Inputs);
    assert_eq!(found.feature, Some(FeatureId(3)));
    assert!(told.iter().all(|told| told.3.check != DriftCheck::Score), "{told:?}");
    let told = look(&|_, row, _| row[2] += 2.0);
    check(&told, ModelId(0), DriftCheck::Score);
    let told = look(&|_, row, _| row[1] += 4.0);
    check(&told, ModelId(1), DriftCheck::Domain);
    let told = look(&|_, _, label| *label += 1.0);
    check(&told, ModelId(1), DriftCheck::Loss);
    assert!(told.iter().all(|told| told.3.check == DriftCheck::Loss), "{told:?}");
}

/// What cannot be told now is told later; parts that are not clean, and labels of them, count
/// nowhere; a label that comes twice counts once.
#[test]
fn what_does_not_count() {
    let plan = plan(1, 0.0, 800);
    let (mut drifts, mut models) = (Drifts::new(&plan), Models::new(&plan));
    for part in 1..=100 {
        models.score(&plan, &features(&[50.0; 5]));
        drifts.observe(&plan, &features(&[50.0; 5]), &models, false, part);
        drifts.judge(&plan, CharacteristicId(0), 1e6, part, |_| Some(0.0));
    }
    assert_eq!(drifts.of_model(&plan, ModelId(0)).count(), 0);
    for part in 101..=200 {
        drifts.observe(&plan, &features(&[50.0; 5]), &models, true, part);
    }
    let found: Vec<_> = drifts.of_model(&plan, ModelId(1)).map(|d| d.check).collect();
    assert_eq!(found, [DriftCheck::Domain]);
    let mut asked = 0;
    for answer in [false, true, true] {
        drifts.tell(1, |on, _| {
            assert!(on);
            asked += 1;
            answer
        });
    }
    assert_eq!(asked, 2, "told again until it is taken, and no more");
    assert!(drifts.take_fresh(1) && !drifts.take_fresh(1));

    let mut drifts = Drifts::new(&plan);
    for part in 1..=400 {
        models.score(&plan, &features(&[0.0; 5]));
        drifts.observe(&plan, &features(&[0.0; 5]), &models, true, part);
        for _ in 0..200 {
            // Only the first of each part counts; after the usual loss is known it is 8 sd off.
            let label = if part == 100 { 1e6 } else { 0.1 };
            drifts.judge(&plan, CharacteristicId(0), label, part, |_| Some(0.0));
        }
    }
    let found = drifts.of_model(&plan, ModelId(1)).map(|drift| drift.check);
    assert!(found.into_iter().all(|check| check != DriftCheck::Loss));
}
