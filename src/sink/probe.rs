//! `trimloop connector test` and `resend`: requests by hand, beside a running service or without
//! one.

use std::path::Path;

use trimloop_core::time::Utc;

use super::INFLUX;
use super::answer::{Answer, Verdict, judge};
use super::client::{self, Client, ClientError, REQUEST_MAX};
use super::dead::{self, DeadLetters};
use super::line::push_tag;
use super::measurements::PROBE;
use crate::settings::InfluxSettings;

/// Lines a request of a resend; refused ones are found by halving.
const RESEND_LINES: usize = 1000;

/// What a test found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The line that was written.
    pub line: String,
    /// Whether it was read back; `None` when the server does not answer such questions.
    pub read_back: Option<bool>,
}

/// Why a test or resend failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The request could not be made: a secret or certificate that cannot be read.
    #[error("{0}")]
    Local(String),
    /// No answer, or "later".
    #[error("no lines are taken now: {0}")]
    Away(String),
    /// Refused.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// Dead letters cannot be read or written.
    #[error("the dead letters cannot be read or written")]
    Letters(#[source] std::io::Error),
}

/// What became of a file of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resent {
    /// The file.
    pub file: String,
    /// Lines that are stored now, and gone from the file.
    pub stored: u64,
    /// Lines that stay.
    pub left: u64,
}

/// Writes one line and reads it back, where the dialect can.
///
/// # Errors
/// [`ProbeError`] when it was not taken.
pub fn probe(settings: &InfluxSettings, now: Utc) -> Result<Probe, ProbeError> {
    let client = Client::new(settings, REQUEST_MAX).map_err(local)?;
    let ts = now.as_nanos();
    // Differs from run to run, so that no old probe is taken for this one.
    let value = ts / 1_000_000 % 1_000_000_007;
    let mut line = PROBE.to_owned();
    push_tag(&mut line, "cell", &settings.cell);
    push_tag(&mut line, "site", &settings.site);
    line.push_str(&format!(" probe={value}i {ts}\n"));
    let answer = client.write(&line);
    if let Answer::Local(why) = answer {
        return Err(ProbeError::Local(why));
    }
    match judge(settings.dialect, &answer) {
        Verdict::Stored => {}
        Verdict::Unknown(why) | Verdict::Overload(_, why) => return Err(ProbeError::Away(why)),
        Verdict::Hold(why) | Verdict::Bisect(why) => return Err(ProbeError::Refused(why)),
        Verdict::StoredExcept(lines) => {
            let why = lines.into_iter().next().map(|(_, why)| why);
            return Err(ProbeError::Refused(why.unwrap_or_default()));
        }
        Verdict::Expired(_) => {
            let why = "this machine's time is beyond what the server keeps; compare the clocks";
            return Err(ProbeError::Refused(why.to_owned()));
        }
        Verdict::TooLarge => return Err(ProbeError::Refused("HTTP 413 for one line".to_owned())),
    }
    let read_back = client::holds(&client.read_back(PROBE, "probe", ts), value);
    Ok(Probe { line: line.trim_end().to_owned(), read_back })
}

/// Number of dead letters.
///
/// # Errors
/// When the folder cannot be read.
pub fn dead_letters(data: &Path) -> std::io::Result<u64> {
    let letters = DeadLetters::open(data, INFLUX)?;
    letters.files()?.iter().map(|file| dead::count(file)).sum()
}

/// Sends the dead letters again, oldest first. What is refused once more stays in its file.
///
/// # Errors
/// [`ProbeError`] when nothing can be sent, or a file not be changed.
pub fn resend(settings: &InfluxSettings, data: &Path) -> Result<Vec<Resent>, ProbeError> {
    let client = Client::new(settings, REQUEST_MAX).map_err(local)?;
    let letters = DeadLetters::open(data, INFLUX).map_err(ProbeError::Letters)?;
    let mut done = Vec::new();
    for file in letters.files().map_err(ProbeError::Letters)? {
        let mut failed = None;
        let (stored, left) = letters
            .resend(&file, |lines| {
                let mut stored = vec![false; lines.len()];
                let chunks = lines.chunks(RESEND_LINES).zip(stored.chunks_mut(RESEND_LINES));
                for (lines, stored) in chunks {
                    if failed.is_none() {
                        failed = send(&client, settings, lines, stored).err();
                    }
                }
                stored
            })
            .map_err(ProbeError::Letters)?;
        let file = file.file_name().map(|name| name.to_string_lossy().into_owned());
        done.push(Resent { file: file.unwrap_or_default(), stored, left });
        if let Some(failed) = failed {
            return Err(failed);
        }
    }
    Ok(done)
}

fn local(error: ClientError) -> ProbeError {
    ProbeError::Local(error.to_string())
}

/// Sends lines; `stored` says which were taken.
fn send(
    client: &Client,
    settings: &InfluxSettings,
    lines: &[String],
    stored: &mut [bool],
) -> Result<(), ProbeError> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut text = lines.join("\n");
    text.push('\n');
    let answer = client.write(&text);
    if let Answer::Local(why) = answer {
        return Err(ProbeError::Local(why));
    }
    match judge(settings.dialect, &answer) {
        Verdict::Stored => stored.fill(true),
        Verdict::StoredExcept(bad) => {
            stored.fill(true);
            for (place, _) in bad {
                if let Some(stored) = stored.get_mut(place) {
                    *stored = false;
                }
            }
        }
        Verdict::Unknown(why) | Verdict::Overload(_, why) => return Err(ProbeError::Away(why)),
        Verdict::Hold(why) => return Err(ProbeError::Refused(why)),
        Verdict::Bisect(_) | Verdict::TooLarge | Verdict::Expired(_) => {
            let middle = lines.len() / 2;
            if middle > 0 {
                let (one, other) = lines.split_at(middle);
                let (of_one, of_other) = stored.split_at_mut(middle);
                send(client, settings, one, of_one)?;
                send(client, settings, other, of_other)?;
            }
        }
    }
    Ok(())
}
