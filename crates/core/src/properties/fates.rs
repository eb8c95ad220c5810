//! Each arrow of the ledger's diagram, one row per path through it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::permits::good;
use super::plans;
use super::rng::Rng;
use crate::guard::{ApprovedWrite, Decision, Intent, permit};
use crate::ledger::{Fate, Finding, ReadBack, Register};
use crate::mode::Mode;
use crate::plan::{Plan, SetpointId};
use crate::scan::{Ack, AckResult};
use crate::time::{Mono, Process, Span};
use crate::unit::{Grid, Stand, Ticks};

/// One thing that happens to a register, at its millisecond.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A write of this number, from one tick to another.
    Write(u64, i64, i64),
    Answer(u64, AckResult),
    /// Read back, received now.
    Read(i64),
    /// Read back, but received at that millisecond.
    Old(i64, i64),
    /// Read back while nobody has taken the loop.
    NotOurs(i64),
    Lost,
    Prove(bool),
}

/// The fate of the newest write, what was found, and whether a write is still under way.
type Expect = (Option<Fate>, Option<Finding>, bool);
/// When, what happens, what is so then.
type Scene = (i64, Step, Expect);

const IDLE: bool = true;
const UNDER_WAY: bool = false;

fn plan() -> Plan {
    let mut plan = plans::draw_one(&mut Rng::new(0));
    let limits = &mut plan.setpoints[0];
    limits.grid = Grid::new(1, 0).unwrap();
    limits.baseline = Ticks::new(10);
    (limits.low, limits.high) = (Ticks::new(-100), Ticks::new(100));
    limits.trim_max = Ticks::new(100);
    (limits.step_up, limits.step_down) = (Ticks::new(50), Ticks::new(50));
    limits.rate = None;
    limits.deadband = Ticks::ZERO;
    limits.confirm = Span::from_millis(400);
    plan.rows.clear();
    plan
}

