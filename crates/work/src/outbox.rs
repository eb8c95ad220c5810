//! What is to be told to another system, and what is known of whether it was.
//!
//! ```text
//! queued -> sending -> delivered
//!              |-> queued    surely not done: no connection was made, or it said 429
//!              |-> unknown   anything else after the first byte left
//!              '-> dead      refused for its content: a person edits it, and sends again
//! unknown -> delivered  found
//! unknown -> queued     not found by searches of which one began `settle` after the loss
//! ```
//!
//! - A row is stored as `sending` before its first byte leaves; a restart makes every `sending`
//!   `unknown`.
//! - **Invariant:** what is unknown is not sent again before a search.
//! - Rows of one key keep their order; keys do not wait for one another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use trimloop_core::time::{Span, Utc};

use crate::key::ExtKey;
use crate::wire;

/// The request for the order of a key, if the other system refused it: nobody works on it, until a
/// person sends it again.
pub fn refused_create<'r>(mut rows: impl Iterator<Item = &'r Row>, key: ExtKey) -> Option<&'r Row> {
    let is_it = |row: &&Row| {
        row.key == key && row.state == RowState::Dead && row.operation == Operation::Create
    };
    rows.find(is_it)
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// There shall be an order with the row's key.
    Create,
    /// A comment on it.
    Comment(String),
}

/// What is known of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowState {
    /// Waits for its turn.
    Queued,
    /// May be on its way.
    Sending,
    /// Nobody knows whether it arrived.
    Unknown,
    /// It is there.
    Delivered,
    /// Refused for what it says.
    Dead,
}

impl RowState {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Dead)
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its number; rows of a key are told in this order.
    pub id: u64,
    /// Of which order.
    pub key: ExtKey,
    /// What.
    pub operation: Operation,
    /// What is known.
    pub state: RowState,
    /// Times it was sent.
    pub attempts: u32,
    /// Not before this.
    #[serde(with = "wire::one")]
    pub next_at: Utc,
    /// Since when nobody knows.
    #[serde(with = "wire::maybe")]
    pub lost_at: Option<Utc>,
    /// Searches that found nothing since then.
    pub searches: u32,
    /// Begin of the search under way.
    #[serde(with = "wire::maybe")]
    pub searching: Option<Utc>,
    /// Why it is not delivered.
    pub error: Option<String>,
}

/// What is to be done at the other system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send a row, with [`Row::idempotency_key`] where the system takes one.
    Send(Row),
    /// Look whether a row is there.
    Search(Row),
}

/// How a send ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is there.
    Delivered,
    /// It surely did not happen; not again before this time.
    NotDone(Utc, String),
    /// Nobody knows.
    Unknown(String),
    /// Refused for its content.
    Refused(String),
}

/// Waits between tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long after a send was lost the other system may still take it in, and its search may
    /// not show it.
    pub settle: Span,
    /// Between two searches for one row.
    pub search_every: Span,
    /// Requests under way at a time.
    pub parallel: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { settle: Span::from_secs(120), search_every: Span::from_secs(30), parallel: 4 }
    }
}

/// Rows that are not settled, and how to settle them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    terms: Terms,
    rows: BTreeMap<u64, Row>,
    next: u64,
}

impl Row {
    /// The same for every try of one row, another for every other row.
    pub fn idempotency_key(&self) -> String {
        format!("{}.{}", self.key, self.id)
    }
}

impl Outbox {
    /// Without rows.
    pub fn new(terms: Terms) -> Self {
        Self { terms, rows: BTreeMap::new(), next: 1 }
    }

    /// Of rows that were stored; what is wrong with them, if something is.
    pub(crate) fn restore(terms: Terms, rows: Vec<Row>, next: u64) -> Result<Self, String> {
        let count = rows.len();
        let rows: BTreeMap<u64, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
        if rows.len() != count {
            return Err("two rows of the outbox have one number".to_owned());
        }
        if let Some(row) = rows.values().find(|row| row.id >= next || row.id == 0) {
            return Err(format!("row {} of the outbox is beyond the last, {next}", row.id));
        }
        let lost = |row: &&Row| row.state == RowState::Unknown && row.lost_at.is_none();
        if let Some(row) = rows.values().find(lost) {
            return Err(format!("row {} of the outbox is lost since never", row.id));
        }
        Ok(Self { terms, rows, next })
    }

    /// The number that the next row gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Adds a row; its number.
    pub fn push(&mut self, key: ExtKey, operation: Operation, at: Utc) -> u64 {
        let id = self.next;
        self.next += 1;
        let row = Row {
            id,
            key,
            operation,
            state: RowState::Queued,
            attempts: 0,
            next_at: at,
            lost_at: None,
            searches: 0,
            searching: None,
            error: None,
        };
        self.rows.insert(id, row);
        id
    }

