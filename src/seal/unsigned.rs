//! How long a service ran without signing. It signs new rows within a minute and the journal every
//! ten, so a longer stretch means that heads were taken away, or could not be made.
//!
//! The journal tells it: whoever cuts heads and rows of `state.db` would have to cut it too, and with
//! it everything that replay needs.

use std::path::Path;

use trimloop_core::time::{Mono, Span};

use super::{JOURNAL_EVERY, LOOK};
use crate::clock::span_of;
use crate::journal::{
    Damage, JournalError, Note, Raw, Reader, decode_actions, decode_scan, journal_numbers,
};

/// Time that a round of signing may take.
const SLACK: Span = Span::from_secs(60);

/// The longest stretch of one start that no head covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsigned {
    /// Of anything.
    journal: Span,
    /// Since a write or an order, which are rows of `state.db` too.
    rows: Span,
}

/// A start that is being read.
#[derive(Clone, Copy)]
struct Run {
    boot: u64,
    begin: Mono,
    row: Option<Mono>,
    last: Mono,
}

impl Unsigned {
    /// What the journal in `dir` holds behind a place in it: file number and byte; 0 for all of it.
    /// Reading ends at damage, which others tell.
    ///
    /// # Errors
    /// [`JournalError`] when it cannot be read.
    pub(super) fn behind(dir: &Path, place: (u64, u64)) -> Result<Self, JournalError> {
        let mut found = Self::default();
        let mut run: Option<Run> = None;
        for (number, path) in journal_numbers(dir)? {
            if number < place.0 {
                continue;
            }
            let from = if number == place.0 { place.1 } else { 0 };
            let mut reader = Reader::open(&path)?;
            if found.read(&mut reader, from, &mut run).is_err() {
                break;
            }
        }
        found.close(run);
        Ok(found)
    }

    fn read(
        &mut self,
        reader: &mut Reader,
        from: u64,
        run: &mut Option<Run>,
    ) -> Result<(), Damage> {
        let mut boot = run.map_or(0, |run| run.boot);
        while let Some(raw) = reader.next_raw()? {
            let mut row = false;
            let mut now = None;
            match raw {
                Raw::Head(head) => boot = head.boot,
                Raw::Scan(bytes) => {
                    if let Ok(scan) = decode_scan(bytes) {
                        row = !scan.commands.is_empty();
                        now = Some(scan.now.mono);
                    }
                }
                Raw::Actions { bytes, .. } => {
                    let is_write = |note: &Note| matches!(note, Note::Write(_));
                    row = decode_actions(bytes).is_ok_and(|notes| notes.iter().any(is_write));
                }
            }
            if reader.offset() <= from {
                continue;
            }
            if let Some(now) = now
                && run.is_none_or(|run| run.boot != boot || now < run.last)
            {
                self.close(run.take());
                *run = Some(Run { boot, begin: now, row: None, last: now });
            }
            if let Some(run) = run.as_mut() {
                run.last = now.unwrap_or(run.last);
                run.row = run.row.or(row.then_some(run.last));
            }
        }
        Ok(())
    }

    fn close(&mut self, run: Option<Run>) {
        let Some(run) = run else { return };
        self.journal = self.journal.max(run.last - run.begin);
        self.rows = self.rows.max(run.row.map_or(Span::ZERO, |row| run.last - row));
    }

    /// The longest stretch, where it is longer than a service that signs leaves one; `first`: not
    /// even the head is there that every start on new records makes.
    pub(super) fn too_long(self, first: bool) -> Option<Span> {
        let look = span_of(LOOK);
        let journal = if first { look + SLACK } else { JOURNAL_EVERY + look + SLACK };
        let rows = look + SLACK;
        (self.journal > journal)
            .then_some(self.journal)
            .or_else(|| (self.rows > rows).then_some(self.rows))
    }
}
