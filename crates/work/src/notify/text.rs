//! What a notice says to people, in plain text.

use trimloop_core::time::Utc;

use super::{Line, Notice};

/// Longest subject of a message [characters].
const TITLE_MAX: usize = 150;

impl Notice {
    /// Its subject, one line of at most 150 characters: the most urgent alarm and how many more
    /// there are.
    ///
    /// - `cell`: whose alarms they are.
    pub fn title(&self, cell: &str) -> String {
        if let Some(digest) = &self.digest {
            return cut(digest.title(cell));
        }
        let rest = u64::from(self.more) + u64::from(self.more_ended);
        let others = self.lines.len().saturating_sub(1) as u64 + rest;
        let mut title = match self.lines.first() {
            Some(line) => {
                let is = match (line.ended, &line.from) {
                    (Some(_), _) => "is over",
                    (None, Some(_)) => "is not acknowledged",
                    (None, None) if line.chatters => "comes and goes",
                    (None, None) => "is on",
                };
                format!("[{cell}] P{} {} {is}", line.priority, line.name)
            }
            None => format!("[{cell}] {rest} alarms"),
        };
        if others > 0 && !self.lines.is_empty() {
            title.extend([format!(", and {others} more")]);
        }
        cut(title)
    }

    /// All of it, with line ends.
    ///
    /// - `when`: how times are shown.
    pub fn body(&self, cell: &str, when: impl Fn(Utc) -> String) -> String {
        if let Some(digest) = &self.digest {
            return digest.body(cell, self.at, when);
        }
        let mut text = format!("Alarms of {cell}, {}\n\n", when(self.at));
        for line in &self.lines {
            text.push_str(&line.text(&when));
            text.push('\n');
            if !line.seen.is_empty() {
                text.extend(["    ", &line.seen, "\n"]);
            }
        }
        if self.more > 0 {
            text.extend([format!("and {} more alarms that are not named here\n", self.more)]);
        }
        if self.more_ended > 0 {
            text.extend([format!("and {} more that are over\n", self.more_ended)]);
        }
        text.push_str("\ntrimloop events list                  shows what is on\n");
        if let Some(line) = self.lines.iter().find(|line| line.ended.is_none()) {
            text.extend([format!("trimloop events ack {} --reason TEXT\n", line.name)]);
        }
        text.push_str(
            "\ntrimloop is not a safety system: what must not wait for a reader stays in the PLC.\n",
        );
        text
    }
}

fn cut(title: String) -> String {
    if title.chars().count() <= TITLE_MAX {
        return title;
    }
    let mut cut: String = title.chars().take(TITLE_MAX - 1).collect();
    cut.push('…');
    cut
}

impl Line {
    /// `P1 press-4.link_lost is on since …`.
    pub fn text(&self, when: impl Fn(Utc) -> String) -> String {
        let mut text = format!("P{} {} ", self.priority, self.name);
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => {
                text.extend([format!("was on from {} to {}", when(began), when(ended))]);
            }
            (Some(began), None) => text.extend([format!("is on since {}", when(began))]),
            (None, Some(ended)) => text.extend([format!("is over since {}", when(ended))]),
            (None, None) => text.push_str("is still on"),
        }
        if self.times > 1 {
            text.extend([format!(", {} times", self.times)]);
        }
        if self.chatters {
            text.push_str("; it comes and goes, and stays on until somebody acknowledges it");
        }
        if let (Some(from), None) = (&self.from, self.ended) {
            text.extend(["; nobody acknowledged it at ", from]);
        }
        text
    }
}
