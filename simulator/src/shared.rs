//! The one cell that production, servers and commands share, and its wall clock.

use std::ops::DerefMut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use opcua::sync::Mutex;

use crate::cell::Cell;

/// The cell behind a lock that is never held across an await.
pub(crate) struct Shared {
    cell: Mutex<Cell>,
    started: Instant,
    strays: AtomicU64,
}

impl Shared {
    /// Puts a cell behind the lock; its wall time starts now.
    pub(crate) fn new(cell: Cell) -> Self {
        Self { cell: Mutex::new(cell), started: Instant::now(), strays: AtomicU64::new(0) }
    }

    /// Locks the cell and tells it the time.
    pub(crate) fn cell(&self) -> impl DerefMut<Target = Cell> {
        let mut cell = self.cell.lock();
        cell.tick(self.now_ms());
        cell
    }

    /// Counts a write that went to a register which only looks like ours.
    pub(crate) fn note_stray(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes that went astray.
    pub(crate) fn strays(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Wall time since the start \[ms, monotonic].
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
