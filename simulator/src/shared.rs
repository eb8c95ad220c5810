//! The one cell that production, servers and commands share, and its wall clock.

use std::ops::DerefMut;
use std::time::Instant;

use opcua::sync::Mutex;

use crate::cell::Cell;

/// The cell behind a lock that is never held across an await.
pub(crate) struct Shared {
    cell: Mutex<Cell>,
    started: Instant,
}

impl Shared {
    /// Puts a cell behind the lock; its wall time starts now.
    pub(crate) fn new(cell: Cell) -> Self {
        Self { cell: Mutex::new(cell), started: Instant::now() }
    }

    /// Locks the cell and tells it the time.
    pub(crate) fn cell(&self) -> impl DerefMut<Target = Cell> {
        let mut cell = self.cell.lock();
        cell.tick(self.now_ms());
        cell
    }

    /// Wall time since the start \[ms, monotonic].
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
