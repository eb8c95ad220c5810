//! One condition: abnormal or not, told or not, seen by a person or not.
//!
//! - An *on-delay* and an *off-delay*: the condition must hold that long before the alarm follows
//!   (OPC UA Part 9, B.1.5).
//! - Only observations of good quality count. One that is unknown says nothing and starts the
//!   delays anew: a sensor that is lost neither raises nor ends an alarm of the asset.
//! - Returns that come too often within a time make it *chatter*: it latches, is told once as such
//!   and stays until a person acknowledges it.
//!
//! Facts are kept apart (active, acknowledged, latched, shelved, …); the state of ISA-18.2 is what
//! follows from them.

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use crate::wire;

/// How a condition becomes an alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmPlan {
    /// How long it must be abnormal before the alarm is on.
    #[serde(with = "wire::one")]
    pub on_delay: Span,
    /// How long it must be normal before the alarm is off.
    #[serde(with = "wire::one")]
    pub off_delay: Span,
    /// Stays on until a person acknowledges it, though the condition is gone.
    pub latches: bool,
    /// So many returns to normal…
    pub chatter_returns: usize,
    /// … within this time are chatter.
    #[serde(with = "wire::one")]
    pub chatter_within: Span,
}

impl Default for AlarmPlan {
    fn default() -> Self {
        Self {
            on_delay: Span::ZERO,
            off_delay: Span::ZERO,
            latches: false,
            chatter_returns: 3,
            chatter_within: Span::from_secs(60),
        }
    }
}

/// States of ISA-18.2, as OPC UA Part 9 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmState {
    /// Nothing is the matter.
    Normal,
    /// On, and no person has said that they know.
    Unacked,
    /// On, and known.
    Acked,
    /// Off again before anybody knew.
    ReturnedUnacked,
    /// The condition is gone, the alarm waits for a person.
    Latched,
    /// A person put it aside for a time.
    Shelved,
    /// Silent by design: stopped, changeover, warm-up.
    Suppressed,
    /// Taken out of service.
    OutOfService,
}

impl AlarmState {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Normal => "norm",
            Self::Unacked => "unack",
            Self::Acked => "acked",
            Self::ReturnedUnacked => "rtn_unack",
            Self::Latched => "latched",
            Self::Shelved => "shelved",
            Self::Suppressed => "suppressed",
            Self::OutOfService => "out_of_service",
        }
    }
}

/// What an observation or an order brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The alarm is on, and people hear of it.
    Raised,
    /// It is off.
    Cleared,
    /// It comes and goes too often, and stays on for now.
    Chatters,
}

/// One alarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "facts that hold or not, each by itself")]
pub struct Alarm {
    plan: AlarmPlan,
    /// After the delays.
    active: bool,
    /// What the newest good observations say, and since when; `None` after an unknown one.
    #[serde(with = "wire::beside")]
    seen: Option<(bool, Utc)>,
    acked: bool,
    latched: bool,
    /// Times of the newest returns, oldest first.
    #[serde(with = "wire::list")]
    returns: Vec<Utc>,
    #[serde(with = "wire::maybe")]
    shelved_until: Option<Utc>,
    suppressed: bool,
    out_of_service: bool,
    /// Whether people were told that it is on.
    told: bool,
}

impl Alarm {
    /// An alarm before its first observation.
    pub fn new(plan: AlarmPlan) -> Self {
        Self {
            plan,
            active: false,
            seen: None,
            acked: true,
            latched: false,
            returns: Vec::new(),
            shelved_until: None,
            suppressed: false,
            out_of_service: false,
            told: false,
        }
    }

    /// Its state.
    pub fn state(&self) -> AlarmState {
        if self.out_of_service {
            AlarmState::OutOfService
        } else if self.suppressed {
            AlarmState::Suppressed
        } else if self.shelved_until.is_some() {
            AlarmState::Shelved
        } else {
            match (self.active, self.latched, self.acked) {
                (true, _, false) => AlarmState::Unacked,
                (true, _, true) => AlarmState::Acked,
                (false, true, _) => AlarmState::Latched,
                (false, false, false) => AlarmState::ReturnedUnacked,
                (false, false, true) => AlarmState::Normal,
            }
        }
    }

    /// The same facts under another plan: a recipe that was changed meanwhile.
    #[must_use]
    pub fn under(self, plan: AlarmPlan) -> Self {
        Self { plan, ..self }
    }

    /// Until when a person put it aside.
    pub fn shelved_until(&self) -> Option<Utc> {
        self.shelved_until
    }

    /// Whether it is on, heard or not.
    pub fn is_on(&self) -> bool {
        self.active || self.latched
    }

    /// What the condition is now while a latch keeps the alarm on; `None` where none does.
    pub fn latched_condition(&self) -> Option<bool> {
        (self.latched && self.told).then_some(self.active)
    }

    /// Takes an observation in: abnormal, normal, or unknown.
    ///
    /// - `at`: not before the last call's.
    pub fn observe(&mut self, abnormal: Option<bool>, at: Utc) -> Option<Change> {
        match (abnormal, self.seen) {
            (None, _) => self.seen = None,
            (Some(now), Some((before, _))) if now == before => {}
            (Some(now), _) => self.seen = Some((now, at)),
        }
        self.tick(at)
    }

    /// Lets time pass: delays and shelving end.
    pub fn tick(&mut self, at: Utc) -> Option<Change> {
        if self.shelved_until.is_some_and(|until| at >= until) {
            self.shelved_until = None;
        }
        if let Some((abnormal, since)) = self.seen {
            let delay = if abnormal { self.plan.on_delay } else { self.plan.off_delay };
            if abnormal != self.active && at - since >= delay {
                self.active = abnormal;
                if abnormal {
                    self.acked = false;
                    self.latched |= self.plan.latches;
                } else if self.latched && self.acked && !self.plan.latches {
                    // It was latched because it chattered, until a person knew; he does.
                    self.latched = false;
                    self.returns.clear();
                } else {
                    self.count_return(at);
                }
            }
        }
        self.tell()
    }

    fn count_return(&mut self, at: Utc) {
        let within = self.plan.chatter_within;
        self.returns.retain(|before| at - *before < within);
        self.returns.push(at);
    }

    /// What people hear now that they did not hear before.
    fn tell(&mut self) -> Option<Change> {
        let silent = self.out_of_service || self.suppressed || self.shelved_until.is_some();
        if self.told {
            let chatters = self.returns.len() >= self.plan.chatter_returns.max(1);
            if chatters && !self.latched {
                self.latched = true;
                return Some(Change::Chatters);
            }
            if !self.is_on() {
                self.told = false;
                return Some(Change::Cleared);
            }
            return None;
        }
        (self.is_on() && !silent).then(|| {
            self.told = true;
            Change::Raised
        })
    }

    /// A person knows. Ends a latch once the condition is gone.
    pub fn acknowledge(&mut self) -> Option<Change> {
        self.acked = true;
        if !self.active {
            self.latched = false;
            self.returns.clear();
        }
        self.tell()
    }

    /// Puts it aside until a time; it is told then if it is still on.
    pub fn shelve(&mut self, until: Utc) {
        self.shelved_until = Some(until);
    }

    /// Takes it back.
    pub fn unshelve(&mut self) -> Option<Change> {
        self.shelved_until = None;
        self.tell()
    }

    /// Silent by design while `on`.
    pub fn suppress(&mut self, on: bool) -> Option<Change> {
        self.suppressed = on;
        self.tell()
    }

    /// Out of service while `on`.
    pub fn take_out_of_service(&mut self, on: bool) -> Option<Change> {
        self.out_of_service = on;
        self.tell()
    }
}
