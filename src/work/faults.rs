//! What is watched: the faults of the recipe, and those of every service: links, sensors, trips,
//! drift.

use std::collections::{BTreeMap, BTreeSet};

use trimloop_core::plan::{Model, Plan, Source};
use trimloop_core::time::{Span, Utc};
use trimloop_orders::book::Stamp;
use trimloop_orders::draft::{Card, Origin, Part};
use trimloop_orders::engine::{Setup, Trim};
use trimloop_orders::meters::{CYCLES, MeterPlan, PlanRule, RUN_HOURS};
use trimloop_recipe::Bound;
use trimloop_recipe::fault::{Fault, Meter, When};
use trimloop_work::alarm::AlarmPlan;
use trimloop_work::desk::{DeskPlan, Mode};
use trimloop_work::key::{Fingerprint, Subject};
use trimloop_work::outbox::Terms;
use trimloop_work::watch::{Trigger, Watched};
use trimloop_work::works::Relations;

use crate::journal::hex;
use crate::output::utc_text;

/// A link that comes back by itself needs nobody.
const LINK_DELAY: Span = Span::from_secs(300);
/// A sensor that is bad for a moment was a bad moment.
const SENSOR_DELAY: Span = Span::from_secs(600);

/// After the work a chart needs parts to come down, and an alarm its off-delay; before then nobody
/// can say that the work did not help.
const GRACE: Span = Span::from_secs(3600);

/// Where a service stands, for its faults.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Site; may be empty.
    pub site: String,
    /// Cell.
    pub cell: String,
}

/// What the desk of a cell is about. `pace`: see [`Setup::pace`].
#[must_use]
pub fn setup(bound: &Bound, place: &Place, pace: (Utc, i64)) -> Setup {
    let plan = &bound.plan;
    let mut origin = Origin {
        recipe: format!(
            "Recipe: {} r{}, plan {}",
            plan.name,
            plan.revision,
            hex(&plan.hash).get(..12).unwrap_or_default()
        ),
        models: plan
            .models
            .iter()
            .filter(|model| model.hash != [0; 32])
            .map(|model| {
                let hash = hex(&model.hash);
                format!("Model: {} {}", model.name, hash.get(..12).unwrap_or_default())
            })
            .collect(),
        ..Origin::default()
    };
    let mut faults = Vec::new();
    let mut plans = Vec::new();
    for fault in &bound.faults {
        let (watched, card) = of_recipe(fault, place);
        if let When::Every(meter, every) = fault.when {
            let meter = match meter {
                Meter::Cycles => CYCLES,
                Meter::RunHours => RUN_HOURS,
            };
            let subject = watched.subject.clone();
            plans.push(PlanRule { name: fault.name.clone(), subject, meter, every });
        }
        origin.cards.insert(watched.subject.fingerprint(), card);
        faults.push(watched);
    }
    for (watched, card) in of_system(plan, place) {
        // What the recipe says of a trigger stands in the place of what every service has.
        let is_said = |said: &&Watched| said.trigger == watched.trigger;
        if !faults.iter().any(|said| is_said(&said)) {
            origin.cards.insert(watched.subject.fingerprint(), card);
            faults.push(watched);
        }
    }
    Setup {
        faults,
        relations: relations(plan),
        plan: DeskPlan { grace: GRACE, ..DeskPlan::default() },
        terms: Terms::default(),
        origin,
        trims: trims(plan),
        poll: Span::ZERO,
        utc_text,
        pace,
        stamp: Stamp::default(),
        meters: MeterPlan::default(),
        plans,
        channels: Vec::new(),
    }
}

/// Faults with their names and fingerprints, as people call them.
#[must_use]
pub fn names(setup: &Setup) -> Vec<(String, Fingerprint)> {
    let each = setup.faults.iter().map(|fault| &fault.subject);
    each.map(|subject| (name(subject), subject.fingerprint())).collect()
}

/// Asset, fault and component in one word: `press-4.check_ring_worn.check_ring`.
#[must_use]
pub fn name(subject: &Subject) -> String {
    subject.name()
}

