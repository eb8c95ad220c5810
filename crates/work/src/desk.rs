//! Cases: one per fault, from the first alarm to the proof that the repair helped.
//!
//! ```text
//!           group wait           create         done            proof window
//! raised -> WAITING -> PROPOSED -> ORDERED -> VERIFYING ----------------> closed: proven
//!              |          (a person)  |            '-- abnormal again --> closed: ineffective,
//!              | gone: dropped        '-- cancelled, rejected, lost       and the next generation
//!                                         -> REFUSED: a person decides
//! ```
//!
//! - **Invariant:** a fault has at most one case that is not closed, and a case at most one order.
//!   The next generation begins only when the order before it is done.
//! - **Invariant:** nothing here closes or cancels an order; people do, and this follows.
//! - A fault that another one explains gets no case of its own while that one is worked on: it
//!   counts as a symptom. If it outlasts its explanation it is raised then.
//! - More new cases in an hour than the storm breaker lets pass become members of one summary case.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use crate::key::{ExtKey, Fingerprint, Subject};
use crate::outbox::{Operation, Outbox, Request, Row, Sent, Terms, refused_create};
use crate::wire;

/// Failure mode of the case that stands for a storm of others.
pub const STORM: &str = "many_faults";

/// What an order is called at the other system, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Asked for, and not yet accepted.
    Requested,
    /// Accepted.
    Open,
    /// Somebody works on it.
    InProgress,
    /// It waits.
    OnHold,
    /// Somebody says it is done.
    Done,
    /// Called off.
    Cancelled,
    /// Not accepted.
    Rejected,
    /// It is not there any more.
    Lost,
}

impl OrderState {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::OnHold => "on_hold",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
            Self::Lost => "lost",
        }
    }

    /// The state of a word; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Requested,
            Self::Open,
            Self::InProgress,
            Self::OnHold,
            Self::Done,
            Self::Cancelled,
            Self::Rejected,
            Self::Lost,
        ];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// Who decides that there shall be an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A person approves the draft.
    Propose,
    /// It is made at once.
    Auto,
}

/// How cases are worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeskPlan {
    /// From the first alarm to the order: what belongs together comes together.
    pub group_wait: Span,
    /// Between two comments that say the same.
    pub comment_every: Span,
    /// After an order is done an abnormal condition is tolerated so long: machines start again.
    pub grace: Span,
    /// How long the condition must then stay normal.
    pub proof: Span,
    /// A fault that is back within this time of a proof was not repaired.
    pub recurs_within: Span,
    /// New cases of one cell…
    pub storm_cases: usize,
    /// … within this time that get a case of their own.
    pub storm_within: Span,
}

impl Default for DeskPlan {
    fn default() -> Self {
        Self {
            group_wait: Span::from_secs(30),
            comment_every: Span::from_secs(86_400),
            grace: Span::from_secs(600),
            proof: Span::from_secs(8 * 3600),
            recurs_within: Span::from_secs(30 * 86_400),
            storm_cases: 5,
            storm_within: Span::from_secs(3600),
        }
    }
}

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Until then others may turn out to explain it.
    Waiting(#[serde(with = "wire::one")] Utc),
    /// A draft waits for a person.
    Proposed,
    /// There is an order, or it is on its way.
    Ordered,
    /// The order is done.
    Verifying {
        /// When it was said to be.
        #[serde(with = "wire::one")]
        done: Utc,
        /// Since when the condition has been normal.
        #[serde(with = "wire::maybe")]
        normal: Option<Utc>,
    },
    /// The order was called off, not accepted, or is gone: a person decides.
    Refused(OrderState),
}

