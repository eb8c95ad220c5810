//! Lines that a server refuses for what they are: `dead/NAME-YYYYMMDD.lp`, each under a comment
//! with time, status and reason. A person can look at them and send them again.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use trimloop_core::time::{Span, Utc};

use crate::output::{day_text, utc_text};

/// Most bytes of all files of a sink; the oldest file goes first, which is told.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest time that a file is kept.
const KEPT: Span = Span::from_secs(30 * 86_400);
/// Lines that are remembered, so that the overlap does not bury one twice.
const KNOWN_MAX: usize = 100_000;

/// The dead letters of one sink.
#[derive(Debug)]
pub(super) struct DeadLetters {
    dir: PathBuf,
    sink: &'static str,
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl DeadLetters {
    /// Those in `data/dead`; the newest lines are known again.
    pub(super) fn open(data: &Path, sink: &'static str) -> io::Result<Self> {
        let dir = data.join("dead");
        let mut letters = Self { dir, sink, known: HashSet::new(), order: VecDeque::new() };
        for file in letters.files()?.iter().rev().take(2).rev() {
            for line in BufReader::new(File::open(file)?).lines() {
                let line = line?;
                if !line.starts_with('#') {
                    letters.remember(&line);
                }
            }
        }
        Ok(letters)
    }

    /// Files, oldest first.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let ours = |name: &str| {
            name.strip_prefix(self.sink).is_some_and(|rest| rest.starts_with('-'))
                && name.ends_with(".lp")
        };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(ours) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn remember(&mut self, line: &str) {
        let hash = hash(line);
        if self.known.insert(hash) {
            self.order.push_back(hash);
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(old) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
    }

    /// Whether a line is there already.
    pub(super) fn knows(&self, line: &str) -> bool {
        !self.known.is_empty() && self.known.contains(&hash(line.trim_end()))
    }

    /// Keeps a line, on disk when this returns. Gives the number of older lines that had to go.
    pub(super) fn bury(&mut self, now: Utc, reason: &str, line: &str) -> io::Result<u64> {
        fs::create_dir_all(&self.dir)?;
        let _lock = lock(&self.dir)?;
        let removed = self.make_room(now)?;
        let name = format!("{}-{}.lp", self.sink, day_text(now));
        let mut file = OpenOptions::new().create(true).append(true).open(self.dir.join(name))?;
        let line = line.trim_end();
        file.write_all(format!("# {} {reason}\n{line}\n", utc_text(now)).as_bytes())?;
        file.sync_data()?;
        self.remember(line);
        Ok(removed)
    }

    fn make_room(&self, now: Utc) -> io::Result<u64> {
        let oldest = format!("{}-{}.lp", self.sink, day_text(now - KEPT));
        let mut files = self.files()?;
        let mut removed = 0;
        let size = |files: &[PathBuf]| -> u64 {
            files.iter().filter_map(|file| fs::metadata(file).ok()).map(|data| data.len()).sum()
        };
        while let Some(first) = files.first().cloned() {
            let old = first.file_name().and_then(|n| n.to_str()).is_some_and(|n| *n < *oldest);
            if !old && size(&files) < BYTES_MAX {
                break;
            }
            removed += count(&first)?;
            fs::remove_file(&first)?;
            files.remove(0);
        }
        Ok(removed)
    }

    /// Takes the lines of a file for sending again; `keep` gives back those that stay.
    ///
    /// # Errors
    /// When a file cannot be read or written; lines stay where they were, or are sent twice, which
    /// does no harm.
    pub(super) fn resend(
        &self,
        file: &Path,
        send: impl FnOnce(&[String]) -> Vec<bool>,
    ) -> io::Result<(u64, u64)> {
        let taken = {
            let _lock = lock(&self.dir)?;
            fs::read_to_string(file)?
        };
        let entries = entries(&taken);
        let lines: Vec<String> = entries.iter().map(|(_, line)| (*line).to_owned()).collect();
        let stored = send(&lines);
        let _lock = lock(&self.dir)?;
        // What the service buried meanwhile follows what was taken.
        let now = fs::read_to_string(file)?;
        let later = now.strip_prefix(&taken).unwrap_or(&now);
        let mut kept = String::new();
        let mut sent = 0;
        for ((head, line), stored) in entries.iter().zip(&stored) {
            if *stored {
                sent += 1;
            } else {
                kept.push_str(&format!("{head}\n{line}\n"));
            }
        }
        kept.push_str(later);
        let left = entries.len() as u64 - sent;
        if kept.is_empty() {
            fs::remove_file(file)?;
        } else {
            let aside = file.with_extension("lp.new");
            let mut out = File::create(&aside)?;
            out.write_all(kept.as_bytes())?;
            out.sync_data()?;
            fs::rename(&aside, file)?;
        }
        Ok((sent, left))
    }
}

/// Lines with their comments.
fn entries(text: &str) -> Vec<(&str, &str)> {
    let mut head = "#";
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with('#') {
            head = line;
        } else if !line.is_empty() {
            found.push((head, line));
        }
    }
    found
}

