//! Scans that no shell would ever send: `step` is total all the same (design.md section 5, 8).

use alloc::vec::Vec;

use super::plans;
use super::rng::Rng;
use crate::cell::Cell;
use crate::mode::Mode;
use crate::plan::{CharacteristicId, LoopId};
use crate::scan::{Ack, AckResult, Action, Command, Label, Link, Order, Scan};
use crate::tag::{Sample, Status, TagId, Value};
use crate::time::{Mono, Now, Utc};
use crate::unit::Ticks;

const RUNS: u64 = 300;
const SCANS: u64 = 300;

/// Mostly small and growing, sometimes at the ends of what can be said.
fn number(rng: &mut Rng, near: i64) -> i64 {
    if rng.chance(60) {
        return rng.pick(&[i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]);
    }
    near.saturating_add(rng.range(-50, 100))
}

fn value(rng: &mut Rng, near: i64) -> Value {
    let x = [f64::NAN, f64::INFINITY, -0.0, f64::MAX, f64::MIN_POSITIVE, 1e300, 9.3e18, 50.0];
    match rng.below(4) {
        0 => Value::Float(rng.pick(&x)),
        1 => Value::Float(rng.range(-60, 120) as f64),
        2 => Value::Int(number(rng, near)),
        _ => Value::Bool(rng.chance(700)),
    }
}

fn sample(rng: &mut Rng, tags: usize, ms: i64) -> Sample {
    let index = rng.below(tags + 1);
    let stamp = rng.chance(500).then(|| Utc::from_nanos(number(rng, ms * 1_000_000)));
    Sample {
        tag: TagId(if rng.chance(20) { u16::MAX } else { u16::try_from(index).unwrap() }),
        value: (!rng.chance(50)).then(|| value(rng, ms)),
        status: rng.pick(&[Status::Good, Status::Good, Status::Uncertain(1), Status::Bad(2)]),
        source_time: stamp,
        server_time: stamp,
        received: Mono::from_nanos(number(rng, ms * 1_000_000)),
    }
}

fn command(rng: &mut Rng) -> Command {
    let id = LoopId(rng.pick(&[0, 0, 1, u16::MAX]));
    let proposal = rng.pick(&[0, 1, 2, u64::MAX]);
    let value = rng.pick(&[f64::NAN, f64::MAX, -f64::MAX, 10.0]);
    let characteristic = CharacteristicId(rng.pick(&[0, u16::MAX]));
    let label = Label { part: number(rng, 100), characteristic, value };
    let mode = rng.pick(&[Mode::Off, Mode::Shadow, Mode::Advisory, Mode::Auto]);
    rng.pick(&[
        Command::SetMode(id, mode),
        Command::SetMode(id, Mode::Auto),
        Command::TakeManual(id),
        Command::Approve { proposal, expected: Ticks::new(i64::MIN) },
        Command::Deny { proposal },
        Command::Trip(id),
        Command::Reset(id),
        Command::Label(label),
    ])
}

/// Extreme times, epochs, values and indices: no panic, no overflow, and writes stay finite.
#[test]
fn garbage_is_survived() {
    for seed in 0..RUNS {
        let rng = &mut Rng::new(seed);
        let plan = plans::draw(rng);
        let tags = plan.tags.len();
        let mut cell = Cell::new(plan).unwrap();
        for seq in 0..SCANS {
            let ms = i64::try_from(seq).unwrap() * 100;
            let changes: Vec<_> = (0..rng.below(20)).map(|_| sample(rng, tags, ms)).collect();
            let results = [AckResult::Good, AckResult::NotSent, AckResult::Unknown];
            let ack = |rng: &mut Rng| Ack {
                write: rng.pick(&[0, 1, 2, u64::MAX]),
                result: rng.pick(&results),
                at: Mono::from_nanos(number(rng, ms)),
            };
            let acks: Vec<_> = (0..rng.below(3)).map(|_| ack(rng)).collect();
            let order = |rng: &mut Rng| Order { id: rng.next(), command: command(rng) };
            let commands: Vec<_> = (0..rng.below(4)).map(|_| order(rng)).collect();
            let life = (!rng.chance(50)).then(|| Mono::from_nanos(number(rng, ms * 1_000_000)));
            let mono = Mono::from_nanos(number(rng, ms * 1_000_000));
            let utc = Utc::from_nanos(number(rng, ms));
            let epoch = if rng.chance(20) { rng.next() } else { 1 };
            let link = |rng: &mut Rng| Link { up: !rng.chance(20), epoch, life };
            let links = [link(rng), link(rng)];
            let scan = Scan {
                seq,
                now: Now { mono, utc },
                links: &links[..rng.below(3)],
                changes: &changes,
                acks: &acks,
                commands: &commands,
            };
            for action in cell.step(scan) {
                assert!(!matches!(action, Action::Write(w) if !w.value().is_finite()));
            }
        }
    }
}
