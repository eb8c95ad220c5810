//! Models beside the loops: drift lowers them and never raises them, challengers do not touch them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::faults::{Fault, Faults};
use super::plans;
use super::rng::Rng;
use super::run::Run;
use super::tally::Tally;
use super::world::{OwnedScan, World};
use crate::cell::Cell;
use crate::event::What;
use crate::model::forecast::{ForecastPlan, Forecaster};
use crate::plan::{
    ChallengerPlan, CharacteristicId, Clause, ForecastOf, Model, ModelId, Plan, Source,
};
use crate::record::Record;
use crate::scan::Action;
use crate::slip::{Slip, with_slip};

/// The model that an action is about, where it is about one and nothing else.
fn about(action: &Action) -> Option<ModelId> {
    match action {
        Action::Record(Record::Score(row)) => Some(row.model),
        Action::Record(Record::Contribution(row)) => Some(row.model),
        Action::Event(event) => match event.what {
            What::Domain(model, _) | What::Alarm(model, _) | What::Drift(model, _) => Some(model),
            _ => None,
        },
        _ => None,
    }
}

fn shown<'a>(actions: impl Iterator<Item = &'a Action>) -> Vec<String> {
    actions.map(|action| format!("{action:?}")).collect()
}

/// With challengers and without, a cell does the same, bit for bit, but for what is told of the
/// challengers themselves.
#[test]
fn challengers_change_nothing() {
    let mut rng = Rng::new(11);
    let (mut scored, mut alarms) = (0, 0);
    for _ in 0..150 {
        let seed = rng.next();
        let mut plan = plans::draw_one(&mut Rng::new(seed));
        let alone = plan.clone();
        plans::challenge(&mut plan, true, true);
        let faults: Vec<_> = (0..rng.below(8)).map(|_| rng.pick(Fault::ALL)).collect();
        let mut world = World::new(&plan, seed, Faults::of(&faults));
        let mut with = Cell::new(plan.clone()).unwrap();
        let mut without = Cell::new(alone.clone()).unwrap();
        let mut scan = OwnedScan::default();
        for step in 0..400 {
            if world.restarts() {
                with = Cell::new(plan.clone()).unwrap();
                without = Cell::new(alone.clone()).unwrap();
            }
            world.next(&mut scan);
            let actions = with.step(scan.scan());
            let of_challenger =
                |action: &&Action| about(action).is_some_and(|m| plan.champion_of(m).is_some());
            scored += actions.as_slice().iter().filter(of_challenger).count();
            alarms += actions
                .as_slice()
                .iter()
                .filter(|a| matches!(a, Action::Event(e) if matches!(e.what, What::Alarm(_, true))))
                .filter(of_challenger)
                .count();
            let rest = actions.as_slice().iter().filter(|action| !of_challenger(action));
            let others = without.step(scan.scan());
            assert_eq!(shown(rest), shown(others.as_slice().iter()), "seed {seed} step {step}");
            world.react(actions.as_slice());
        }
    }
    assert!(scored > 10_000 && alarms > 100, "{scored} {alarms}");
}

/// With forecasts and without, a cell does the same, bit for bit, but for what is told of the
/// forecasts; and those are what a forecaster makes of the recorded scores.
#[test]
fn forecasts_change_nothing() {
    let mut rng = Rng::new(12);
    let (mut made, mut near, mut far) = (0, 0, 0);
    for _ in 0..60 {
        let seed = rng.next();
        let mut plan = plans::draw_one(&mut Rng::new(seed));
        let alone = plan.clone();
        let sensor = ForecastPlan {
            horizon: 8,
            level: 0.9,
            low_limit: None,
            high_limit: Some(1.5),
            floor: None,
        };
        let monitor = ForecastPlan { high_limit: Some(1.0), floor: Some(0.0), ..sensor };
        plan.forecasts = [(ModelId(0), monitor), (ModelId(1), sensor)]
            .map(|(model, how)| ForecastOf { model, how })
            .to_vec();
        let mut world = World::new(&plan, seed, Faults::of(&[]));
        let mut with = Cell::new(plan.clone()).unwrap();
        let mut without = Cell::new(alone.clone()).unwrap();
        let mut again: Vec<_> = plan.forecasts.iter().map(|of| Forecaster::new(&of.how)).collect();
        let mut expect = alloc::vec![None; 2];
        let mut scan = OwnedScan::default();
        for step in 0..400 {
            world.next(&mut scan);
            let actions = with.step(scan.scan());
            let of_forecast = |action: &&Action| match action {
                Action::Record(Record::Forecast(_)) => true,
                Action::Event(event) => {
                    matches!(event.what, What::LimitNear(..) | What::LimitFar(_))
                }
                _ => false,
            };
            for action in actions.as_slice() {
                match action {
                    Action::Record(Record::Score(row)) if row.model.index() < 2 => {
                        let half = row.value.map_or(0.0, |value| row.high - value).max(0.0);
                        let found = again[row.model.index()].observe(row.value);
                        expect[row.model.index()] = found.map(|found| found.widened(half));
                    }
                    Action::Record(Record::Forecast(row)) => {
                        assert_eq!(Some(row.forecast), expect[row.model.index()], "{seed} {step}");
                        made += 1;
                    }
                    Action::Event(event) => {
                        near += u32::from(matches!(event.what, What::LimitNear(..)));
                        far += u32::from(matches!(event.what, What::LimitFar(_)));
                    }
                    _ => {}
                }
            }
            let rest = actions.as_slice().iter().filter(|action| !of_forecast(action));
            let others = without.step(scan.scan());
            assert_eq!(shown(rest), shown(others.as_slice().iter()), "seed {seed} step {step}");
            world.react(actions.as_slice());
        }
    }
    assert!(made > 1000 && near > 5 && far > 5 && far <= near, "{made} {near} {far}");
}