fn of_recipe(fault: &Fault, place: &Place) -> (Watched, Card) {
    let trigger = match fault.when.clone() {
        When::Signature(name) => Trigger::Signature(name),
        When::Chart(name) => Trigger::Chart(name),
        When::Saturated(name) => Trigger::Saturated(name),
        When::Tripped(name) => Trigger::Tripped(name),
        When::Sensor(name) => Trigger::Sensor(name),
        When::Link(name) => Trigger::Link(name),
        When::Domain(name) => Trigger::OutOfDomain(name),
        When::Drift(name) => Trigger::Drift(name),
        When::Every(..) => Trigger::Planned(fault.name.clone()),
        When::AuthorityUsed(of_loop, percent) => Trigger::AuthorityUsed { of_loop, percent },
    };
    let of_loop = match &trigger {
        Trigger::AuthorityUsed { of_loop, .. } => Some(of_loop.clone()),
        Trigger::Saturated(name) | Trigger::Tripped(name) => Some(name.clone()),
        _ => None,
    };
    let watched = Watched {
        subject: subject(place, &fault.asset, &fault.name, &fault.component),
        trigger,
        alarm: AlarmPlan {
            on_delay: fault.on_delay,
            off_delay: fault.off_delay,
            latches: fault.latches,
            ..AlarmPlan::default()
        },
        priority: fault.priority,
        order: if fault.is_auto { Mode::Auto } else { Mode::Propose },
        // What is due by a meter is done when it is done: there is nothing to prove.
        proof: if matches!(fault.when, When::Every(..)) { Some(Span::ZERO) } else { fault.proof },
    };
    let part = |(name, reference, quantity): &(String, String, u32)| Part {
        name: name.clone(),
        reference: reference.clone(),
        quantity: *quantity,
    };
    let card = Card {
        title: fault.title.clone(),
        advice: fault.advice.clone(),
        assignee: fault.assignee.clone(),
        skill: fault.skill.clone(),
        asset_ref: fault.asset_ref.clone(),
        parts: fault.parts.iter().map(part).collect(),
        of_loop,
    };
    (watched, card)
}

/// A person approves each of these: they are about what trimloop sees with, not about the machine.
fn of_system(plan: &Plan, place: &Place) -> Vec<(Watched, Card)> {
    let mut all = Vec::new();
    let mut add =
        |trigger, asset: &str, mode: &str, component: &str, priority, delay, advice: &str| {
            let watched = Watched {
                subject: subject(place, asset, mode, component),
                trigger,
                alarm: AlarmPlan { on_delay: delay, off_delay: delay, ..AlarmPlan::default() },
                priority,
                order: Mode::Propose,
                proof: None,
            };
            let card = Card {
                title: mode.replace('_', " "),
                advice: advice.to_owned(),
                ..Card::default()
            };
            all.push((watched, card));
        };
    let plc = |index: usize| plan.links.get(index).map_or("plc", |link| link.name.as_str());
    for link in &plan.links {
        let advice = "Look at the PLC, its network and its heartbeat block; `trimloop status`.";
        add(Trigger::Link(link.name.clone()), &link.name, "link_lost", "", 2, LINK_DELAY, advice);
    }
    for tag in &plan.tags {
        let advice = "Look at the sensor, its wiring and its node; `trimloop status` says what is \
                      wrong with its values.";
        let asset = plc(tag.plc.index());
        let trigger = Trigger::Sensor(tag.name.clone());
        add(trigger, asset, "sensor_bad", &tag.name, 3, SENSOR_DELAY, advice);
    }
    let lead = plc(0);
    for of_loop in &plan.loops {
        let advice = "Find the cause, then: trimloop loop reset; the loop stays in SHADOW.";
        let trigger = Trigger::Tripped(of_loop.name.clone());
        add(trigger, lead, "loop_tripped", &of_loop.name, 2, Span::ZERO, advice);
    }
    for model in plan.models.iter().filter(|model| model.hash != [0; 32]) {
        let advice = "Look at the inputs, then train it anew: trimloop model train.";
        let trigger = Trigger::Drift(model.name.clone());
        add(trigger, lead, "model_drift", &model.name, 4, Span::ZERO, advice);
    }
    all
}

