//! What scores are worth against labels, and how sure that is.
//!
//! Rows near each other resemble each other, so every interval here comes from resampling whole
//! blocks of rows (moving block bootstrap, Künsch 1989); single rows would claim too much.

use std::io;

use super::kinds::Scorer;
use super::score::score;
use super::{Frame, LearnError};
use crate::export::{Cell, Column, Sheet, number_text};

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;
/// Share of resamples inside an interval.
const LEVEL: f64 = 0.95;

/// Scores of every row, kept by the names of their columns.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    names: Vec<String>,
    /// `[columns][rows]`
    cells: Vec<Vec<Option<String>>>,
    numbers: Vec<Vec<f64>>,
}

impl Scores {
    /// Scores a frame.
    ///
    /// # Errors
    /// As [`score`].
    pub fn of(frame: &Frame, scorer: &mut dyn Scorer) -> Result<Self, LearnError> {
        let mut kept = Self::default();
        score(frame, scorer, |columns| Ok(Box::new(Keep::new(&mut kept, columns))))?;
        Ok(kept)
    }

    /// Numbers of a column, NaN where there are none; `None` without such a column.
    #[must_use]
    pub fn numbers(&self, name: &str) -> Option<&[f64]> {
        let place = self.names.iter().position(|known| known == name)?;
        self.numbers.get(place).map(Vec::as_slice)
    }

    /// Texts of a column.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<&[Option<String>]> {
        let place = self.names.iter().position(|known| known == name)?;
        self.cells.get(place).map(Vec::as_slice)
    }

    /// Classes with the probabilities that the model gives them, `p_<class>`.
    #[must_use]
    pub fn probabilities(&self) -> Vec<(String, &[f64])> {
        let places = self.names.iter().zip(&self.numbers);
        places
            .filter_map(|(name, numbers)| {
                Some((name.strip_prefix("p_")?.to_owned(), numbers.as_slice()))
            })
            .collect()
    }

    /// Mean size of what each input contributed, over the rows in which it was among the largest.
    #[must_use]
    pub fn mean_contributions(&self) -> Vec<(String, f64)> {
        let mut sums = std::collections::BTreeMap::<String, f64>::new();
        for place in 1.. {
            let names = self.texts(&format!("top{place}"));
            let shares = self.numbers(&format!("top{place}_contribution"));
            let (Some(names), Some(shares)) = (names, shares) else { break };
            for (name, share) in names.iter().zip(shares).filter(|(_, x)| x.is_finite()) {
                if let Some(name) = name {
                    *sums.entry(name.clone()).or_default() += share.abs();
                }
            }
        }
        let rows = self.cells.first().map_or(1, Vec::len).max(1) as f64;
        sums.into_iter().map(|(name, sum)| (name, sum / rows)).collect()
    }

    /// Share of scored rows in the domain, 0 to 1.
    #[must_use]
    pub fn inside(&self) -> f64 {
        let domains = self.texts("domain").unwrap_or_default();
        let count = |word: &str| domains.iter().filter(|d| d.as_deref() == Some(word)).count();
        let (inside, outside) = (count("in"), count("out"));
        inside as f64 / (inside + outside).max(1) as f64
    }
}

struct Keep<'s>(&'s mut Scores);

impl<'s> Keep<'s> {
    fn new(scores: &'s mut Scores, columns: &[Column]) -> Self {
        scores.names = columns.iter().map(|column| column.name.clone()).collect();
        scores.cells = vec![Vec::new(); columns.len()];
        scores.numbers = vec![Vec::new(); columns.len()];
        Self(scores)
    }
}

impl Sheet for Keep<'_> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let slots = self.0.cells.iter_mut().zip(&mut self.0.numbers);
        for ((texts, numbers), cell) in slots.zip(cells) {
            numbers.push(cell.as_f64().unwrap_or(f64::NAN));
            texts.push(match cell {
                Cell::Text(text) => Some(text.to_string()),
                Cell::Null => None,
                other => other.as_f64().map(number_text),
            });
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Rows it rests on.
    pub rows: usize,
}

/// Mean of the finite values in the order of time; `None` without any.
#[must_use]
pub fn estimate(values: &[f64], seed: u64) -> Option<Estimate> {
    let values: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let length = block_length(&values, mean);
    let blocks = n.div_ceil(length);
    let starts = (n - length + 1) as u64;
    let mut sums = vec![0.0];
    for x in &values {
        sums.push(sums.last().copied().unwrap_or(0.0) + x);
    }
    let of_block = |start: usize| {
        let at = |place: usize| sums.get(place).copied().unwrap_or(0.0);
        at(start + length) - at(start)
    };
    let mut random = Random(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..blocks).map(|_| of_block(random.below(starts))).sum();
            sum / (blocks * length) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to RESAMPLES")]
    let at = |share: f64| means.get((share * (RESAMPLES - 1) as f64).round() as usize).copied();
    Some(Estimate {
        mean,
        low: at(tail).unwrap_or(mean),
        high: at(1.0 - tail).unwrap_or(mean),
        rows: n,
    })
}

