//! What `export` and `query` share: which rows, from when to when, and how far it is.

use std::path::Path;
use std::time::Duration;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use indicatif::{ProgressBar, ProgressStyle};

use trimloop_core::time::{Mono, Span};
use trimloop_recipe::diagnostic::did_you_mean;

use super::audit::DataArg;
use super::{Exit, Failure, Global, Ui};
use crate::clock::Clock;
use crate::error::{HISTORY_READ, NO_ROWS, NO_SUCH_NAME, SELECTION, chain};
use crate::export::{Archive, Every, ReadError, Selection, Shape, Statistic, What};
use crate::output::{Zone, parse_instant, parse_length};

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Span = Span::from_secs(10);

/// Which rows.
#[derive(Debug, Args)]
pub(super) struct SelectArgs {
    #[command(flatten)]
    data: DataArg,
    /// From this time on: 2026-11-22, 2026-11-22T10:00, in UTC unless --local
    #[arg(long, env = "TRIMLOOP_FROM", hide_env = true, value_name = "TIME")]
    from: Option<String>,
    /// Before this time
    #[arg(long, env = "TRIMLOOP_TO", hide_env = true, value_name = "TIME")]
    to: Option<String>,
    /// The last 90s, 15min, 1h or 7d
    #[arg(long, env = "TRIMLOOP_LAST", hide_env = true, value_name = "LENGTH", conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// Samples as they came, or summed up
    #[arg(long, env = "TRIMLOOP_EVERY", hide_env = true, value_enum, default_value_t)]
    every: Every,
    /// A column for each tag (samples, features)
    #[arg(long, env = "TRIMLOOP_WIDE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    wide: bool,
    /// What stands in the columns of a wide table that is summed up
    #[arg(
        long,
        env = "TRIMLOOP_STAT",
        hide_env = true,
        value_enum,
        value_delimiter = ',',
        default_value = "mean"
    )]
    stat: Vec<Statistic>,
    /// Times in this computer's zone (TZ)
    #[arg(long, env = "TRIMLOOP_LOCAL", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    local: bool,
}

/// What was asked for, found.
pub(super) struct Selected {
    pub(super) archive: Archive,
    pub(super) selection: Selection,
    pub(super) zone: Zone,
    /// First and last row of this kind [ns].
    pub(super) extent: (i64, i64),
}

impl SelectArgs {
    /// A column for each name, means where samples are summed up.
    pub(super) fn wide(
        from: &Option<String>,
        to: &Option<String>,
        last: &Option<String>,
        every: Every,
    ) -> Self {
        Self { every, wide: true, ..Self::long(from, to, last) }
    }

    /// A row for each time and name, in UTC.
    pub(super) fn long(from: &Option<String>, to: &Option<String>, last: &Option<String>) -> Self {
        Self {
            data: DataArg::default(),
            from: from.clone(),
            to: to.clone(),
            last: last.clone(),
            every: Every::Raw,
            wide: false,
            stat: vec![Statistic::Mean],
            local: false,
        }
    }

    /// Finds it in the store; `length` is taken when no time is given.
    pub(super) fn select(
        &self,
        ui: &Ui,
        global: &Global,
        what: What,
        patterns: &[String],
        length: Option<Span>,
    ) -> Result<Selected, Failure> {
        let zone = if self.local { Zone::Local } else { Zone::Utc };
        self.check(what)?;
        let data = self.data.folder(global)?;
        let archive = Archive::open(&data).map_err(|error| read_failure(&error))?;
        let names = names(&archive, what, patterns)?;
        let rolled = self.every != Every::Raw;
        let found = archive.extent(what, rolled).map_err(|error| read_failure(&error))?;
        let Some(extent) = found else { return Err(no_rows_at_all(what, &data)) };
        let now = ui.clock().utc().as_nanos();
        let given =
            |text: &Option<String>| text.as_deref().map(|text| instant(text, zone)).transpose();
        let (mut from, to) = (given(&self.from)?, given(&self.to)?);
        let length = match &self.last {
            Some(text) => Some(parse_length(text).ok_or_else(|| bad_length(text))?),
            None if from.is_none() && to.is_none() => length,
            None => None,
        };
        if let Some(length) = length {
            from = Some(now.saturating_sub(length.as_nanos()));
        }
        let selection = Selection {
            what,
            names,
            from: from.unwrap_or(i64::MIN).max(floor(extent.0)),
            to: to.unwrap_or(i64::MAX).min(extent.1.saturating_add(1)),
            every: self.every,
            shape: if self.wide { Shape::Wide } else { Shape::Long },
            statistics: self.stat.clone(),
        };
        let selected = Selected { archive, selection, zone, extent };
        if selected.selection.from >= selected.selection.to {
            return Err(selected.no_rows());
        }
        Ok(selected)
    }

    fn check(&self, what: What) -> Result<(), Failure> {
        let wrong = |message: String| Err(Failure::new(&SELECTION, message, Exit::Usage));
        if self.wide && !what.can_be_wide() {
            return wrong(format!("{} have no wide form; only samples and features", what.word()));
        }
        if self.every != Every::Raw && what != What::Samples {
            return wrong(format!("{} are not summed up; --every is for samples", what.word()));
        }
        Ok(())
    }
}

/// Begin of an hour: no bucket begins before it that holds the time.
fn floor(ts: i64) -> i64 {
    ts - ts.rem_euclid(3_600_000_000_000)
}