fn subject(place: &Place, asset: &str, mode: &str, component: &str) -> Subject {
    Subject {
        site: place.site.clone(),
        cell: place.cell.clone(),
        asset: asset.to_owned(),
        mode: mode.to_owned(),
        component: component.to_owned(),
    }
}

fn trims(plan: &Plan) -> BTreeMap<String, Trim> {
    let of = |of_loop: &trimloop_core::plan::LoopPlan| {
        let setpoint = plan.setpoints.get(of_loop.setpoint.index())?;
        let grid = setpoint.grid;
        let baseline = grid.value(setpoint.baseline);
        let most = grid.value(setpoint.baseline + setpoint.trim_max) - baseline;
        (most > 0.0).then(|| (of_loop.name.clone(), Trim { baseline, most }))
    };
    plan.loops.iter().filter_map(of).collect()
}

/// PLC -> its tags -> models and signatures made of them; PLC -> loops that write to it.
fn relations(plan: &Plan) -> Relations {
    let mut all = Relations::new();
    let tag_of = |feature: usize| {
        let mut tags = BTreeSet::new();
        if let Some(feature) = plan.features.get(feature) {
            tags.insert(feature.tag.index());
            if let Some((a, b)) = feature.combine.map(trimloop_core::plan::Combine::of) {
                for of in [a, b] {
                    tags.extend(plan.features.get(of.index()).map(|f| f.tag.index()));
                }
            }
        }
        tags
    };
    let tags_of_model = |index: usize| -> BTreeSet<usize> {
        let model = plan.models.get(index);
        let inputs = model.map_or_else(Vec::new, |model| inputs(&model.model));
        inputs.into_iter().flat_map(tag_of).collect()
    };
    let mut rests = |tags: BTreeSet<usize>, node: String| {
        for tag in tags {
            let Some(tag) = plan.tags.get(tag) else { continue };
            let plc = plan.links.get(tag.plc.index()).map(|link| format!("plc:{}", link.name));
            let of = [Some(format!("tag:{}", tag.name)), plc];
            for source in of.into_iter().flatten().filter(|source| *source != node) {
                all.entry(source).or_default().insert(node.clone());
            }
        }
    };
    for (index, tag) in plan.tags.iter().enumerate() {
        rests([index].into(), format!("tag:{}", tag.name));
    }
    for (index, model) in plan.models.iter().enumerate() {
        rests(tags_of_model(index), format!("model:{}", model.name));
    }
    for signature in &plan.signatures {
        let tags = signature.clauses.iter().flat_map(|clause| match clause.source {
            Source::Feature(feature) => tag_of(feature.index()),
            Source::Chart(model)
            | Source::T2(model)
            | Source::Spe(model)
            | Source::Prediction(model)
            | Source::Probability(model, _) => tags_of_model(model.index()),
        });
        rests(tags.collect(), format!("signature:{}", signature.name));
    }
    for of_loop in &plan.loops {
        let tag = plan.setpoints.get(of_loop.setpoint.index()).map(|s| s.tag.index());
        rests(tag.into_iter().collect(), format!("loop:{}", of_loop.name));
    }
    all
}

/// Features that a model is made of.
fn inputs(model: &Model) -> Vec<usize> {
    let of = |features: &[trimloop_core::plan::FeatureId]| {
        features.iter().map(|feature| feature.index()).collect()
    };
    match model {
        Model::Chart(chart) => vec![chart.input.index()],
        Model::Pca(plan) => of(&plan.inputs),
        Model::Monitor(plan) => of(&plan.inputs),
        Model::Combined(plan) => of(plan.inputs()),
        Model::Linear(plan) => of(&plan.inputs),
        Model::Forest(plan) => of(&plan.inputs),
        Model::Logistic(plan) => of(&plan.inputs),
    }
}