/// Rows of a block: the rule for AR(1) of Politis and White, `(2 r / (1 - r^2))^(2/3) n^(1/3)`, at
/// least 1 and at most a quarter of the rows.
fn block_length(values: &[f64], mean: f64) -> usize {
    let n = values.len();
    let variance: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
    let pairs = values.iter().zip(values.iter().skip(1));
    let lagged: f64 = pairs.map(|(a, b)| (a - mean) * (b - mean)).sum();
    if variance <= 0.0 {
        return 1;
    }
    let r = (lagged / variance).clamp(0.0, 0.99);
    let length = (2.0 * r / (1.0 - r * r)).powf(2.0 / 3.0) * (n as f64).cbrt();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to n")]
    let length = length.ceil().min(n as f64) as usize;
    length.clamp(1, (n / 4).max(1))
}

/// Steele's SplitMix64: small, seeded, the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `n`.
    pub(super) fn below(&mut self, n: u64) -> usize {
        let wide = u128::from(self.next()) * u128::from(n.max(1));
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

/// What a model is judged on, row by row. NaN where a row cannot be judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What a loss is: `false alarm`, `wrong class`, `squared error`.
    pub what: &'static str,
    /// `[rows]` losses, smaller is better.
    pub loss: Vec<f64>,
    /// Names with values: accuracy, RMSE, share of alarms.
    pub facts: Vec<(String, f64)>,
}

/// Judges scores by their kind.
///
/// - `label`: column of the truth: a class, a measured number, or for a monitor whether a row is
///   faulty (0 or empty is normal); without it every row of a monitor is taken for normal.
///
/// # Errors
/// A classifier or soft sensor without a label, or a column that is not there.
pub fn judge(frame: &Frame, scores: &Scores, label: Option<&str>) -> Result<Judged, LearnError> {
    let truth = label.map(|name| frame.need(name)).transpose()?;
    let need = || {
        let why = "what is true is not said: --label COLUMN".to_owned();
        truth.ok_or(LearnError::Option(why))
    };
    if let Some(alarms) = scores.numbers("alarm") {
        let faulty = |row: usize| {
            truth.is_some_and(|column| {
                column.text(row).is_some_and(|text| !["0", "", "ok", "normal"].contains(&&*text))
            })
        };
        return Ok(of_monitor(alarms, scores, faulty));
    }
    if let Some(classes) = scores.texts("class") {
        return Ok(of_classes(classes, scores, need()?, frame.rows()));
    }
    let truth = need()?.numbers()?;
    Ok(of_numbers(scores, truth))
}

fn of_monitor(alarms: &[f64], scores: &Scores, faulty: impl Fn(usize) -> bool) -> Judged {
    let known = scores.texts("domain").unwrap_or_default();
    let is_known = |row: usize| known.get(row).is_none_or(|d| d.as_deref() != Some("missing"));
    let share = |wanted: bool| {
        let rows = || (0..alarms.len()).filter(|row| is_known(*row) && faulty(*row) == wanted);
        let on = rows().filter(|row| alarms.get(*row).is_some_and(|x| *x > 0.5)).count();
        let all = rows().count();
        (all > 0).then(|| on as f64 / all as f64)
    };
    let loss = alarms.iter().enumerate().map(|(row, alarm)| match (is_known(row), faulty(row)) {
        (false, _) => f64::NAN,
        (true, true) => 1.0 - alarm,
        (true, false) => *alarm,
    });
    let loss = loss.collect();
    let facts = [("false alarms", share(false)), ("faulty rows found", share(true))];
    let facts = facts.into_iter().filter_map(|(name, x)| Some((name.to_owned(), x?)));
    Judged { what: "row judged wrongly", loss, facts: facts.collect() }
}

/// Labels of all rows by the names of classes: as they are written, else by the number that they
/// are, so that `1.0` of another table is the class `1`, and 1 the class `01` if no other is.
#[must_use]
pub fn truths(truth: &super::Column, rows: usize, classes: &[String]) -> Vec<Option<String>> {
    let value = |text: &str| {
        let bit = |word: &str| text.eq_ignore_ascii_case(word);
        match (bit("true"), bit("false")) {
            (true, _) => Some(1.0),
            (_, true) => Some(0.0),
            _ => text.parse::<f64>().ok().filter(|x| x.is_finite()),
        }
    };
    let named = |text: String| {
        if classes.contains(&text) {
            return text;
        }
        let Some(x) = value(&text) else { return text };
        let same = |class: &&String| value(class).is_some_and(|y| x.total_cmp(&y).is_eq());
        let mut found = classes.iter().filter(same);
        match (found.next(), found.next()) {
            (Some(class), None) => class.clone(),
            _ => text,
        }
    };
    (0..rows).map(|row| truth.written(row).map(named)).collect()
}