impl CaseState {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting(_) => "waiting",
            Self::Proposed => "proposed",
            Self::Ordered => "ordered",
            Self::Verifying { .. } => "verifying",
            Self::Refused(_) => "refused",
        }
    }
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its key, and its order's.
    pub key: ExtKey,
    /// What it is about.
    pub subject: Subject,
    /// Where it stands.
    pub state: CaseState,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Who decides about the order.
    pub mode: Mode,
    /// First alarm.
    #[serde(with = "wire::one")]
    pub opened: Utc,
    /// The condition is abnormal now.
    pub active: bool,
    /// Alarms of the fault, and of what it explains.
    pub occurrences: u64,
    /// The order before it that did not help.
    pub after: Option<ExtKey>,
    /// What is known of the order, and the other system's time of it.
    #[serde(with = "wire::beside")]
    pub order: Option<(OrderState, Utc)>,
    /// When it was last said that the condition is gone.
    #[serde(with = "wire::maybe")]
    pub told_gone: Option<Utc>,
    /// How long the condition must stay normal after the work; `None` for the desk's own.
    #[serde(with = "wire::maybe")]
    pub proof: Option<Span>,
}

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// The condition was gone before anybody was told.
    Dropped,
    /// It stayed normal after the work.
    Proven,
    /// It came back: the work did not help.
    Ineffective,
    /// A person accepts it as it is.
    Accepted,
    /// Another case explains it.
    Explained,
}

impl Closing {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Proven => "proven",
            Self::Ineffective => "ineffective",
            Self::Accepted => "accepted",
            Self::Explained => "explained",
        }
    }
}

/// What people should hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A case was opened.
    Opened(ExtKey),
    /// A draft waits for a person.
    Proposed(ExtKey),
    /// An order is on its way.
    Ordered(ExtKey),
    /// The order is in another state.
    Order(ExtKey, OrderState),
    /// The case ended.
    Closed(ExtKey, Closing),
}

/// A closed case, for what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    key: ExtKey,
    #[serde(with = "wire::one")]
    at: Utc,
    how: Closing,
}

/// An alarm that another fault explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Muted {
    alarm: Alarm,
    by: Fingerprint,
    /// What explains it is gone; until then it may follow.
    #[serde(with = "wire::maybe")]
    until: Option<Utc>,
}

/// An alarm as the desk takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What it is about.
    pub subject: Subject,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Who decides about an order for it.
    pub mode: Mode,
    /// How long it must stay normal after the work; `None` for the desk's own.
    #[serde(with = "wire::maybe")]
    pub proof: Option<Span>,
}

impl Alarm {
    /// Work that is due by a meter: with nothing to prove, it is no fault. It is due again and again.
    fn is_planned(&self) -> bool {
        self.proof == Some(Span::ZERO)
    }
}

/// Whether one fault explains another: asset down and its children, a sensor and its models,
/// upstream and downstream. Must not be true both ways.
#[derive(Clone)]
pub struct Explains(Arc<Relation>);

type Relation = dyn Fn(&Subject, &Subject) -> bool + Send + Sync;

impl<F: Fn(&Subject, &Subject) -> bool + Send + Sync + 'static> From<F> for Explains {
    fn from(of: F) -> Self {
        Self(Arc::new(of))
    }
}

impl fmt::Debug for Explains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explains")
    }
}

/// A desk as it is stored: everything but its plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeskState {
    cases: Vec<Case>,
    last: Vec<Last>,
    muted: Vec<Muted>,
    opened: Vec<Opened>,
    rows: Vec<Row>,
    next: u64,
}

impl DeskState {
    /// What is to be told to the other system, oldest first.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Cases that are not closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Opened {
    cell: String,
    #[serde(with = "wire::list")]
    times: Vec<Utc>,
}

/// All cases, and what is to be told of them.
#[derive(Clone, Debug)]
pub struct Desk {
    plan: DeskPlan,
    explains: Explains,
    cases: BTreeMap<Fingerprint, Case>,
    last: BTreeMap<Fingerprint, Last>,
    muted: BTreeMap<Fingerprint, Muted>,
    /// Times of new cases by cell, oldest first.
    opened: BTreeMap<String, VecDeque<Utc>>,
    outbox: Outbox,
    told: Vec<Told>,
}