/// A cell cannot be asked to forecast what has no course, or what is not there.
#[test]
fn forecasts_are_checked() {
    let mut plan = plans::draw_one(&mut Rng::new(5));
    plans::challenge(&mut plan, true, true);
    plan.loops.iter_mut().for_each(|of| of.domain = None);
    let how = ForecastPlan {
        horizon: 8,
        level: 0.9,
        low_limit: None,
        high_limit: Some(1.5),
        floor: None,
    };
    let refused = |of: &[(u16, ForecastPlan)]| {
        let mut plan = plan.clone();
        plan.forecasts = of
            .iter()
            .map(|(model, how)| ForecastOf { model: ModelId(*model), how: *how })
            .collect();
        plan.check().err().map(|error| error.0)
    };
    assert_eq!(refused(&[(0, how), (1, how)]), None);
    let wrong = "a forecast's horizon, level or limits";
    assert_eq!(refused(&[(1, ForecastPlan { horizon: 0, ..how })]), Some(wrong));
    assert_eq!(refused(&[(1, ForecastPlan { low_limit: Some(1.5), ..how })]), Some(wrong));
    assert_eq!(refused(&[(1, ForecastPlan { high_limit: Some(f64::NAN), ..how })]), Some(wrong));
    assert_eq!(refused(&[(1, how), (1, how)]), Some("a model is forecast twice"));
    assert_eq!(refused(&[(9, how)]), Some("a forecast has no model"));
    assert_eq!(refused(&[(3, how)]), Some("a challenger is forecast"));
}

/// A loop that goes on while its model drifts is seen by the judge.
#[test]
fn a_loop_that_stays_up_is_found() {
    let mut rng = Rng::new(3);
    let why = (0..1000).find_map(|_| {
        let run = Run { seed: rng.next(), faults: 0, scans: 400 };
        with_slip(Slip::DriftKeepsMode, || run.play(&mut Tally::default(), false)).err()
    });
    assert!(why.unwrap_or_default().contains("acts on a model that drifts"));
}

/// No plan lets anything that decides look at a challenger.
#[test]
fn nothing_may_look_at_a_challenger() {
    let mut plan = plans::draw_one(&mut Rng::new(5));
    plans::challenge(&mut plan, true, true);
    plan.loops.iter_mut().for_each(|of| of.domain = None);
    assert_eq!(plan.check(), Ok(()));
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan.check().unwrap_err().0
    };
    let (monitor, sensor) = (ModelId(2), ModelId(3));
    let clause = Clause { source: Source::T2(monitor), above: true, on: 1.0, off: 0.5 };
    let found = refused(&|plan| plan.signatures[0].clauses.push(clause));
    assert_eq!(found, "a clause looks at a challenger");
    let found = refused(&|plan| plan.loops[0].domain = Some(monitor));
    assert_eq!(found, "a loop rests on a challenger");
    let found = refused(&|plan| {
        let Model::Linear(linear) = &mut plan.models[1].model else { panic!() };
        linear.domain = Some(monitor);
    });
    assert_eq!(found, "a model shares the domain of a challenger");
    let challenger = ChallengerPlan { model: ModelId(1), of: sensor };
    let found = refused(&|plan| plan.challengers.push(challenger));
    assert_eq!(found, "a challenger challenges another");
    let found = refused(&|plan| plan.challengers[0].of = ModelId(9));
    assert_eq!(found, "a challenger or its champion does not exist");
    let watch = |model, truth| crate::plan::DriftPlan {
        model,
        inputs: Vec::new(),
        score: None,
        truth,
        classes: Vec::new(),
        demotes: true,
    };
    let found = refused(&|plan| plan.drifts = alloc::vec![watch(sensor, None)]);
    assert_eq!(found, "a challenger is watched for drift");
    let found = refused(&|plan| {
        plan.drifts = alloc::vec![watch(ModelId(1), Some(CharacteristicId(7)))];
    });
    assert_eq!(found, "a drift watch's label does not exist");
    let found = refused(&|plan| plan.drifts = alloc::vec![watch(ModelId(9), None)]);
    assert_eq!(found, "a drift watch has no model");
}