fn of_classes(
    classes: &[Option<String>],
    scores: &Scores,
    truth: &super::Column,
    rows: usize,
) -> Judged {
    let probabilities = scores.probabilities();
    let names: Vec<String> = probabilities.iter().map(|(name, _)| name.clone()).collect();
    let truth = truths(truth, rows, &names);
    let domains = scores.texts("domain").unwrap_or_default();
    let is_missing = |row: usize| domains.get(row).and_then(Option::as_deref) == Some("missing");
    let mut brier = Vec::new();
    let mut loss = Vec::new();
    for (row, class) in classes.iter().enumerate() {
        let truth = truth.get(row).and_then(Option::as_ref).filter(|_| !is_missing(row));
        let (Some(class), Some(truth)) = (class, truth) else {
            loss.push(f64::NAN);
            continue;
        };
        loss.push(f64::from(u8::from(class != truth)));
        let terms = probabilities.iter().map(|(name, p)| {
            let p = p.get(row).copied().unwrap_or(f64::NAN);
            (p - f64::from(u8::from(name == truth))).powi(2)
        });
        brier.push(terms.sum::<f64>());
    }
    let mean = |values: &[f64]| {
        let known: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        known.iter().sum::<f64>() / known.len().max(1) as f64
    };
    let mut facts = vec![("accuracy".to_owned(), 1.0 - mean(&loss))];
    let base = base_brier(&truth);
    if !probabilities.is_empty() && base > 0.0 {
        facts.push(("Brier".to_owned(), mean(&brier)));
        facts.push(("Brier skill".to_owned(), 1.0 - mean(&brier) / base));
    }
    Judged { what: "wrong class", loss, facts }
}

/// Brier of always saying how often each class comes.
fn base_brier(truth: &[Option<String>]) -> f64 {
    let mut counts = std::collections::BTreeMap::<&str, f64>::new();
    for text in truth.iter().flatten() {
        *counts.entry(text).or_default() += 1.0;
    }
    let n: f64 = counts.values().sum();
    1.0 - counts.values().map(|count| (count / n).powi(2)).sum::<f64>()
}

fn of_numbers(scores: &Scores, truth: &[f64]) -> Judged {
    let column = |name: &str| scores.numbers(name).unwrap_or_default();
    let (said, low, high) = (column("prediction"), column("low"), column("high"));
    let rows = || {
        (0..truth.len()).map(|row| {
            let at = |x: &[f64]| x.get(row).copied().unwrap_or(f64::NAN);
            (at(truth), at(said), at(low), at(high))
        })
    };
    let loss: Vec<f64> = rows().map(|(y, said, _, _)| (y - said).powi(2)).collect();
    let known: Vec<f64> = loss.iter().copied().filter(|x| x.is_finite()).collect();
    let n = known.len().max(1) as f64;
    let rmse = (known.iter().sum::<f64>() / n).sqrt();
    let covered = rows().filter(|(y, _, low, high)| low <= y && y <= high).count() as f64 / n;
    let steps = truth.iter().zip(truth.iter().skip(1)).map(|(a, b)| (b - a).powi(2));
    let steps: Vec<f64> = steps.filter(|x| x.is_finite()).collect();
    let last = (steps.iter().sum::<f64>() / steps.len().max(1) as f64).sqrt();
    let facts = vec![
        ("RMSE".to_owned(), rmse),
        ("RMSE of the last value".to_owned(), last),
        ("inside the interval".to_owned(), covered),
    ];
    Judged { what: "squared error", loss, facts }
}

impl Judged {
    /// A fact by its name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, x)| *x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise with memory `r`, mean 0.
    fn ar1(seed: u64, n: usize, r: f64) -> Vec<f64> {
        let mut random = Random(seed);
        let mut x = 0.0;
        (0..n)
            .map(|_| {
                let uniform = random.below(1 << 30) as f64 / f64::from(1 << 30);
                x = r * x + (uniform - 0.5);
                x
            })
            .collect()
    }

    /// The interval holds the true mean about as often as it says, also on rows with memory, where
    /// an interval for independent rows would hold it half as often.
    #[test]
    fn intervals_hold_on_rows_with_memory() {
        for r in [0.0, 0.6] {
            let held = (0..200).filter(|seed| {
                let found = estimate(&ar1(1000 + seed, 800, r), 1).unwrap();
                found.low <= 0.0 && 0.0 <= found.high
            });
            let share = held.count() as f64 / 200.0;
            assert!((0.88..=0.99).contains(&share), "memory {r}: {share}");
        }
    }

    /// The same seed gives the same interval; nothing finite gives none.
    #[test]
    fn estimates_are_repeatable() {
        let values = ar1(3, 100, 0.3);
        assert_eq!(estimate(&values, 7), estimate(&values, 7));
        assert_eq!(estimate(&[f64::NAN], 7), None);
        let one = estimate(&[2.0, f64::NAN], 7).unwrap();
        assert_eq!((one.mean, one.low, one.high, one.rows), (2.0, 2.0, 2.0, 1));
    }
}
