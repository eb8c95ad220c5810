//! A fingerprint of all that a cell remembers, in which two cells are equal when nothing they may
//! ever do differs.
//!
//! It reads the `Debug` text of the cell's parts (every field, those of tomorrow included) and
//! writes down instead of
//!
//! - a moment: its distance from now, cut off at [`HORIZON`]. The cell compares ages with limits
//!   only, all of them shorter; what is older stays older.
//! - a number that counts up ([`Bases`]): its distance from the newest, because only equality of
//!   such numbers is ever asked.
//! - the fields of [`UNUSED`]: nothing, because no plan explored here makes a decision on them.

use core::fmt::{self, Debug, Write};

/// Longer than every age that the explored plan compares with [ns].
const HORIZON: i64 = 1_000_000_000;

/// Names of fields left out: running numbers of rows and sessions (what of another session is under
/// way belongs to the world's own state); statistics of the spike and frozen checks, which
/// [`super::plant`] leaves off; counts that are only shown.
const UNUSED: [&str; 5] = ["epoch", "interval", "unchanged", "parts_on", "saturated"];

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Itself,
    Mono,
    Process,
    Write,
    Beat,
    Nothing,
}

/// The newest of everything that runs on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bases {
    /// Link time of the last scan [ns].
    pub(crate) mono: i64,
    /// Process time of the last scan [ns].
    pub(crate) process: i64,
    /// Number of the next write.
    pub(crate) write: i64,
    /// Number of the newest part.
    pub(crate) part: i64,
    /// Newest beat.
    pub(crate) beat: i64,
}

/// Takes text in, in the pieces in which `Debug` hands it out.
#[derive(Clone, Debug)]
pub(crate) struct Digest {
    hash: u64,
    bases: Bases,
    next: Meaning,
}

impl Digest {
    pub(crate) fn new(bases: Bases) -> Self {
        Self { hash: 0, bases, next: Meaning::Itself }
    }

    /// Takes in everything that `Debug` tells of it.
    pub(crate) fn add(&mut self, part: &dyn Debug) {
        let _never_fails = write!(self, "{part:?};");
        self.next = Meaning::Itself;
    }

    /// Takes in the number of a part that is waited for.
    pub(crate) fn part(&mut self, number: u64) {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.mix((number - self.bases.part).max(0).cast_unsigned());
    }

    /// Takes in a count that acts from 3 on.
    pub(crate) fn few(&mut self, count: u32) {
        self.mix(u64::from(count.min(3)));
    }

    pub(crate) fn finish(&self) -> u64 {
        self.hash
    }

    /// Multiplies and folds: quick, and every bit counts.
    fn mix(&mut self, word: u64) {
        let product =
            u128::from(self.hash ^ word ^ 0x9E37_79B9_7F4A_7C15) * 0xA076_1D64_78BD_642F_u128;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.hash = low ^ high.rotate_left(17);
    }

    fn number(&mut self, number: i64) {
        let told = match self.next {
            Meaning::Nothing => return,
            Meaning::Itself => number,
            Meaning::Mono => (number - self.bases.mono).max(-HORIZON),
            Meaning::Process => (number - self.bases.process).max(-HORIZON),
            Meaning::Write => number - self.bases.write,
            // An echo so old says no more than none: its beat is past every timeout.
            Meaning::Beat => (number - self.bases.beat).max(-20),
        };
        self.mix(told.cast_unsigned());
    }
}

impl Write for Digest {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let numeric = piece.starts_with(|c: char| c.is_ascii_digit());
        if numeric && self.next != Meaning::Itself {
            if let Ok(number) = piece.parse() {
                self.number(number);
            }
            self.next = Meaning::Itself;
            return Ok(());
        }
        for chunk in piece.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 60));
        }
        let meaning = match piece {
            "Mono" => Meaning::Mono,
            "Process" => Meaning::Process,
            // The one whole number among the tags is the echo of our beat.
            "Int" => Meaning::Beat,
            "write" => Meaning::Write,
            name if UNUSED.contains(&name) => Meaning::Nothing,
            _ => return Ok(()),
        };
        self.next = meaning;
        Ok(())
    }
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by Debug")]
struct Row {
    write: u64,
    epoch: u64,
    sent: i64,
}

/// Equal up to a shift of clocks and counters, and no further.
#[test]
fn what_makes_two_states_one() {
    use crate::time::{Mono, Process};
    let bases = |mono, write| Bases { mono, write, ..Bases::default() };
    let of = |bases, part: &dyn Debug| {
        let mut digest = Digest::new(bases);
        digest.add(part);
        digest.finish()
    };
    let at = Mono::from_nanos;
    assert_eq!(of(bases(100, 0), &at(90)), of(bases(500, 0), &at(490)));
    assert_ne!(of(bases(100, 0), &at(90)), of(bases(100, 0), &at(91)));
    assert_ne!(of(bases(100, 0), &at(90)), of(bases(100, 0), &at(110)));
    assert_eq!(of(bases(3 * HORIZON, 0), &at(0)), of(bases(3 * HORIZON, 0), &at(9)));
    let process = Process::from_nanos(7);
    assert_eq!(of(bases(0, 0), &process), of(bases(7, 0), &process), "a clock of its own");
    assert_ne!(of(bases(0, 0), &(Some(at(1)), 5)), of(bases(0, 0), &(Some(at(1)), 6)));

    let row = |write, epoch, sent| Row { write, epoch, sent };
    assert_eq!(of(bases(0, 9), &row(8, 1, 3)), of(bases(0, 5), &row(4, 2, 3)));
    assert_ne!(of(bases(0, 9), &row(8, 1, 3)), of(bases(0, 9), &row(7, 1, 3)));
    assert_ne!(of(bases(0, 9), &row(8, 1, 3)), of(bases(0, 9), &row(8, 1, 4)));
}