impl Desk {
    /// An empty desk.
    pub fn new(plan: DeskPlan, terms: Terms, explains: impl Into<Explains>) -> Self {
        Self {
            plan,
            explains: explains.into(),
            cases: BTreeMap::new(),
            last: BTreeMap::new(),
            muted: BTreeMap::new(),
            opened: BTreeMap::new(),
            outbox: Outbox::new(terms),
            told: Vec::new(),
        }
    }

    /// What must be stored of it. News that nobody took yet are not in it.
    pub fn state(&self) -> DeskState {
        let opened = self.opened.iter().filter(|(_, times)| !times.is_empty());
        DeskState {
            cases: self.cases.values().cloned().collect(),
            last: self.last.values().copied().collect(),
            muted: self.muted.values().cloned().collect(),
            opened: opened
                .map(|(cell, times)| Opened {
                    cell: cell.clone(),
                    times: times.iter().copied().collect(),
                })
                .collect(),
            rows: self.outbox.rows().cloned().collect(),
            next: self.outbox.next(),
        }
    }

    /// The desk that was stored. What was on its way is not judged yet: see [`Self::recover`].
    ///
    /// # Errors
    /// What in it cannot be: it was written by something else.
    pub fn restore(
        plan: DeskPlan,
        terms: Terms,
        explains: impl Into<Explains>,
        state: DeskState,
    ) -> Result<Self, String> {
        let mut desk = Self::new(plan, terms, explains);
        for case in state.cases {
            let (key, own) = (case.key, case.subject.fingerprint());
            if key.fingerprint != own || !(1..=4).contains(&case.priority) {
                return Err(format!("case {key} is not about what it says"));
            }
            if desk.cases.insert(own, case).is_some() {
                return Err(format!("there are two cases of {own}"));
            }
        }
        for last in state.last {
            let key = last.key;
            let is_open = desk.cases.get(&key.fingerprint).is_some_and(|case| case.key == key);
            if is_open || desk.last.insert(key.fingerprint, last).is_some() {
                return Err(format!("case {key} is closed and is not"));
            }
        }
        for muted in state.muted {
            let own = muted.alarm.subject.fingerprint();
            if own == muted.by || desk.muted.insert(own, muted).is_some() {
                return Err(format!("{own} is explained by itself, or twice"));
            }
        }
        desk.opened =
            state.opened.into_iter().map(|o| (o.cell, o.times.into_iter().collect())).collect();
        desk.outbox = Outbox::restore(terms, state.rows, state.next)?;
        Ok(desk)
    }

