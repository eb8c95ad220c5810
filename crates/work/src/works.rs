//! Alarms and cases together: rows of the recorder in, requests to the other system out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimloop_core::time::Utc;

use crate::alarm::{Alarm, Change};
use crate::desk::{self, Case, CaseState, Desk, DeskPlan, DeskState};
use crate::key::{Fingerprint, Subject};
use crate::outbox::{Row, Terms};
use crate::watch::{Seen, Taken, Trigger, Watch, WatchState, Watched};
use crate::wire;

/// What was seen when a condition began last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// When.
    #[serde(with = "wire::one")]
    pub at: Utc,
    /// Part being made; 0 for none.
    pub part: i64,
    /// Lines for people: what happened, values, contributions.
    pub lines: Vec<String>,
}

/// What is new of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmNews {
    /// Of which.
    pub subject: Subject,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// What.
    pub what: Heard,
    /// When.
    pub at: Utc,
}

/// What there is to hear of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It is on.
    Raised,
    /// It is off.
    Cleared,
    /// It comes and goes, and stays on until a person acknowledges it.
    Chatters,
    /// A person acknowledged it, or put it aside.
    Known,
}

impl Heard {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Chatters => "chatters",
            Self::Known => "known",
        }
    }

    /// The one of a word; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Raised, Self::Cleared, Self::Chatters, Self::Known];
        all.into_iter().find(|heard| heard.word() == word)
    }
}

/// Alarms, cases, and the evidence of those that are on.
#[derive(Clone, Debug)]
pub struct Works {
    /// Alarms.
    pub watch: Watch,
    /// Cases.
    pub desk: Desk,
    /// What was seen of each fault.
    pub evidence: BTreeMap<Fingerprint, Evidence>,
    heard: Vec<AlarmNews>,
}

/// What must be stored of it. News that nobody took yet are not in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorksState {
    watch: WatchState,
    desk: DeskState,
    evidence: BTreeMap<Fingerprint, Evidence>,
}

impl WorksState {
    /// All alarms.
    pub fn alarms(&self) -> impl Iterator<Item = (&Subject, &Alarm)> {
        self.watch.alarms()
    }

    /// What is to be told to the other system, oldest first.
    pub fn rows(&self) -> &[Row] {
        self.desk.rows()
    }

    /// Cases that are not closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.desk.cases()
    }

    /// What was seen of a fault.
    pub fn evidence(&self, of: Fingerprint) -> Option<&Evidence> {
        self.evidence.get(&of)
    }
}

/// What rests on what: from a node of a trigger (`tag:cushion`) to all that follow from it.
pub type Relations = BTreeMap<String, BTreeSet<String>>;