/// Only the guard makes writes, so the guard is asked for this one.
fn write(plan: &Plan, seq: u64, from: i64, to: i64, at: Mono) -> ApprovedWrite {
    let limits = &plan.setpoints[0];
    let mut evidence = good(limits);
    (evidence.seq, evidence.now, evidence.mode) = (seq, at, Mode::Auto);
    evidence.read_back = Some(Stand::on(Ticks::new(from)));
    let desired = limits.grid.value(Ticks::new(to));
    let registers: Vec<_> =
        plan.setpoints.iter().map(|_| Some((Ticks::new(from), Ticks::new(from)))).collect();
    match permit(plan, SetpointId(0), Intent::Label, desired, &evidence, &registers).decision {
        Decision::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

fn play(name: &str, steps: &[Scene]) {
    let plan = plan();
    let limits = &plan.setpoints[0];
    let mut register = Register::new(Process::default());
    let mut trail: Vec<String> = Vec::new();
    for (ms, step, expect) in steps {
        let now = Mono::from_millis(*ms);
        let mut observe = |ticks, received, ours| {
            let read = ReadBack { stand: Stand::on(Ticks::new(ticks)), received };
            register.observe(limits, Some(read), now, ours).map(|(finding, _)| finding)
        };
        let found = match *step {
            Step::Read(ticks) => observe(ticks, now, true),
            Step::Old(ticks, at) => observe(ticks, Mono::from_millis(at), true),
            Step::NotOurs(ticks) => observe(ticks, now, false),
            Step::Write(seq, from, to) => {
                let write = write(&plan, seq, from, to, now);
                let from = Stand::on(Ticks::new(from));
                register.issue(&write, from, 0.0, Process::from_millis(*ms));
                None
            }
            Step::Answer(write, result) => {
                register.answer(&Ack { write, result, at: now });
                None
            }
            Step::Lost => {
                register.link_lost();
                None
            }
            Step::Prove(proven) => {
                register.prove(proven);
                None
            }
        };
        trail.push(format!("{ms}: {step:?}"));
        let is = (register.newest().map(|row| row.fate), found, register.idle());
        assert_eq!(is, *expect, "{name}: {trail:#?}");
    }
}

/// Where every write may go, and nowhere else.
#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn each_arrow_of_the_ledger() {
    use AckResult::{Good, NotSent, Refused, Unknown};
    use Step::{Answer, Lost, Old, Prove, Read, Write};
    let begin = [
        (900, Read(10), (None, None, IDLE)),
        (1000, Write(1, 10, 14), (Some(Fate::Sent), None, UNDER_WAY)),
    ];
    let acked = (1050, Answer(1, Good), (Some(Fate::Acknowledged), None, UNDER_WAY));
    let confirmed = (1100, Read(14), (Some(Fate::Confirmed), Some(Finding::Confirmed), IDLE));
    let unknown = (1050, Answer(1, Unknown), (Some(Fate::Unknown), None, UNDER_WAY));
    let given_up = (1400, Read(10), (Some(Fate::NotTaken), Some(Finding::NotTaken(false)), IDLE));
    let waits = |fate| (Some(fate), None, UNDER_WAY);
    let rows: &[(&str, &[Scene])] = &[
        ("proven", &[acked, confirmed, (1200, Prove(true), (Some(Fate::Proven), None, IDLE))]),
        ("unproven", &[acked, confirmed, (1200, Prove(false), (Some(Fate::Unproven), None, IDLE))]),
        ("proved too early", &[acked, (1060, Prove(true), waits(Fate::Acknowledged))]),
        (
            "read back before the answer",
            &[confirmed, (1150, Answer(1, Refused(7)), (Some(Fate::Confirmed), None, IDLE))],
        ),
        (
            "a look from before the write proves nothing",
            &[
                acked,
                (1100, Old(14, 990), waits(Fate::Acknowledged)),
                (1150, Read(14), confirmed.2),
            ],
        ),
        ("refused", &[(1050, Answer(1, Refused(7)), (Some(Fate::Refused(7)), None, IDLE))]),
        ("not sent", &[(1050, Answer(1, NotSent), (Some(Fate::NotSent), None, IDLE))]),
        ("answer to another write", &[(1050, Answer(2, NotSent), waits(Fate::Sent))]),
        ("unknown, then read back", &[unknown, confirmed]),
        ("unknown, then answered", &[unknown, acked, confirmed]),
        (
            "unknown, then still the old value",
            &[unknown, (1399, Read(10), waits(Fate::Unknown)), given_up],
        ),
        (
            "unknown stays so without a newer look",
            &[unknown, (9000, Old(10, 900), waits(Fate::Unknown)), (9100, Read(10), given_up.2)],
        ),
        ("no answer stays open without a newer look", &[(9000, Old(10, 900), waits(Fate::Sent))]),
        (
            "no answer by the deadline: what came before it proves nothing",
            &[
                (1200, Read(10), waits(Fate::Sent)),
                (1400, Old(10, 1200), waits(Fate::Sent)),
                (1500, Read(10), given_up.2),
            ],
        ),
        ("not taken", &[acked, (1399, Read(10), waits(Fate::Acknowledged)), given_up]),
        (
            "not taken twice",
            &[
                acked,
                given_up,
                (2000, Write(2, 10, 14), waits(Fate::Sent)),
                (2400, Read(10), (Some(Fate::NotTaken), Some(Finding::NotTaken(true)), IDLE)),
            ],
        ),
        (
            "a confirmation in between forgives",
            &[
                acked,
                given_up,
                (2000, Write(2, 10, 12), waits(Fate::Sent)),
                (2100, Read(12), confirmed.2),
                (3000, Write(3, 12, 14), waits(Fate::Sent)),
                (3400, Read(12), given_up.2),
            ],
        ),
        (
            "part of the way",
            &[
                acked,
                (1400, Read(12), (Some(Fate::Mismatch), Some(Finding::Mismatch(false)), IDLE)),
            ],
        ),
        (
            "stops part of the way",
            &[
                acked,
                (1060, Read(12), waits(Fate::Acknowledged)),
                (1310, Read(12), (Some(Fate::Mismatch), Some(Finding::Mismatch(false)), IDLE)),
            ],
        ),
        (
            "somewhere else is a person",
            &[
                acked,
                (1200, Read(20), waits(Fate::Acknowledged)),
                (
                    1400,
                    Read(20),
                    (Some(Fate::Mismatch), Some(Finding::Foreign(Ticks::new(20))), IDLE),
                ),
            ],
        ),
        (
            "lost, then found written",
            &[
                acked,
                (1100, Lost, (Some(Fate::Unknown), None, IDLE)),
                (2000, Read(14), (Some(Fate::Confirmed), Some(Finding::Confirmed), IDLE)),
            ],
        ),
        (
            "lost, then found not written",
            &[
                (1100, Lost, (Some(Fate::Unknown), None, IDLE)),
                (2000, Read(10), (Some(Fate::NotTaken), Some(Finding::NotTaken(false)), IDLE)),
            ],
        ),
        (
            "lost after it was confirmed",
            &[
                acked,
                confirmed,
                (1200, Lost, (Some(Fate::Confirmed), None, IDLE)),
                (2000, Read(3), (Some(Fate::Confirmed), None, IDLE)),
            ],
        ),
    ];
    for (name, steps) in rows {
        let all: Vec<_> = begin.iter().chain(*steps).copied().collect();
        play(name, &all);
    }
}

/// Whose change it is, on a register with nothing under way.
#[test]
fn whose_change_it_is() {
    use AckResult::Good;
    use Step::{Answer, NotOurs, Read, Write};
    let foreign = |ticks| Some(Finding::Foreign(Ticks::new(ticks)));
    let none = (None, None, IDLE);
    let given_up = (Some(Fate::NotTaken), Some(Finding::NotTaken(false)), IDLE);
    let done = (Some(Fate::NotTaken), None, IDLE);
    let begin = [
        (900, Read(10), none),
        (1000, Write(1, 10, 14), (Some(Fate::Sent), None, UNDER_WAY)),
        (1050, Answer(1, Good), (Some(Fate::Acknowledged), None, UNDER_WAY)),
    ];
    let late: Vec<_> = begin.iter().copied().chain([(1400, Read(10), given_up)]).collect();
    let confirmed: Vec<_> = begin
        .iter()
        .copied()
        .chain([(1100, Read(14), (Some(Fate::Confirmed), Some(Finding::Confirmed), IDLE))])
        .collect();
    let stands = (Some(Fate::Confirmed), None, IDLE);
    let rows: &[(&str, &[Scene], &[Scene])] = &[
        (
            "after a quarter of a second",
            &[],
            &[
                (900, Read(10), none),
                (1000, Read(11), none),
                (1249, Read(11), none),
                (1250, Read(11), (None, foreign(11), IDLE)),
                (1300, Read(11), none),
            ],
        ),
        (
            "a flicker is nobody's",
            &[],
            &[
                (900, Read(10), none),
                (1000, Read(11), none),
                (1200, Read(10), none),
                (1300, Read(11), none),
                (1500, Read(11), none),
            ],
        ),
        (
            "nobody has taken the loop",
            &[],
            &[(900, Read(10), none), (1000, NotOurs(11), none), (2000, Read(11), none)],
        ),
        (
            "a person's change stays his when the binding breaks",
            &[],
            &[
                (900, Read(10), none),
                (1000, Read(11), none),
                (1100, NotOurs(11), none),
                (1300, NotOurs(11), (None, foreign(11), IDLE)),
            ],
        ),
        ("applied late is ours", &late, &[(1700, Read(14), done), (9000, Read(14), done)]),
        (
            "too late is not",
            &late,
            &[(1801, Read(14), done), (2051, Read(14), (Some(Fate::NotTaken), foreign(14), IDLE))],
        ),
        (
            "the old value gets longer: its notification may be under way",
            &confirmed,
            &[
                (1200, Read(10), stands),
                (1599, Read(10), stands),
                (1600, Read(10), (Some(Fate::Confirmed), foreign(10), IDLE)),
            ],
        ),
    ];
    for (name, before, steps) in rows {
        let all: Vec<_> = before.iter().chain(*steps).copied().collect();
        play(name, &all);
    }
}