    /// All rows, oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// One row.
    pub fn row(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// After a restart: what was on its way may have arrived.
    pub fn recover(&mut self, at: Utc) {
        for row in self.rows.values_mut() {
            row.searching = None;
            if row.state == RowState::Sending {
                row.lose(at, "the service stopped while it was sent".to_owned(), self.terms);
            }
        }
    }

    /// The next thing to do, if there is one. The row is marked; store that before acting on it.
    pub fn take(&mut self, at: Utc) -> Option<Request> {
        let busy = |row: &&Row| row.state == RowState::Sending || row.searching.is_some();
        if self.rows().filter(busy).count() >= self.terms.parallel {
            return None;
        }
        let mut seen: BTreeSet<ExtKey> = BTreeSet::new();
        let mut dead: BTreeSet<ExtKey> = BTreeSet::new();
        let mut found = None;
        for row in self.rows.values() {
            match row.state {
                // Nothing is said of an order that could not be made.
                RowState::Dead if row.operation == Operation::Create => {
                    dead.insert(row.key);
                }
                state if state.is_final() => {}
                _ if dead.contains(&row.key) || !seen.insert(row.key) => {}
                RowState::Queued | RowState::Unknown
                    if row.searching.is_none() && at >= row.next_at =>
                {
                    found = Some(row.id);
                    break;
                }
                _ => {}
            }
        }
        let row = self.rows.get_mut(&found?)?;
        if row.state == RowState::Unknown {
            row.searching = Some(at);
            return Some(Request::Search(row.clone()));
        }
        row.state = RowState::Sending;
        row.attempts += 1;
        Some(Request::Send(row.clone()))
    }

    /// How a send ended. One that is no longer under way was settled otherwise, and is passed over.
    pub fn sent(&mut self, id: u64, how: Sent, at: Utc) {
        let terms = self.terms;
        let Some(row) = self.rows.get_mut(&id) else { return };
        match (row.state, how) {
            // A late reply still tells the truth.
            (RowState::Sending | RowState::Unknown, Sent::Delivered) => row.deliver(),
            (RowState::Sending, Sent::NotDone(next, why)) => {
                row.state = RowState::Queued;
                row.next_at = next;
                row.error = Some(why);
            }
            (RowState::Sending, Sent::Unknown(why)) => row.lose(at, why, terms),
            (RowState::Sending, Sent::Refused(why)) => {
                row.state = RowState::Dead;
                row.error = Some(why);
            }
            _ => {}
        }
    }

    /// How a search ended: found, not found, or not answered.
    pub fn searched(&mut self, id: u64, found: Option<bool>, at: Utc) {
        let terms = self.terms;
        let Some(row) = self.rows.get_mut(&id) else { return };
        let (Some(begin), RowState::Unknown) = (row.searching.take(), row.state) else { return };
        match found {
            Some(true) => row.deliver(),
            Some(false) => {
                row.searches += 1;
                let settled = row.lost_at.is_some_and(|lost| begin - lost >= terms.settle);
                if settled && row.searches >= 2 {
                    row.state = RowState::Queued;
                    row.next_at = at;
                    (row.lost_at, row.searches) = (None, 0);
                } else {
                    row.next_at = at + terms.search_every;
                }
            }
            None => row.next_at = at + terms.search_every,
        }
    }

    /// A person sends a dead row again, perhaps after a change of it or of the other system.
    pub fn retry(&mut self, id: u64, at: Utc) -> bool {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.state == RowState::Dead) else {
            return false;
        };
        (row.state, row.next_at) = (RowState::Queued, at);
        true
    }

    /// Lets go of what was delivered of orders that are not worked any more.
    pub fn forget(&mut self, is_worked: impl Fn(ExtKey) -> bool) {
        self.rows.retain(|_, row| row.state != RowState::Delivered || is_worked(row.key));
    }

    /// Polling has seen the order: its create arrived.
    pub fn seen(&mut self, key: ExtKey) {
        for row in self.rows.values_mut() {
            let create = row.key == key && row.operation == Operation::Create;
            if create && row.state == RowState::Unknown {
                row.deliver();
            }
        }
    }
}

impl Row {
    fn deliver(&mut self) {
        (self.state, self.error) = (RowState::Delivered, None);
    }

    fn lose(&mut self, at: Utc, why: String, terms: Terms) {
        self.state = RowState::Unknown;
        (self.lost_at, self.searches) = (Some(at), 0);
        self.next_at = at + terms.search_every;
        self.error = Some(why);
    }
}
