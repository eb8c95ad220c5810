//! The built-in order book: the whole chain for a shop without a CMMS.
//!
//! It lies in the same file as the desk, under connections of its own. An order is known by its
//! key, so that making one twice makes it once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use trimloop_cmms::{CloseCodes, Draft, Part, Remote, Trouble, WorkSystem};
use trimloop_core::time::Utc;
use trimloop_work::desk::OrderState;
use trimloop_work::key::ExtKey;

use crate::base::{BaseError, FILE, connect, look};

/// Name of the book, for people and records.
pub const NAME: &str = "built-in";
/// Longest text that a person gives [bytes].
pub const TEXT_MAX: usize = 4000;

/// The built-in order book.
#[derive(Debug)]
pub struct Book {
    db: Connection,
    now: Stamp,
}

/// The time that orders and comments carry; the book reads no clock. Copies are one time.
#[derive(Clone, Debug, Default)]
pub struct Stamp(Arc<AtomicI64>);

impl Stamp {
    /// From now on it is this time.
    pub fn set(&self, at: Utc) {
        self.0.store(at.as_nanos(), Ordering::Relaxed);
    }

    fn get(&self) -> Utc {
        Utc::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// An order with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Number in the book.
    pub id: i64,
    /// Our key.
    pub key: ExtKey,
    /// One line.
    pub title: String,
    /// What was seen, and what is proposed.
    pub body: String,
    /// 1, the most urgent, to 4.
    pub priority: u8,
    /// Asset.
    pub asset: String,
    /// Failure mode.
    pub mode: String,
    /// Who works on it.
    pub assignee: Option<String>,
    /// Where it stands.
    pub state: OrderState,
    /// When it was made.
    pub made: Utc,
    /// When it was changed last.
    pub updated: Utc,
    /// What the technician said.
    pub close: CloseCodes,
    /// Spare parts that were thought to be needed.
    pub parts: Vec<Part>,
    /// Those that were: reference, quantity.
    pub used: Vec<(String, u32)>,
    /// Time, who, text; oldest first.
    pub comments: Vec<(Utc, String, String)>,
}

/// What a person does with an order of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Somebody shall work on it.
    Assign(String),
    /// A remark.
    Comment(String),
    /// Work begins.
    Start,
    /// It waits.
    Hold,
    /// Work is done, with these parts: reference, quantity.
    Done(CloseCodes, Vec<(String, u32)>),
    /// It is called off.
    Cancel,
}

