//! What the writer does between two commits, so that the history stays within its bounds:
//! roll-ups, the end of days, retention, and the watch on the disk's free room.
//!
//! - Roll-ups once a minute, in rounds short enough that nobody who waits for a commit notices.
//! - Retention removes whole files of closed days and months, never today's, never an open one.
//!   No sink holds it up: what it had not sent is counted and told.
//! - Below the floor of free room the history stops, told as an event; `state.db` goes on.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rusqlite::{Connection, OpenFlags};

use trimloop_core::time::{Mono, Span, Utc};

use super::history::History;
use super::queue::UnsentTold;
use super::rollup;
use super::state::State;
use crate::clock::Clock;
use crate::limits::{HistoryLimits, bytes_text};
use crate::notice::Notice;
use crate::output::day_text;

const ROLL_EVERY: Span = Span::from_secs(60);
const RETAIN_EVERY: Span = Span::from_secs(600);
/// How long after midnight a day stays open for late rows.
const LATE_MAX: Span = Span::from_secs(600);
/// Rounds of roll-ups at the end of the service; the rest is done at the next start.
const ROUNDS_LAST: usize = 40;

/// Room on the file system of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) free: u64,
    pub(super) total: u64,
}

/// Whether the history may be written.
#[derive(Debug, Default)]
pub(super) struct Floor {
    stopped: bool,
    /// Samples and rows that were not written since it stopped.
    withheld: u64,
}

impl Floor {
    /// Takes a look; `Some` when something changed. A tenth more than the floor must be free
    /// before it goes on, so that it does not flicker.
    pub(super) fn judge(
        &mut self,
        room: Room,
        limits: &HistoryLimits,
    ) -> Option<(&'static str, String)> {
        let floor = limits.floor(room.total);
        let needed = if self.stopped { floor.saturating_add(floor / 10) } else { floor };
        let below = room.free < needed;
        if below == self.stopped {
            return None;
        }
        self.stopped = below;
        let (free, floor) = (bytes_text(room.free), bytes_text(floor));
        Some(if below {
            let sentence = format!(
                "The history is not written: {free} are free, {floor} must stay so. Decisions, \
                 writes and the audit trail are still kept. Free the disk, or lower [history]."
            );
            ("history_stopped", sentence)
        } else {
            let withheld = std::mem::take(&mut self.withheld);
            let sentence = format!(
                "The history is written again ({free} free); {withheld} rows were not kept."
            );
            ("history_resumed", sentence)
        })
    }

    /// Whether `rows` must not be written; they are counted.
    pub(super) fn withholds(&mut self, rows: u64) -> bool {
        if self.stopped {
            self.withheld += rows;
        }
        self.stopped
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }
}

/// The writer's housekeeping.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: PathBuf,
    clock: Clock,
    limits: HistoryLimits,
    pub(super) floor: Floor,
    roll_at: Mono,
    retain_at: Mono,
    finishing: bool,
    /// The last roll-up or retention failed; said once.
    failing: bool,
    /// Rows removed before a sink had sent them, since the start.
    pub(super) unsent: u64,
    told: UnsentTold,
}

impl Keeper {
    pub(super) fn new(dir: &Path, clock: Clock, limits: HistoryLimits, told: UnsentTold) -> Self {
        Self {
            dir: dir.to_owned(),
            clock,
            limits,
            floor: Floor::default(),
            roll_at: clock.mono() + ROLL_EVERY,
            retain_at: Mono::default(),
            finishing: true,
            failing: false,
            unsent: 0,
            told,
        }
    }

    /// Looks at the disk's room; call before history is written.
    pub(super) fn watch(&mut self) -> Option<Notice> {
        // A room that cannot be told is no reason to stop: a write will say what is wrong.
        let room = room(&self.dir)?;
        let (code, sentence) = self.floor.judge(room, &self.limits)?;
        tracing::warn!("{sentence}");
        Some(self.notice(code, sentence))
    }

