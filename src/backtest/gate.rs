//! Gates: limits that a backtest must keep, in a TOML file.
//!
//! Each limit becomes one line with what was found; a limit that cannot be judged, because there
//! are no labels or no other recipe, is not passed: nobody has shown that it is kept.

use std::sync::Arc;

use serde::Serialize;
use toml::de::{DeTable, DeValue};

use trimloop_recipe::diagnostic::{Diagnostic, Source, did_you_mean};

use super::findings::Findings;
use super::report::{LoopReport, RecipeReport, Report};
use crate::error::{GATE_KEY, GATE_SYNTAX, GATE_VALUE};

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    MinParts,
    MinLabels,
    MinDetected,
    MinEarly,
    MaxMissed,
    MaxFalseAlarmsPer1000,
    MaxWritesPerHour,
    MaxAtLimit,
    MaxTimesAtLimit,
    NotWorseThanOther,
}

const KEYS: [(&str, Key); 10] = [
    ("min_parts", Key::MinParts),
    ("min_labels", Key::MinLabels),
    ("min_detected", Key::MinDetected),
    ("min_early", Key::MinEarly),
    ("max_missed", Key::MaxMissed),
    ("max_false_alarms_per_1000", Key::MaxFalseAlarmsPer1000),
    ("max_writes_per_hour", Key::MaxWritesPerHour),
    ("max_at_limit", Key::MaxAtLimit),
    ("max_times_at_limit", Key::MaxTimesAtLimit),
    ("not_worse_than_other", Key::NotWorseThanOther),
];

impl Key {
    fn is_share(self) -> bool {
        matches!(self, Self::MinDetected | Self::MinEarly | Self::MaxAtLimit)
    }

    fn is_of_loop(self) -> bool {
        matches!(self, Self::MaxWritesPerHour | Self::MaxAtLimit | Self::MaxTimesAtLimit)
    }

    fn word(self) -> &'static str {
        KEYS.iter().find(|(_, key)| *key == self).map_or("", |(word, _)| word)
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq)]
struct Limit {
    key: Key,
    /// Only this loop.
    of_loop: Option<String>,
    /// 1 for true.
    limit: f64,
}

/// Limits of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Gates(Vec<Limit>);

/// What became of one limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateLine {
    /// The limit, with its loop where it is about one.
    pub gate: String,
    /// What was found; `None`: nothing to judge it by.
    pub value: Option<f64>,
    /// What it is held against.
    pub limit: f64,
    /// Whether it is kept.
    pub passed: bool,
    /// Why there is no value; empty when there is.
    pub because: String,
}

impl Gates {
    /// Reads the text of `file`. `loops`: names of the recipe's loops.
    ///
    /// # Errors
    /// Every mistake, with its place.
    pub fn read(file: &str, text: &str, loops: &[String]) -> Result<Self, Vec<Diagnostic>> {
        let source = Source::new(file, text);
        let table = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let message = "the gate file is not TOML";
            vec![Diagnostic::error(&GATE_SYNTAX, &source, span, message).label(error.message())]
        })?;
        let mut reader = Reader { source, limits: Vec::new(), found: Vec::new() };
        reader.table(table.get_ref(), None);
        for (key, value) in table.get_ref().iter().filter(|(key, _)| key.get_ref() == "loop") {
            let DeValue::Table(named) = value.get_ref() else {
                reader.wrong(value.span(), "`loop` must be a table: [loop.NAME]");
                continue;
            };
            for (name, limits) in named {
                let known = loops.iter().any(|known| known == name.get_ref());
                match limits.get_ref() {
                    DeValue::Table(limits) if known => reader.table(limits, Some(name.get_ref())),
                    DeValue::Table(_) => {
                        let message = format!("the recipe has no loop \"{}\"", name.get_ref());
                        let help = did_you_mean(name.get_ref(), loops.iter().map(String::as_str))
                            .unwrap_or_else(|| format!("its loops are: {}", loops.join(", ")));
                        reader.unknown(name.span(), message, help);
                    }
                    _ => reader.wrong(key.span(), "`loop` must be a table: [loop.NAME]"),
                }
            }
        }
        if reader.found.is_empty() && reader.limits.is_empty() {
            reader.wrong(0..0, "the gate file sets no limit");
        }
        if reader.found.is_empty() { Ok(Self(reader.limits)) } else { Err(reader.found) }
    }

    /// Holds a result against the limits.
    #[must_use]
    pub fn judge(&self, report: &Report) -> Vec<GateLine> {
        self.0.iter().flat_map(|limit| limit.judge(report)).collect()
    }
}

struct Reader {
    source: Arc<Source>,
    limits: Vec<Limit>,
    found: Vec<Diagnostic>,
}