impl Works {
    /// All is normal.
    pub fn new(faults: Vec<Watched>, relations: Relations, plan: DeskPlan, terms: Terms) -> Self {
        let explains = explains(&faults, relations);
        Self {
            watch: Watch::new(faults),
            desk: Desk::new(plan, terms, explains),
            evidence: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    /// What was stored, under the faults of today. Call [`Desk::recover`] before anything is sent.
    ///
    /// # Errors
    /// What in it cannot be.
    pub fn restore(
        faults: Vec<Watched>,
        relations: Relations,
        plan: DeskPlan,
        terms: Terms,
        state: WorksState,
        at: Utc,
    ) -> Result<Self, String> {
        let explains = explains(&faults, relations);
        let (watch, gone) = Watch::restore(faults, state.watch)?;
        let mut desk = Desk::restore(plan, terms, explains, state.desk)?;
        for subject in gone {
            desk.cleared(&subject, at);
        }
        Ok(Self { watch, desk, evidence: state.evidence, heard: Vec::new() })
    }

    /// What must be stored.
    pub fn state(&self) -> WorksState {
        WorksState {
            watch: self.watch.state(),
            desk: self.desk.state(),
            evidence: self.evidence.clone(),
        }
    }

    /// What is new of alarms since the last call, oldest first.
    pub fn heard(&mut self) -> Vec<AlarmNews> {
        std::mem::take(&mut self.heard)
    }

    /// Takes a row in; the faults whose condition began with it. Their alarms may follow later, and
    /// the evidence is of the begin.
    pub fn take(&mut self, seen: &Seen<'_>, sentence: &str) -> Vec<Fingerprint> {
        let Taken { changes, begun } = self.watch.take(seen);
        self.tell(changes, seen.at);
        for fingerprint in &begun {
            let lines = if sentence.is_empty() { vec![] } else { vec![sentence.to_owned()] };
            self.evidence.insert(*fingerprint, Evidence { at: seen.at, part: seen.part, lines });
        }
        begun
    }

    /// Lets time pass: delays, waits and proofs end.
    pub fn tick(&mut self, at: Utc) {
        let changes = self.watch.tick(at);
        self.tell(changes, at);
        self.follow_latched(at);
        self.desk.tick(at);
    }

    /// An alarm that stays on until a person acknowledges it says no more whether the condition is
    /// there; whether a repair helped is told by that.
    fn follow_latched(&mut self, at: Utc) {
        let mut turned = Vec::new();
        for (subject, alarm) in self.watch.alarms() {
            let Some(is_there) = alarm.latched_condition() else { continue };
            let fingerprint = subject.fingerprint();
            let case = self.desk.case(fingerprint).filter(|case| case.active != is_there);
            let has_order =
                |state| matches!(state, CaseState::Ordered | CaseState::Verifying { .. });
            if case.is_some_and(|case| has_order(case.state)) {
                turned.push((fingerprint, is_there));
            }
        }
        for (fingerprint, is_there) in turned {
            let Some(alarm) = self.desk_alarm(fingerprint) else { continue };
            if is_there {
                self.desk.raised(&alarm, at);
            } else {
                self.desk.cleared(&alarm.subject, at);
            }
        }
    }

    fn desk_alarm(&self, fingerprint: Fingerprint) -> Option<desk::Alarm> {
        let fault = self.watch.fault(fingerprint)?;
        Some(desk::Alarm {
            subject: fault.subject.clone(),
            priority: fault.priority,
            mode: fault.order,
            proof: fault.proof,
        })
    }

    /// A person knows of an alarm; false where there is no such fault.
    pub fn acknowledge(&mut self, fingerprint: Fingerprint, at: Utc) -> bool {
        self.by_person(fingerprint, true, at, Alarm::acknowledge)
    }

    /// A person puts an alarm aside until a time.
    pub fn shelve(&mut self, fingerprint: Fingerprint, until: Utc, at: Utc) -> bool {
        self.by_person(fingerprint, true, at, |alarm| {
            alarm.shelve(until);
            None
        })
    }

    /// A person takes it back.
    pub fn unshelve(&mut self, fingerprint: Fingerprint, at: Utc) -> bool {
        self.by_person(fingerprint, false, at, Alarm::unshelve)
    }

    fn by_person(
        &mut self,
        fingerprint: Fingerprint,
        is_known: bool,
        at: Utc,
        does: impl FnOnce(&mut Alarm) -> Option<Change>,
    ) -> bool {
        let Some(alarm) = self.watch.alarm(fingerprint) else { return false };
        let change = does(alarm);
        if is_known {
            self.note(fingerprint, Heard::Known, at);
        }
        self.tell(change.map(|change| (fingerprint, change)), at);
        true
    }

    fn note(&mut self, fingerprint: Fingerprint, what: Heard, at: Utc) {
        let Some(fault) = self.watch.fault(fingerprint) else { return };
        let (subject, priority) = (fault.subject.clone(), fault.priority);
        self.heard.push(AlarmNews { subject, priority, what, at });
    }

    fn tell(&mut self, changes: impl IntoIterator<Item = (Fingerprint, Change)>, at: Utc) {
        for (fingerprint, change) in changes {
            let what = match change {
                Change::Raised => Heard::Raised,
                Change::Cleared => Heard::Cleared,
                Change::Chatters => Heard::Chatters,
            };
            self.note(fingerprint, what, at);
            let Some(alarm) = self.desk_alarm(fingerprint) else { continue };
            match change {
                Change::Raised => self.desk.raised(&alarm, at),
                Change::Cleared => self.desk.cleared(&alarm.subject, at),
                // It stays on until a person looks: the case stays as it is.
                Change::Chatters => {}
            }
        }
    }
}

/// What a fault can explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OfSystem,
    OfAsset,
    Planned,
}

/// A fault of a link, a sensor or a model explains what rests on it, and planned work what is found
/// at the same component. Chains end: the relation goes from what is read to what is made of it, and
/// from plans to conditions only.
fn explains(
    faults: &[Watched],
    relations: Relations,
) -> impl Fn(&Subject, &Subject) -> bool + use<> {
    let kind = |trigger: &Trigger| match trigger {
        Trigger::Planned(_) => Kind::Planned,
        trigger if trigger.is_of_system() => Kind::OfSystem,
        _ => Kind::OfAsset,
    };
    let nodes: BTreeMap<Fingerprint, (String, Kind)> = faults
        .iter()
        .map(|fault| {
            let node = (fault.trigger.node(), kind(&fault.trigger));
            (fault.subject.fingerprint(), node)
        })
        .collect();
    let nodes = Arc::new((nodes, relations));
    move |source, target| {
        let (nodes, relations) = &*nodes;
        let Some((from, of)) = nodes.get(&source.fingerprint()) else { return false };
        let Some((to, other)) = nodes.get(&target.fingerprint()) else { return false };
        if *of == Kind::Planned {
            let place = |subject: &Subject| (subject.asset.clone(), subject.component.clone());
            return *other == Kind::OfAsset && place(source) == place(target);
        }
        *of == Kind::OfSystem
            && from != to
            && relations.get(from).is_some_and(|rests| rests.contains(to))
    }
}
