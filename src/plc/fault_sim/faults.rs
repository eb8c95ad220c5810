//! What may go wrong, and when.
//!
//! Each fault of a run strikes in one to three windows; outside them the network and the PLC are
//! slow and jittery at most. A fault that is masked out still draws its numbers, so that a failing
//! run can be shrunk.

use super::rng::Rng;
use super::world::{Ms, QUIET};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fault { $($(#[$doc])* $name),+ }

        impl Fault {
            pub(super) const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

faults! {
    /// The server takes its time with a call.
    SlowCall,
    /// A call is swallowed: neither done nor answered.
    Swallowed,
    /// Done, but the answer is lost.
    AnswerLost,
    /// A write is applied long after its answer, or after its timeout.
    AppliedLate,
    /// A write is answered Good and not applied.
    Ignored,
    /// A write is taken part of the way.
    Clamped,
    /// A write is refused.
    Refused,
    /// A write is answered with a status that leaves open whether it was applied.
    Ambiguous,
    /// Notifications wait in the server.
    SlowPublish,
    /// Nothing is published, not even a keep-alive.
    Stall,
    /// Published values stand still while registers move; reads tell the truth.
    Frozen,
    /// The connection breaks.
    Drop,
    /// The connection stands, and nothing passes.
    HalfOpen,
    /// The server cannot be reached.
    Partition,
    /// The server takes no further session.
    SessionLimit,
    /// The server restarts with its registers kept.
    Restart,
    /// The server restarts with its registers at their baseline.
    RestartBaseline,
    /// The server restarts with its namespaces in another order.
    RestartRenumbered,
    /// The server restarts with a setpoint of another type, until its next restart.
    RestartRetyped,
    /// The server ends the subscription.
    SubscriptionEnds,
    /// The server's certificate or endpoint is not as configured, for a while.
    Blocked,
    /// The PLC's clock jumps.
    ClockJump,
    /// Stamps are late and out of order.
    LateStamps,
    /// Values come with status Bad.
    BadStatus,
    /// Values come with status Uncertain.
    Uncertain,
    /// A person turns the setpoint at the machine.
    Operator,
    /// The PLC withdraws its enable.
    EnableOff,
    /// The PLC stops echoing the heartbeat.
    EchoStops,
    /// The service is killed and starts again.
    Crash,
    /// The service is stopped and starts again.
    StopStart,
    /// The scan thread pauses.
    SlowScan,
    /// Approved writes and beats are slow to reach the link.
    SlowDispatch,
    /// People trip, take over, lower modes.
    Wild,
    /// One address of the PLC cannot be reached; only where it has two.
    PathDown,
    /// Another server is behind one address of the PLC; only where it has two.
    Impostor,
    /// The server takes few items per call, and says so by one of several statuses.
    TooMuch,
    /// By one address the server says that it serves badly; only where it has two.
    Weak,
}

/// The first fault whose numbers come from a generator of their own, so that the runs of older
/// seeds stay what they were.
const LATER: usize = Fault::PathDown as usize;

/// When one fault strikes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) fault: Fault,
    pub(super) from: Ms,
    pub(super) to: Ms,
}

/// Which faults may strike in a run, and which must, as bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) may: u64,
    pub(super) must: u64,
}

impl Faults {
    /// Any.
    pub(super) const ANY: Self = Self { may: u64::MAX, must: 0 };

    /// Any, and these for sure.
    pub(super) fn with(must: &[Fault]) -> Self {
        Self { must: must.iter().fold(0, |bits, fault| bits | 1 << *fault as u64), ..Self::ANY }
    }
}

impl Faults {
    /// Whether the run is about a PLC with two addresses in any case.
    pub(super) const fn two_addresses(self) -> bool {
        self.must & (1 << Fault::PathDown as u64 | 1 << Fault::Impostor as u64) != 0
    }
}

/// The windows of a run. `rng` is for the faults before [`LATER`], `later` for the others.
pub(super) fn windows(rng: &mut Rng, later: &mut Rng, faults: Faults) -> Vec<Window> {
    let mut windows = Vec::new();
    for (number, fault) in Fault::ALL.iter().enumerate() {
        let rng = if number < LATER { &mut *rng } else { &mut *later };
        let chosen = rng.chance(220);
        let count = rng.range(1, 3);
        let part = (QUIET - 2000) / count;
        for i in 0..count {
            let from = 2000 + i * part + rng.range(0, part * 2 / 3);
            let longest = if *fault == Fault::Blocked { 1500 } else { part / 3 };
            let to = from + rng.range(100, longest.min(5000));
            let bit = 1 << *fault as u64;
            if (chosen || faults.must & bit != 0) && faults.may & bit != 0 {
                windows.push(Window { fault: *fault, from, to });
            }
        }
    }
    windows
}