/// Lines in a file.
pub(super) fn count(file: &Path) -> io::Result<u64> {
    let mut lines = 0;
    for line in BufReader::new(File::open(file)?).lines() {
        lines += u64::from(!line?.starts_with('#'));
    }
    Ok(lines)
}

/// The service and the command both write; freed when the file is closed.
fn lock(dir: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    file.lock()?;
    Ok(file)
}

fn hash(line: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Utc = Utc::from_millis(1_795_383_592_000);

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("trimloop-dead-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        dir
    }

    /// A line is kept with time and reason, known again after a restart, and gone once it is sent;
    /// what is refused again stays, and what came meanwhile too.
    #[test]
    fn letters_are_kept_known_and_sent_again() {
        let data = scratch("kept");
        let mut letters = DeadLetters::open(&data, "influx").unwrap();
        letters.bury(T0, "HTTP 400: bad", "m v=1 1\n").unwrap();
        letters.bury(T0, "HTTP 400: bad", "m v=2 2\n").unwrap();
        let again = DeadLetters::open(&data, "influx").unwrap();
        assert!(again.knows("m v=1 1\n") && !again.knows("m v=3 3\n"));
        let files = again.files().unwrap();
        assert_eq!(count(&files[0]).unwrap(), 2);
        let done = again.resend(&files[0], |lines| {
            assert_eq!(lines, ["m v=1 1", "m v=2 2"]);
            letters.bury(T0, "HTTP 400: bad", "m v=3 3\n").unwrap();
            vec![true, false]
        });
        assert_eq!(done.unwrap(), (1, 1));
        let text = fs::read_to_string(&files[0]).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["m v=2 2", "m v=3 3"]);
        assert!(text.starts_with("# 2026-11-22T21:39:52.000Z HTTP 400: bad\n"), "{text}");
        assert_eq!(again.resend(&files[0], |_| vec![true, true]).unwrap(), (2, 0));
        assert!(!files[0].exists());
        fs::remove_dir_all(&data).unwrap();
    }

    /// After 30 days a file goes, and its lines are counted.
    #[test]
    fn old_letters_go_counted() {
        let data = scratch("old");
        let mut letters = DeadLetters::open(&data, "influx").unwrap();
        letters.bury(T0, "x", "m v=1 1\n").unwrap();
        assert_eq!(letters.bury(T0 + Span::from_secs(29 * 86_400), "x", "m v=2 2\n").unwrap(), 0);
        assert_eq!(letters.bury(T0 + Span::from_secs(31 * 86_400), "x", "m v=3 3\n").unwrap(), 1);
        assert_eq!(letters.files().unwrap().len(), 2);
        fs::remove_dir_all(&data).unwrap();
    }
}