impl Book {
    /// The book of a data folder.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn open(data: &Path, now: &Stamp) -> Result<Self, BaseError> {
        let path: PathBuf = data.join(FILE);
        match connect(&path) {
            Ok(db) => Ok(Self { db, now: now.clone() }),
            Err(source) => Err(BaseError::File { path, source }),
        }
    }

    /// The book of a data folder to look at; `None` where there is none.
    ///
    /// # Errors
    /// [`BaseError::File`].
    pub fn look(data: &Path) -> Result<Option<Self>, BaseError> {
        let db = look(data)?;
        Ok(db.map(|db| Self { db, now: Stamp::default() }))
    }

    /// Orders, the newest first; with `only_open` those that wait for somebody.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn orders(&self, only_open: bool, most: u32) -> rusqlite::Result<Vec<Order>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM work_order WHERE NOT ?1
             OR state IN ('requested', 'open', 'in_progress', 'on_hold') ORDER BY id DESC LIMIT ?2"
        );
        let mut statement = self.db.prepare(&sql)?;
        let rows = statement.query_map(params![only_open, most], order_of)?;
        rows.map(|order| self.whole(order?)).collect()
    }

    /// One order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn order(&self, key: ExtKey) -> rusqlite::Result<Option<Order>> {
        let sql = format!("SELECT {COLUMNS} FROM work_order WHERE key = ?");
        let found = self.db.query_row(&sql, [key.to_string()], order_of).optional()?;
        found.map(|order| self.whole(order)).transpose()
    }

    fn whole(&self, mut order: Order) -> rusqlite::Result<Order> {
        let mut parts = self.db.prepare_cached(
            "SELECT reference, name, quantity FROM order_part WHERE work_order = ? ORDER BY place",
        )?;
        let parts = parts.query_map([order.id], |row| {
            Ok(Part { reference: row.get(0)?, name: row.get(1)?, quantity: row.get(2)? })
        })?;
        order.parts = parts.collect::<rusqlite::Result<_>>()?;
        order.used = self.used(order.id)?;
        let mut comments = self.db.prepare_cached(
            "SELECT utc, actor, text FROM order_comment WHERE work_order = ? ORDER BY id",
        )?;
        let comments = comments.query_map([order.id], |row| {
            Ok((Utc::from_nanos(row.get(0)?), row.get(1)?, row.get(2)?))
        })?;
        order.comments = comments.collect::<rusqlite::Result<_>>()?;
        Ok(order)
    }

    fn used(&self, id: i64) -> rusqlite::Result<Vec<(String, u32)>> {
        // A file of before that nobody opened for writing since has no such table.
        let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'part_used')";
        if !self.db.query_row(there, [], |row| row.get::<_, bool>(0))? {
            return Ok(Vec::new());
        }
        let sql = "SELECT reference, quantity FROM part_used WHERE work_order = ? ORDER BY place";
        let mut used = self.db.prepare_cached(sql)?;
        let rows = used.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// A person does something with an order; in which state it is then.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn act(&mut self, key: ExtKey, act: &Act, actor: &str) -> Result<OrderState, String> {
        let now = self.now.get();
        let sql = |error: rusqlite::Error| format!("{FILE} cannot be written: {error}");
        let order = self.order(key).map_err(sql)?;
        let order = order.ok_or_else(|| format!("there is no order {key} in the book"))?;
        let is_over = matches!(
            order.state,
            OrderState::Done | OrderState::Cancelled | OrderState::Rejected | OrderState::Lost
        );
        if is_over && !matches!(act, Act::Comment(_)) {
            return Err(format!("order {key} is {} already", order.state.word()));
        }
        // Two changes in one moment would look like one to who asks for what is newer.
        let updated = now.max(order.updated + trimloop_core::time::Span::from_nanos(1));
        let tx = self.db.transaction().map_err(sql)?;
        let (state, text) = match act {
            Act::Assign(who) => {
                tx.execute(
                    "UPDATE work_order SET assignee = ?, updated = ? WHERE id = ?",
                    params![who, updated.as_nanos(), order.id],
                )
                .map_err(sql)?;
                (order.state, format!("assigned to {who}"))
            }
            Act::Comment(text) => (order.state, text.clone()),
            Act::Start => (OrderState::InProgress, "work begins".to_owned()),
            Act::Hold => (OrderState::OnHold, "on hold".to_owned()),
            Act::Cancel => (OrderState::Cancelled, "called off".to_owned()),
            Act::Done(close, used) => {
                tx.execute(
                    "UPDATE work_order SET problem = ?, cause = ?, remedy = ? WHERE id = ?",
                    params![close.problem, close.cause, close.remedy, order.id],
                )
                .map_err(sql)?;
                for (place, (reference, quantity)) in (0_i64..).zip(used) {
                    tx.execute(
                        "INSERT OR REPLACE INTO part_used VALUES(?, ?, ?, ?)",
                        params![order.id, place, reference, quantity],
                    )
                    .map_err(sql)?;
                }
                (OrderState::Done, "work is done".to_owned())
            }
        };
        tx.execute(
            "UPDATE work_order SET state = ?, updated = ? WHERE id = ?",
            params![state.word(), updated.as_nanos(), order.id],
        )
        .map_err(sql)?;
        tx.execute(
            "INSERT INTO order_comment(work_order, utc, actor, text) VALUES(?, ?, ?, ?)",
            params![order.id, now.as_nanos(), actor, text],
        )
        .map_err(sql)?;
        tx.commit().map_err(sql)?;
        Ok(state)
    }
}

const COLUMNS: &str = "id, key, title, body, priority, asset, assignee, state, made, updated, \
                       problem, cause, remedy, mode";

fn order_of(row: &Row<'_>) -> rusqlite::Result<Order> {
    let key: String = row.get(1)?;
    let wrong = |place, what: &str| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(place, kind, what.to_owned().into())
    };
    let state: String = row.get(7)?;
    Ok(Order {
        id: row.get(0)?,
        key: ExtKey::parse(&key).ok_or_else(|| wrong(1, "no key of an order"))?,
        title: row.get(2)?,
        body: row.get(3)?,
        priority: row.get(4)?,
        asset: row.get(5)?,
        assignee: row.get(6)?,
        state: OrderState::parse(&state).ok_or_else(|| wrong(7, "no state of an order"))?,
        made: Utc::from_nanos(row.get(8)?),
        updated: Utc::from_nanos(row.get(9)?),
        close: CloseCodes { problem: row.get(10)?, cause: row.get(11)?, remedy: row.get(12)? },
        mode: row.get(13)?,
        parts: Vec::new(),
        used: Vec::new(),
        comments: Vec::new(),
    })
}