    /// Cases that are not closed.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.values()
    }

    /// The open case of a fault.
    pub fn case(&self, fingerprint: Fingerprint) -> Option<&Case> {
        self.cases.get(&fingerprint)
    }

    /// What is to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What people should hear since the last call.
    pub fn told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// An alarm is on.
    pub fn raised(&mut self, alarm: &Alarm, at: Utc) {
        let fingerprint = alarm.subject.fingerprint();
        if self.cases.contains_key(&fingerprint) {
            self.again(fingerprint, alarm, at);
        } else if let Some(by) = self.explained_by(&alarm.subject) {
            self.mute(fingerprint, alarm.clone(), by);
        } else {
            self.open(alarm, at);
        }
    }

    /// An alarm is off.
    pub fn cleared(&mut self, subject: &Subject, at: Utc) {
        let fingerprint = subject.fingerprint();
        if let Some(muted) = self.muted.remove(&fingerprint) {
            self.member_left(muted.by, at);
        }
        let Some(case) = self.cases.get_mut(&fingerprint) else { return };
        case.active = false;
        match &mut case.state {
            CaseState::Verifying { normal, .. } => *normal = normal.or(Some(at)),
            CaseState::Ordered
                if case.told_gone.is_none_or(|told| at - told >= self.plan.comment_every) =>
            {
                case.told_gone = Some(at);
                let text = "The condition is gone. This order stays yours to close.".to_owned();
                let key = case.key;
                self.outbox.push(key, Operation::Comment(text), at);
            }
            _ => {}
        }
    }

    /// A person approves the draft of a case, or reopens a refused one as the next order.
    pub fn approve(&mut self, fingerprint: Fingerprint, at: Utc) -> bool {
        let Some(case) = self.cases.get_mut(&fingerprint) else { return false };
        match case.state {
            CaseState::Waiting(_) | CaseState::Proposed => {}
            CaseState::Refused(_) => {
                case.key = case.key.next();
                case.order = None;
                case.told_gone = None;
            }
            CaseState::Ordered | CaseState::Verifying { .. } => return false,
        }
        self.order(fingerprint, at);
        true
    }

    /// Number of the request for an order that the other system refused: nobody works on it, until a
    /// person sends it again.
    pub fn refused_create(&self, key: ExtKey) -> Option<u64> {
        refused_create(self.outbox.rows(), key).map(|row| row.id)
    }

    /// A person accepts things as they are: the case ends without more work. Not while somebody has
    /// an order for it.
    pub fn accept(&mut self, fingerprint: Fingerprint, at: Utc) -> bool {
        let Some(case) = self.cases.get(&fingerprint) else { return false };
        let ends = match case.state {
            CaseState::Waiting(_) | CaseState::Proposed | CaseState::Refused(_) => true,
            CaseState::Ordered => self.refused_create(case.key).is_some(),
            CaseState::Verifying { .. } => false,
        };
        if ends {
            self.close(fingerprint, Closing::Accepted, at);
        }
        ends
    }

    /// A person has looked, and the repair helped: the proof ends early. Not while the condition is
    /// there.
    pub fn verify(&mut self, fingerprint: Fingerprint, at: Utc) -> bool {
        let state = self.cases.get(&fingerprint).map(|case| case.state);
        let stands = matches!(state, Some(CaseState::Verifying { normal: Some(_), .. }));
        if stands {
            self.close(fingerprint, Closing::Proven, at);
        }
        stands
    }

    /// What the other system says of an order. `updated`: its time of that; older news is passed
    /// over.
    pub fn order_is(&mut self, key: ExtKey, state: OrderState, updated: Utc, at: Utc) {
        self.outbox.seen(key);
        let Some(case) = self.cases.get_mut(&key.fingerprint).filter(|case| case.key == key) else {
            return;
        };
        if case.order.is_some_and(|(known, when)| when > updated || known == state) {
            return;
        }
        case.order = Some((state, updated));
        self.told.push(Told::Order(key, state));
        match (case.state, state) {
            (CaseState::Ordered | CaseState::Refused(_), OrderState::Done) => {
                let normal = (!case.active).then_some(at);
                case.state = CaseState::Verifying { done: at, normal };
            }
            (
                CaseState::Ordered,
                OrderState::Cancelled | OrderState::Rejected | OrderState::Lost,
            ) => case.state = CaseState::Refused(state),
            // A person took the order up again.
            (
                CaseState::Verifying { .. } | CaseState::Refused(_),
                OrderState::Requested
                | OrderState::Open
                | OrderState::InProgress
                | OrderState::OnHold,
            ) => case.state = CaseState::Ordered,
            _ => {}
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, at: Utc) {
        self.raise_outlasting(at);
        self.outbox.forget(|key| self.cases.get(&key.fingerprint).is_some_and(|c| c.key == key));
        let due: Vec<Fingerprint> = self.cases.keys().copied().collect();
        for fingerprint in due {
            let Some(case) = self.cases.get(&fingerprint) else { continue };
            match case.state {
                CaseState::Waiting(until) if at >= until => self.end_of_wait(fingerprint, at),
                CaseState::Verifying { done, normal } => {
                    if let Some(normal) = normal {
                        if at - normal >= case.proof.unwrap_or(self.plan.proof) {
                            self.close(fingerprint, Closing::Proven, at);
                        }
                    } else if at - done >= self.plan.grace {
                        self.did_not_help(fingerprint, at);
                    }
                }
                _ => {}
            }
        }
    }

    /// The next request, marked as under way: store the desk before acting on it.
    pub fn take(&mut self, at: Utc) -> Option<Request> {
        self.outbox.take(at)
    }

    /// How a send ended.
    pub fn sent(&mut self, row: u64, how: Sent, at: Utc) {
        self.outbox.sent(row, how, at);
    }

    /// How a search ended: found, not found, or not answered.
    pub fn searched(&mut self, row: u64, found: Option<bool>, at: Utc) {
        self.outbox.searched(row, found, at);
    }

    /// A person sends a dead row again.
    pub fn retry(&mut self, row: u64, at: Utc) -> bool {
        self.outbox.retry(row, at)
    }

    /// After a restart, with the state as it was stored last.
    pub fn recover(&mut self, at: Utc) {
        self.outbox.recover(at);
    }

    /// An alarm of a fault that has a case.
    fn again(&mut self, fingerprint: Fingerprint, alarm: &Alarm, at: Utc) {
        let Some(case) = self.cases.get_mut(&fingerprint) else { return };
        case.active = true;
        case.occurrences += 1;
        let rises = alarm.priority < case.priority;
        case.priority = case.priority.min(alarm.priority);
        match &mut case.state {
            CaseState::Ordered if rises => {
                let text = format!("It has become more urgent: priority {}.", alarm.priority);
                self.outbox.push(case.key, Operation::Comment(text), at);
            }
            CaseState::Verifying { done, normal } => {
                *normal = None;
                if at - *done >= self.plan.grace {
                    self.did_not_help(fingerprint, at);
                }
            }
            _ => {}
        }
    }

    /// The open case, not itself waiting to be dropped, that explains a fault.
    fn explained_by(&self, subject: &Subject) -> Option<Fingerprint> {
        let explains = |case: &&Case| case.active && (self.explains.0)(&case.subject, subject);
        self.cases.values().find(explains).map(|case| case.subject.fingerprint())
    }

    fn mute(&mut self, fingerprint: Fingerprint, alarm: Alarm, by: Fingerprint) {
        self.muted.insert(fingerprint, Muted { alarm, by, until: None });
        if let Some(case) = self.cases.get_mut(&by) {
            case.occurrences += 1;
        }
    }

    /// A summary case is over when none of its members is abnormal.
    fn member_left(&mut self, by: Fingerprint, at: Utc) {
        let storm = self.cases.get(&by).filter(|case| case.subject.mode == STORM);
        let Some(subject) = storm.map(|case| case.subject.clone()) else { return };
        if !self.muted.values().any(|muted| muted.by == by) {
            self.cleared(&subject, at);
        }
    }

    /// What outlasts its explanation is raised for itself.
    fn raise_outlasting(&mut self, at: Utc) {
        let mut due = Vec::new();
        for (target, muted) in &mut self.muted {
            if self.cases.get(&muted.by).is_some_and(|case| case.active) {
                muted.until = None;
            } else if at >= *muted.until.get_or_insert(at + self.plan.group_wait) {
                due.push(*target);
            }
        }
        for target in due {
            if let Some(muted) = self.muted.remove(&target) {
                self.raised(&muted.alarm, at);
            }
        }
    }

    fn open(&mut self, alarm: &Alarm, at: Utc) {
        let cell = alarm.subject.cell.clone();
        let opened = self.opened.entry(cell).or_default();
        while opened.front().is_some_and(|first| at - *first >= self.plan.storm_within) {
            opened.pop_front();
        }
        // Planned work does not come in storms, and must not be lost in one.
        let counts = alarm.subject.mode != STORM && !alarm.is_planned();
        if counts && opened.len() >= self.plan.storm_cases {
            self.storm(alarm, at);
            return;
        }
        if counts {
            opened.push_back(at);
        }
        let state = CaseState::Waiting(at + self.plan.group_wait);
        self.begin(alarm, None, state, at);
    }

    /// A case that stands for the others of its cell.
    fn storm(&mut self, alarm: &Alarm, at: Utc) {
        let of = &alarm.subject;
        let subject = Subject {
            site: of.site.clone(),
            cell: of.cell.clone(),
            asset: of.cell.clone(),
            mode: STORM.to_owned(),
            component: String::new(),
        };
        let by = subject.fingerprint();
        let summary = Alarm { subject, ..alarm.clone() };
        if self.cases.contains_key(&by) {
            self.again(by, &summary, at);
        } else {
            self.open(&summary, at);
        }
        self.mute(of.fingerprint(), alarm.clone(), by);
    }

    fn begin(&mut self, alarm: &Alarm, after: Option<ExtKey>, state: CaseState, at: Utc) {
        let fingerprint = alarm.subject.fingerprint();
        let last = self.last.get(&fingerprint);
        let first = ExtKey { fingerprint, generation: 1 };
        let key = last.map_or(first, |last| last.key.next());
        let recurs = last.filter(|last| {
            let is_soon = at - last.at < self.plan.recurs_within;
            last.how == Closing::Proven && is_soon && !alarm.is_planned()
        });
        let case = Case {
            key,
            subject: alarm.subject.clone(),
            state,
            priority: alarm.priority,
            mode: alarm.mode,
            opened: at,
            active: true,
            occurrences: 1,
            after: after.or(recurs.map(|last| last.key)),
            order: None,
            told_gone: None,
            proof: alarm.proof,
        };
        self.cases.insert(fingerprint, case);
        self.told.push(Told::Opened(key));
    }

    fn end_of_wait(&mut self, fingerprint: Fingerprint, at: Utc) {
        let Some(case) = self.cases.get(&fingerprint) else { return };
        if !case.active {
            self.close(fingerprint, Closing::Dropped, at);
        } else if let Some(by) = self.explained_by(&case.subject.clone()) {
            let alarm = alarm_of(case);
            self.close(fingerprint, Closing::Explained, at);
            self.mute(fingerprint, alarm, by);
        } else if case.mode == Mode::Auto {
            self.order(fingerprint, at);
        } else if let Some(case) = self.cases.get_mut(&fingerprint) {
            case.state = CaseState::Proposed;
            self.told.push(Told::Proposed(case.key));
        }
    }

    fn order(&mut self, fingerprint: Fingerprint, at: Utc) {
        let Some(case) = self.cases.get_mut(&fingerprint) else { return };
        case.state = CaseState::Ordered;
        self.outbox.push(case.key, Operation::Create, at);
        self.told.push(Told::Ordered(case.key));
    }

    /// The order is done, and the condition is there: the next generation.
    fn did_not_help(&mut self, fingerprint: Fingerprint, at: Utc) {
        let Some(case) = self.cases.get(&fingerprint) else { return };
        let (alarm, after) = (alarm_of(case), case.key);
        self.close(fingerprint, Closing::Ineffective, at);
        let state = CaseState::Waiting(at + self.plan.group_wait);
        self.begin(&alarm, Some(after), state, at);
    }

    fn close(&mut self, fingerprint: Fingerprint, how: Closing, at: Utc) {
        let Some(case) = self.cases.remove(&fingerprint) else { return };
        self.told.push(Told::Closed(case.key, how));
        // A key that nobody was told is free again.
        let was_told = self.outbox.rows().any(|row| row.key == case.key);
        if was_told {
            self.last.insert(fingerprint, Last { key: case.key, at, how });
        }
    }
}

fn alarm_of(case: &Case) -> Alarm {
    let Case { subject, priority, mode, proof, .. } = case.clone();
    Alarm { subject, priority, mode, proof }
}
