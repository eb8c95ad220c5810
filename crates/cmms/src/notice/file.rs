//! One line of JSON for each notice, behind what is in a file. For programs that follow a file, and
//! for simulated cells.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use trimloop_core::time::Utc;
use trimloop_work::notify::Notice;

use super::{Courier, Sender, event};
use crate::Trouble;

/// A file, opened anew for each notice, so that it can be moved away at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeFile {
    /// Where; its folder must be there.
    pub path: PathBuf,
}

impl Courier for NoticeFile {
    fn deliver(&self, notice: &Notice, sender: &Sender, _now: Utc) -> Result<(), Trouble> {
        let line = format!("{}\n", event(notice, sender));
        let failed = |error: std::io::Error| {
            Trouble::Unknown(format!("{} cannot be written: {error}", self.path.display()))
        };
        let opened = OpenOptions::new().append(true).create(true).open(&self.path);
        let mut file = opened.map_err(failed)?;
        file.write_all(line.as_bytes()).map_err(failed)?;
        file.sync_data().map_err(failed)
    }
}