impl Reader {
    fn table(&mut self, table: &DeTable<'_>, of_loop: Option<&str>) {
        // Tables are sorted by name; limits are told in the order of the file.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let word: &str = key.get_ref();
            if of_loop.is_none() && word == "loop" {
                continue;
            }
            let fits = |key: &Key| of_loop.is_none() || key.is_of_loop();
            let known = KEYS.iter().find(|(known, key)| *known == word && fits(key));
            let Some((_, known)) = known else {
                let words = KEYS.iter().filter(|(_, key)| fits(key)).map(|(word, _)| *word);
                let help = did_you_mean(word, words.clone())
                    .unwrap_or_else(|| format!("known: {}", words.collect::<Vec<_>>().join(", ")));
                self.unknown(key.span(), format!("there is no gate `{word}`"), help);
                continue;
            };
            match limit(*known, value.get_ref()) {
                Ok(limit) => {
                    let of_loop = of_loop.map(str::to_owned);
                    self.limits.push(Limit { key: *known, of_loop, limit });
                }
                Err(what) => self.wrong(value.span(), &format!("`{word}` must be {what}")),
            }
        }
    }

    fn unknown(&mut self, span: std::ops::Range<usize>, message: String, help: String) {
        let found = Diagnostic::error(&GATE_KEY, &self.source, span, message);
        self.found.push(found.label("unknown").help(help));
    }

    fn wrong(&mut self, span: std::ops::Range<usize>, message: &str) {
        self.found.push(Diagnostic::error(&GATE_VALUE, &self.source, span, message));
    }
}

fn limit(key: Key, value: &DeValue<'_>) -> Result<f64, &'static str> {
    let number = match value {
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|i| i as f64),
        DeValue::Float(x) => x.as_str().replace('_', "").parse::<f64>().ok(),
        DeValue::Boolean(b) if key == Key::NotWorseThanOther => Some(f64::from(u8::from(*b))),
        _ => None,
    };
    let fits = |x: &f64| x.is_finite() && *x >= 0.0;
    match key {
        Key::NotWorseThanOther => match value {
            DeValue::Boolean(true) => Ok(1.0),
            _ => Err("true; leave it out otherwise"),
        },
        key if key.is_share() => {
            number.filter(|x| fits(x) && *x <= 1.0).ok_or("a share from 0 to 1, such as 0.6")
        }
        _ => number.filter(fits).ok_or("a number from 0 on, such as 2 or 0.5"),
    }
}

impl Limit {
    fn judge(&self, report: &Report) -> Vec<GateLine> {
        let recipe = &report.recipe;
        let found = &recipe.findings;
        let labelled = |value: f64| {
            let there = found.no_labels_because.is_empty();
            if there { Ok(value) } else { Err(found.no_labels_because.clone()) }
        };
        let of_defects = |count: u64| match found.defects {
            0 => Err(if found.no_labels_because.is_empty() {
                "there is no defect in the data".to_owned()
            } else {
                found.no_labels_because.clone()
            }),
            defects => Ok(count as f64 / defects as f64),
        };
        let value = match self.key {
            Key::MinParts => Ok(recipe.parts as f64),
            Key::MinLabels => Ok((found.good + found.bad) as f64),
            Key::MinDetected => of_defects(found.detected),
            Key::MinEarly => of_defects(found.early),
            Key::MaxMissed => labelled(found.missed as f64),
            Key::MaxFalseAlarmsPer1000 => found.false_per_1000_good.ok_or_else(|| {
                if found.no_labels_because.is_empty() {
                    "no part was measured good".to_owned()
                } else {
                    found.no_labels_because.clone()
                }
            }),
            Key::MaxWritesPerHour | Key::MaxAtLimit | Key::MaxTimesAtLimit => {
                return self.of_loops(recipe);
            }
            Key::NotWorseThanOther => return not_worse(report),
        };
        vec![self.line(self.key.word().to_owned(), value)]
    }

    fn of_loops(&self, recipe: &RecipeReport) -> Vec<GateLine> {
        let value = |l: &LoopReport| match self.key {
            _ if l.decisions == 0 => Err("it decided nothing".to_owned()),
            Key::MaxWritesPerHour => Ok(l.writes_per_hour),
            _ if l.wishes == 0 => Err("no decision had a wish".to_owned()),
            Key::MaxAtLimit => Ok(l.at_limit_share),
            _ => Ok(l.times_at_limit as f64),
        };
        let loops = recipe.loops.iter();
        let loops = loops.filter(|l| self.of_loop.as_ref().is_none_or(|name| *name == l.name));
        let lines: Vec<GateLine> = loops
            .map(|l| self.line(format!("{} of loop {}", self.key.word(), l.name), value(l)))
            .collect();
        if lines.is_empty() {
            let because = Err("the recipe has no loop".to_owned());
            return vec![self.line(self.key.word().to_owned(), because)];
        }
        lines
    }

    fn line(&self, gate: String, value: Result<f64, String>) -> GateLine {
        let least =
            matches!(self.key, Key::MinParts | Key::MinLabels | Key::MinDetected | Key::MinEarly);
        let (value, because) = match value {
            Ok(value) => (Some(value), String::new()),
            Err(because) => (None, because),
        };
        let passed = value
            .is_some_and(|value| if least { value >= self.limit } else { value <= self.limit });
        GateLine { gate, value, limit: self.limit, passed, because }
    }
}