impl Selected {
    /// The range that was asked for holds nothing.
    pub(super) fn no_rows(&self) -> Failure {
        let what = self.selection.what;
        let text = |nanos| self.zone.text(nanos, 0);
        let message = format!("there are no {} in this range", what.word());
        let (first, last) = (text(self.extent.0), text(self.extent.1));
        let help = format!("there are {} from {first} to {last}", what.word());
        Failure::new(&NO_ROWS, message, Exit::Failed).help(help)
    }
}

fn no_rows_at_all(what: What, data: &Path) -> Failure {
    let message = format!("there are no {} in {} yet", what.word(), data.display());
    let help = "they come while `trimloop run` runs; --config names another cell's folder";
    Failure::new(&NO_ROWS, message, Exit::Failed).help(help)
}

/// A store that cannot be read, for people.
pub(super) fn read_failure(error: &ReadError) -> Failure {
    let exit = match error {
        ReadError::Interrupted => Exit::Interrupted,
        ReadError::Write(_) => Exit::Failed,
        _ => Exit::Unreachable,
    };
    Failure::new(&HISTORY_READ, chain(error), exit)
}

pub(super) fn instant(text: &str, zone: Zone) -> Result<i64, Failure> {
    let read = parse_instant(text, zone).map(|utc| utc.as_nanos());
    read.ok_or_else(|| {
        let message = format!("\"{text}\" is no time");
        let help = "write 2026-11-22, 2026-11-22T10:00, 2026-11-22T10:00:05.5Z or …+01:00";
        Failure::new(&SELECTION, message, Exit::Usage).help(help)
    })
}

pub(super) fn bad_length(text: &str) -> Failure {
    let message = format!("\"{text}\" is no length of time");
    Failure::new(&SELECTION, message, Exit::Usage).help("write 90s, 15min, 1h or 7d")
}

/// The names of the store that fit the patterns, in their order; all of them when there are none.
fn names(
    archive: &Archive,
    what: What,
    patterns: &[String],
) -> Result<Vec<(String, String)>, Failure> {
    let known = archive.names(what).map_err(|error| read_failure(&error))?;
    choose(known, patterns, "the store", what)
}

/// The known names that fit the patterns, in their order; all of them when there are none.
///
/// - `place`: who knows them, such as `the store`.
pub(super) fn choose(
    known: Vec<(String, String)>,
    patterns: &[String],
    place: &str,
    what: What,
) -> Result<Vec<(String, String)>, Failure> {
    if patterns.is_empty() {
        return Ok(known);
    }
    if what.name_word().is_empty() {
        let message = format!("{} have no names to select by", what.word());
        return Err(Failure::new(&SELECTION, message, Exit::Usage));
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for pattern in patterns {
        let before = found.len();
        for (name, unit) in known.iter().filter(|(name, _)| fits(pattern, name)) {
            if !found.iter().any(|(there, _)| there == name) {
                found.push((name.clone(), unit.clone()));
            }
        }
        let is_known = found.len() > before || known.iter().any(|(name, _)| fits(pattern, name));
        if !is_known {
            let message = format!("{place} knows no {} \"{pattern}\"", what.name_word());
            let shown: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).take(12).collect();
            let more = if known.len() > shown.len() { ", …" } else { "" };
            let help = did_you_mean(pattern, known.iter().map(|(name, _)| name.as_str()))
                .unwrap_or_else(|| format!("it knows {}{more}", shown.join(", ")));
            return Err(Failure::new(&NO_SUCH_NAME, message, Exit::Usage).help(help));
        }
    }
    Ok(found)
}

/// Whether a name fits a pattern: `*` is any text, `?` one letter.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and where what it takes ends.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = name.get(n) {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(want), _) if *want == '?' || want == c => {
                p += 1;
                n += 1;
            }
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
            _ => return false,
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

/// How far it is: a bar on a terminal, else a line each 10 s; nothing for machines.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    lines: Option<Ui>,
    clock: Clock,
    next: Mono,
    from: i64,
    to: i64,
}

impl Progress {
    pub(super) fn new(ui: &Ui, selection: &Selection) -> Self {
        let bar = ui.has_bars().then(|| {
            let bar = ProgressBar::new(1000);
            let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let lines = (bar.is_none() && !ui.is_json()).then(|| ui.clone());
        let next = ui.clock().mono() + LINE_EVERY;
        let (from, to) = (selection.from, selection.to);
        Self { bar, lines, clock: ui.clock(), next, from, to }
    }

    /// `at` [ns] is reached.
    pub(super) fn at(&mut self, at: i64, zone: Zone) {
        let whole = (self.to as f64 - self.from as f64).max(1.0);
        let share = ((at as f64 - self.from as f64) / whole).clamp(0.0, 1.0);
        if let Some(bar) = &self.bar {
            bar.set_message(zone.text(at, 0));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 1000"
            )]
            bar.set_position((share * 1000.0) as u64);
        } else if let Some(ui) = &self.lines
            && self.clock.mono() >= self.next
        {
            self.next = self.clock.mono() + LINE_EVERY;
            ui.note(&format!("{:.0} %, {}", share * 100.0, zone.text(at, 0)));
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stars take any text, question marks one letter.
    #[test]
    fn patterns_fit() {
        for (pattern, name, expected) in [
            ("melt_temp", "melt_temp", true),
            ("melt_temp", "melt_temps", false),
            ("zone*", "zone_1_temp", true),
            ("*temp", "zone_1_temp", true),
            ("z*_?_t*p", "zone_1_temp", true),
            ("*a*b", "xaxbxb", true),
            ("zone?", "zone", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