fn remote_of(order: Order) -> Remote {
    Remote {
        id: order.id.to_string(),
        key: Some(order.key),
        state: order.state,
        word: order.state.word().to_owned(),
        is_word_unknown: false,
        updated: order.updated,
        assignee: order.assignee,
        close: order.close,
    }
}

/// A file on this machine: what did not commit did not happen.
fn not_done(error: &rusqlite::Error) -> Trouble {
    Trouble::NotDone { not_before: None, why: format!("{FILE}: {error}") }
}

impl WorkSystem for Book {
    fn name(&self) -> &str {
        NAME
    }

    fn can_search(&self) -> bool {
        true
    }

    fn create(&mut self, order: &Draft, _idempotency: &str) -> Result<String, Trouble> {
        let now = self.now.get().as_nanos();
        let made = self.db.transaction().and_then(|tx| {
            tx.execute(
                "INSERT OR IGNORE INTO work_order(key, title, body, priority, asset, mode, due,
                   assignee, state, made, updated)
                 VALUES(?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?)",
                params![
                    order.key.to_string(),
                    order.title,
                    order.body,
                    order.priority,
                    order.asset,
                    order.mode,
                    order.due.map(Utc::as_nanos),
                    order.assignee,
                    now,
                    now,
                ],
            )?;
            let id: i64 = tx.query_row(
                "SELECT id FROM work_order WHERE key = ?",
                [order.key.to_string()],
                |row| row.get(0),
            )?;
            for (place, part) in (0_i64..).zip(&order.parts) {
                tx.execute(
                    "INSERT OR IGNORE INTO order_part VALUES(?, ?, ?, ?, ?)",
                    params![id, place, part.name, part.reference, part.quantity],
                )?;
            }
            tx.commit()?;
            Ok(id)
        });
        made.map(|id| id.to_string()).map_err(|error| not_done(&error))
    }

    fn comment(&mut self, id: &str, text: &str, marker: &str) -> Result<(), Trouble> {
        let sql = "INSERT INTO order_comment(work_order, utc, actor, text, marker)
                   SELECT ?1, ?2, 'trimloop', ?3, ?4
                   WHERE NOT EXISTS (SELECT 1 FROM order_comment
                                     WHERE work_order = ?1 AND marker = ?4)";
        let done = self.db.execute(sql, params![id, self.now.get().as_nanos(), text, marker]);
        done.map(|_| ()).map_err(|error| not_done(&error))
    }

    fn has_comment(&mut self, id: &str, marker: &str) -> Result<bool, Trouble> {
        let sql = "SELECT EXISTS (SELECT 1 FROM order_comment WHERE work_order = ? AND marker = ?)";
        let has = self.db.query_row(sql, params![id, marker], |row| row.get(0));
        has.map_err(|error| not_done(&error))
    }

    fn find(&mut self, key: ExtKey, _since: Utc) -> Result<Vec<Remote>, Trouble> {
        let found = self.order(key).map_err(|error| not_done(&error))?;
        Ok(found.map(remote_of).into_iter().collect())
    }

    fn changed(&mut self, since: Utc) -> Result<Vec<Remote>, Trouble> {
        let sql = format!("SELECT {COLUMNS} FROM work_order WHERE updated >= ? ORDER BY updated");
        let found = self.db.prepare_cached(&sql).and_then(|mut statement| {
            let rows = statement.query_map([since.as_nanos()], order_of)?;
            rows.map(|order| order.map(remote_of)).collect::<rusqlite::Result<Vec<_>>>()
        });
        found.map_err(|error| not_done(&error))
    }

    fn read(&mut self, id: &str) -> Result<Option<Remote>, Trouble> {
        let sql = format!("SELECT {COLUMNS} FROM work_order WHERE id = ?");
        let found = self.db.query_row(&sql, [id], order_of).optional();
        found.map(|order| order.map(remote_of)).map_err(|error| not_done(&error))
    }

    fn check(&mut self) -> Result<String, Trouble> {
        let count = self.db.query_row("SELECT count(*) FROM work_order", [], |row| row.get(0));
        let count: i64 = count.map_err(|error| not_done(&error))?;
        Ok(format!("{count} orders in {FILE}"))
    }
}