/// Detections, false alarms and time at a limit beside those of the other recipe.
fn not_worse(report: &Report) -> Vec<GateLine> {
    let word = Key::NotWorseThanOther.word();
    let Some(other) = &report.other else {
        let because = "there is no other recipe: --against names one".to_owned();
        let gate = word.to_owned();
        return vec![GateLine { gate, value: None, limit: 0.0, passed: false, because }];
    };
    let own = &report.recipe;
    let line = |what: &str, value: f64, limit: f64, passed: bool| GateLine {
        gate: format!("{word}: {what}"),
        value: Some(value),
        limit,
        passed,
        because: String::new(),
    };
    let unjudged = |what: &str, because: String| GateLine {
        gate: format!("{word}: {what}"),
        value: None,
        limit: 0.0,
        passed: false,
        because,
    };
    let mut lines = Vec::new();
    let reasons = [&own.findings.no_labels_because, &other.findings.no_labels_because];
    if let Some(because) = reasons.into_iter().find(|because| !because.is_empty()) {
        lines.push(unjudged("defects and false alarms", because.clone()));
    } else {
        // Shares, because another tolerance makes other defects of the same labels.
        let share = |of: &Findings| of.detected as f64 / of.defects as f64;
        if own.findings.defects == 0 || other.findings.defects == 0 {
            lines.push(unjudged("defects detected", "there is no defect in the data".to_owned()));
        } else {
            let (a, b) = (share(&own.findings), share(&other.findings));
            lines.push(line("defects detected", a, b, a >= b));
        }
        let (a, b) = (own.findings.false_alarms as f64, other.findings.false_alarms as f64);
        lines.push(line("false alarms", a, b, a <= b));
    }
    for of_loop in &own.loops {
        let what = format!("at a limit, loop {}", of_loop.name);
        let twin = other.loops.iter().find(|l| l.name == of_loop.name);
        lines.push(match twin {
            None => unjudged(&what, "the other recipe has no such loop".to_owned()),
            Some(twin) if of_loop.wishes == 0 || twin.wishes == 0 => {
                unjudged(&what, "no decision had a wish".to_owned())
            }
            Some(twin) => {
                let (a, b) = (of_loop.at_limit_share, twin.at_limit_share);
                line(&what, a, b, a <= b)
            }
        });
    }
    lines
}

/// The lines for people.
#[must_use]
pub fn gate_text(lines: &[GateLine]) -> String {
    let width = lines.iter().map(|line| line.gate.chars().count()).max().unwrap_or(0);
    let number = |x: f64| {
        let text = format!("{x:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let mut text = String::new();
    for line in lines {
        let word = if line.passed { "passed" } else { "NOT PASSED" };
        let value = line.value.map_or_else(|| line.because.clone(), number);
        let limit = number(line.limit);
        text.push_str(&format!("gate {word:10}  {:width$}  {value}  (limit {limit})\n", line.gate));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimloop_recipe::diagnostic::{Color, render};

    fn read(text: &str) -> Result<Gates, String> {
        let loops = ["weight".to_owned(), "cooling".to_owned()];
        Gates::read("gates.toml", text, &loops).map_err(|found| render(&found, Color::Never))
    }

    /// Limits of all loops and of one are read, in the order of the file.
    #[test]
    fn limits_are_read() {
        let gates = read(
            "min_detected = 0.6\nmax_writes_per_hour = 10\n[loop.weight]\nmax_at_limit = 0.05\n",
        );
        let gates = gates.unwrap().0;
        let shown: Vec<_> =
            gates.iter().map(|l| (l.key.word(), l.of_loop.as_deref(), l.limit)).collect();
        let expected = [
            ("min_detected", None, 0.6),
            ("max_writes_per_hour", None, 10.0),
            ("max_at_limit", Some("weight"), 0.05),
        ];
        assert_eq!(shown, expected);
    }

    /// Every mistake stands at its line and column, several together.
    #[test]
    fn mistakes_say_where() {
        for (text, parts) in [
            ("max_fales_alarms_per_1000 = 1\n", &["TL0744", "gates.toml:1:1", "did you mean"][..]),
            (
                "min_detected = 60\nmax_missed = \"none\"\n",
                &["TL0745", "gates.toml:1:16", "0 to 1", "gates.toml:2:14"],
            ),
            ("[loop.wieght]\nmax_at_limit = 0\n", &["TL0744", "gates.toml:1:7", "\"weight\""]),
            ("[loop.weight]\nmin_parts = 1\n", &["TL0744", "gates.toml:2:1", "max_at_limit"]),
            ("not_worse_than_other = false\n", &["TL0745", ":1:24", "true"]),
            ("min_parts = \n", &["TL0743", "gates.toml:1:"]),
            ("", &["TL0745", "no limit"]),
        ] {
            let shown = read(text).unwrap_err();
            for part in parts {
                assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
            }
        }
    }
}