    /// A round of what is due; call when nobody waits for a commit.
    pub(super) fn tend(&mut self, history: &mut History, state: &State) -> Vec<Notice> {
        let now = self.clock.now();
        let mut notices = Vec::new();
        if now.mono >= self.retain_at {
            self.retain_at = now.mono + RETAIN_EVERY;
            history.retire(&day_text(now.utc - LATE_MAX));
            self.finishing = true;
            match self.retain(history, state, now.utc) {
                Ok(told) => notices.extend(told),
                Err(error) => self.failed(&error),
            }
        }
        if self.floor.is_stopped() {
            return notices;
        }
        if now.mono >= self.roll_at {
            match history.roll() {
                Ok(more) => {
                    self.failing = false;
                    if !more {
                        self.roll_at = now.mono + ROLL_EVERY;
                    }
                }
                Err(error) => {
                    self.roll_at = now.mono + ROLL_EVERY;
                    self.failed(&error);
                }
            }
        } else if self.finishing {
            self.finishing = history.finish().unwrap_or_else(|error| {
                // Somebody reads it, or the disk is full: later.
                tracing::debug!(error = crate::error::chain(&error), "A day is not finished yet.");
                false
            });
        }
        for sentence in std::mem::take(&mut history.notices) {
            notices.push(self.notice("history_damaged", sentence));
        }
        notices
    }

    /// What is left of roll-ups at the end of the service, within reason.
    pub(super) fn end(&mut self, history: &mut History) {
        if self.floor.is_stopped() {
            return;
        }
        for _round in 0..ROUNDS_LAST {
            match history.roll() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let error = crate::error::chain(error);
            tracing::error!(error, "The history cannot be put in order; it is tried again.");
        }
    }

    fn notice(&self, code: &'static str, sentence: String) -> Notice {
        Notice { at: self.clock.utc(), code, subject: "history".to_owned(), sentence }
    }

    fn retain(
        &mut self,
        history: &History,
        state: &State,
        now: Utc,
    ) -> rusqlite::Result<Vec<Notice>> {
        let mut notices = Vec::new();
        let today = day_text(now);
        let days = rollup::day_files(&self.dir);
        let of_age = day_text(now - self.limits.raw_age);
        let goes = |day: &str| day < today.as_str() && !history.is_open(day);
        for (day, path) in overdue(&days, &of_age, self.limits.raw_bytes, goes) {
            let unsent = unsent(&path, &day, state)?;
            // Before the file goes: a sink that misses it must find that it is told already.
            self.told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(unsent.iter().map(|(sink, _)| (sink.clone(), day.clone())));
            if !remove(&path) {
                continue;
            }
            tracing::info!(day, "A day of history was removed: its retention is over.");
            for (sink, rows) in unsent {
                self.unsent += rows;
                let sentence = format!(
                    "{rows} rows of {day} were removed before sink {sink} had sent them: the \
                     retention in [history] is shorter than the sink was behind."
                );
                tracing::warn!("{sentence}");
                notices.push(self.notice("history_unsent", sentence));
            }
        }
        let months = rollup::month_files(&self.dir);
        let of_age = day_text(now - self.limits.rollup_age);
        let this_month = rollup::month_of(&today);
        let goes = |month: &str| month < this_month && !history.is_month_open(month);
        let of_age = rollup::month_of(&of_age);
        for (month, path) in overdue(&months, of_age, self.limits.rollup_bytes, goes) {
            if remove(&path) {
                tracing::info!(month, "A month of roll-ups was removed: its retention is over.");
            }
        }
        Ok(notices)
    }
}

/// The files to remove: those that end before `of_age`, then the oldest while all together are
/// larger than `bytes_max`; only such as `goes` lets go.
fn overdue(
    files: &[(String, PathBuf)],
    of_age: &str,
    bytes_max: u64,
    goes: impl Fn(&str) -> bool,
) -> Vec<(String, PathBuf)> {
    let sizes: Vec<u64> = files.iter().map(|(_, path)| bytes_of(path)).collect();
    let mut total: u64 = sizes.iter().sum();
    let mut found = Vec::new();
    for ((name, path), bytes) in files.iter().zip(sizes) {
        if goes(name) && (name.as_str() < of_age || total > bytes_max) {
            total = total.saturating_sub(bytes);
            found.push((name.clone(), path.clone()));
        }
    }
    found
}

/// A database's bytes, with what lies beside it.
fn bytes_of(path: &Path) -> u64 {
    let parts = [path.to_owned(), beside(path, "-wal")];
    parts.iter().filter_map(|part| Some(std::fs::metadata(part).ok()?.len())).sum()
}

fn beside(path: &Path, tail: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(tail);
    PathBuf::from(name)
}

/// Removes a database; the log first, so that it can never be taken for that of another.
fn remove(path: &Path) -> bool {
    let parts = [beside(path, "-wal"), beside(path, "-shm"), path.to_owned()];
    for part in parts {
        match std::fs::remove_file(&part) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(%error, file = %part.display(), "A file could not be removed.");
                return false;
            }
        }
    }
    true
}

/// Rows of a day that sinks have not sent, by sink; only sinks that were at work by then.
fn unsent(path: &Path, day: &str, state: &State) -> rusqlite::Result<Vec<(String, u64)>> {
    let sinks = state.sinks_of(day)?;
    if sinks.is_empty() {
        return Ok(Vec::new());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let count = |seq: i64| {
        let db = Connection::open_with_flags(path, flags)?;
        let of = |table: &str| {
            let sql = format!("SELECT coalesce(sum(rows), 0) FROM {table} WHERE seq > ?");
            db.query_row(&sql, [seq], |row| row.get::<_, i64>(0))
        };
        // A day of an older trimloop has no numbers of other rows than samples.
        let others = if db.table_exists(None, "record_flush")? { of("record_flush")? } else { 0 };
        Ok::<_, rusqlite::Error>(of("flush")? + others)
    };
    let mut found = Vec::new();
    for (sink, seq) in sinks {
        // A file that cannot be read has nothing that could be sent.
        let rows = count(seq).unwrap_or(0).unsigned_abs();
        if rows > 0 {
            found.push((sink, rows));
        }
    }
    Ok(found)
}

fn room(dir: &Path) -> Option<Room> {
    let found = nix::sys::statvfs::statvfs(dir).ok()?;
    let block = found.fragment_size();
    Some(Room {
        free: found.blocks_available().saturating_mul(block),
        total: found.blocks().saturating_mul(block),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// History stops below the floor, and goes on only when a tenth more is free.
    #[test]
    fn the_floor_has_a_hysteresis() {
        let limits = HistoryLimits { free_bytes: 1000, ..HistoryLimits::KEEP_ALL };
        let mut floor = Floor::default();
        let mut look = |free| {
            let told = floor.judge(Room { free, total: 1 << 40 }, &limits);
            floor.withholds(10);
            (told.map(|(code, _)| code), floor.is_stopped())
        };
        assert_eq!(look(1000), (None, false));
        assert_eq!(look(999), (Some("history_stopped"), true));
        assert_eq!(look(1050), (None, true));
        assert_eq!(look(1100), (Some("history_resumed"), false));
        assert_eq!(look(1000), (None, false));
    }

    /// Retention takes the oldest, by age and by bytes, and never what may not go.
    #[test]
    fn retention_takes_the_oldest_that_may_go() {
        let dir = std::env::temp_dir().join(format!("trimloop-overdue-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for (day, bytes) in [("20260101", 10), ("20260102", 20), ("20260103", 30), ("20260104", 40)]
        {
            std::fs::write(dir.join(format!("history-{day}.db")), vec![0; bytes]).unwrap();
        }
        std::fs::write(dir.join("history-20260102.db-wal"), vec![0; 5]).unwrap();
        std::fs::write(dir.join("history-20260102.db.damaged-1"), vec![0; 500]).unwrap();
        let days = rollup::day_files(&dir);
        let of = |of_age: &str, bytes: u64, kept: &str| -> Vec<String> {
            let found = overdue(&days, of_age, bytes, |day| day < "20260104" && day != kept);
            found.into_iter().map(|(day, _)| day).collect()
        };
        assert_eq!(of("20260101", u64::MAX, ""), Vec::<String>::new());
        assert_eq!(of("20260103", u64::MAX, ""), ["20260101", "20260102"]);
        assert_eq!(of("20260101", 94, ""), ["20260101", "20260102"]);
        assert_eq!(of("20260101", 95, ""), ["20260101"]);
        assert_eq!(of("20260101", 0, "20260102"), ["20260101", "20260103"]);
        assert!(remove(&dir.join("history-20260102.db")));
        assert_eq!(rollup::day_files(&dir).len(), 3);
        assert!(!dir.join("history-20260102.db-wal").exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
