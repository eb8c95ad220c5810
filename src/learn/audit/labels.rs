//! Labels: leakage, balance, sampling bias.

use std::collections::BTreeMap;

use super::columns::finding;
use super::{Finding, Severity, known};
use crate::learn::plots::auc;
use crate::learn::{Column, Frame, LearnError, Values};

/// More different labels than this are a measured number.
const CLASSES_MAX: usize = 20;
/// A single column that tells a class apart so well is suspicious.
const LEAK_AUC: f64 = 0.995;
/// A single column that follows a measured label so well is suspicious.
const LEAK_R: f64 = 0.999;
/// Chance that a value goes with one class in all its rows, below which it is no chance.
const LEAK_CHANCE: f64 = 1e-6;
/// Share of a class that is small, and number of rows that are too few.
const RARE: (f64, usize) = (0.05, 20);
/// Distance of labelled from unlabelled rows that is bias [standard deviations].
const BIAS: f64 = 0.5;
/// Blocks of time in which classes are counted.
const BLOCKS: usize = 10;

pub(super) fn look(frame: &Frame, label: &Column) -> Result<Vec<Finding>, LearnError> {
    let texts: Vec<Option<String>> = (0..frame.rows()).map(|row| label.text(row)).collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    for text in texts.iter().flatten() {
        *counts.entry(text).or_default() += 1;
    }
    let mut found = unlabelled(frame, label, &texts)?;
    if counts.len() < 2 {
        found.push(finding(
            (Severity::Problem, "balance"),
            &label.name,
            format!("has {} different values", counts.len()),
            "What is always the same cannot be learnt.",
            "take rows in which the defect did and did not occur",
        ));
        return Ok(found);
    }
    if counts.len() > CLASSES_MAX && !label.is_text() {
        found.extend(follows(frame, label)?);
        return Ok(found);
    }
    found.extend(balance(label, &counts));
    found.extend(blocks(label, &texts, &counts));
    for column in frame.columns().iter().filter(|column| column.name != label.name) {
        found.extend(tells(column, label, &texts, &counts)?);
    }
    Ok(found)
}

fn balance(label: &Column, counts: &BTreeMap<&str, usize>) -> Vec<Finding> {
    let all: usize = counts.values().sum();
    let rare = counts
        .iter()
        .filter(|(_, count)| (**count as f64) < RARE.0 * all as f64 || **count < RARE.1);
    rare.map(|(class, count)| {
        let few = *count < RARE.1;
        finding(
            (if few { Severity::Problem } else { Severity::Warning }, "balance"),
            &label.name,
            format!(
                "{class} is in {count} of {all} rows ({:.1} %)",
                *count as f64 / all as f64 * 100.0
            ),
            "Of a rare class little is learnt, and accuracy looks good without it.",
            "collect more of it; judge by precision and recall of that class, not by accuracy",
        )
    })
    .collect()
}

/// Classes that each come in a stretch of their own: time itself would be learnt.
fn blocks(
    label: &Column,
    texts: &[Option<String>],
    counts: &BTreeMap<&str, usize>,
) -> Option<Finding> {
    let all: usize = counts.values().sum();
    let largest = counts.values().max().copied().unwrap_or(0);
    let block = texts.len().div_ceil(BLOCKS);
    // With few rows, or one class nearly everywhere, pure blocks are to be expected.
    if block < 10 || largest as f64 > 0.8 * all as f64 {
        return None;
    }
    let pure = texts.chunks(block).filter(|part| {
        let mut classes: Vec<&String> = part.iter().flatten().collect();
        classes.sort();
        classes.dedup();
        classes.len() == 1
    });
    let pure = pure.count();
    (2 * pure >= BLOCKS).then(|| {
        finding(
            (Severity::Warning, "bias"),
            &label.name,
            format!("in {pure} of {BLOCKS} stretches of time there is one class only"),
            "Whatever else changed with time (season, lot, tool) is learnt in place of the defect.",
            "collect each class at several times; judge the model on times it has not seen",
        )
    })
}

/// A column that alone tells a class apart.
fn tells(
    column: &Column,
    label: &Column,
    texts: &[Option<String>],
    counts: &BTreeMap<&str, usize>,
) -> Result<Option<Finding>, LearnError> {
    let all: usize = counts.values().sum();
    let leak = |what: String| {
        finding(
            (Severity::Problem, "leakage"),
            &column.name,
            what,
            "A column that is known only with the label, or made of it, is not there when it counts.",
            "leave it out with --ignore, unless the machine knows it before the part is judged",
        )
    };
    if let Some((value, class, n)) = certain(column, texts, counts) {
        return Ok(Some(leak(format!(
            "is {value} in {n} rows, and in every one of them {} is {class}",
            label.name
        ))));
    }
    if column.is_text() {
        return Ok(None);
    }
    let values = column.numbers()?;
    for (class, count) in counts {
        if *count < RARE.1 || all - count < RARE.1 {
            continue;
        }
        let rows =
            values.iter().zip(texts).filter_map(|(x, text)| Some((*x, text.as_deref()? == *class)));
        let area = auc(&rows.collect::<Vec<(f64, bool)>>()).unwrap_or(0.5);
        let area = area.max(1.0 - area);
        if area >= LEAK_AUC {
            return Ok(Some(leak(format!(
                "alone tells {} = {class} from the rest (area under the ROC curve {area:.4})",
                label.name
            ))));
        }
    }
    Ok(None)
}

/// A value that goes with one uncommon class in all its rows, more often than chance allows.
fn certain(
    column: &Column,
    texts: &[Option<String>],
    counts: &BTreeMap<&str, usize>,
) -> Option<(String, String, usize)> {
    let all: usize = counts.values().sum();
    let mut classes = BTreeMap::<String, BTreeMap<&str, usize>>::new();
    for (row, text) in texts.iter().enumerate() {
        let (Some(text), Some(value)) = (text, column.text(row)) else { continue };
        *classes.entry(value).or_default().entry(text).or_default() += 1;
        if classes.len() > 10 {
            return None;
        }
    }
    // A column of one value per class is the label itself.
    classes.iter().find_map(|(value, of_value)| {
        let (class, n) = of_value.iter().next().filter(|_| of_value.len() == 1)?;
        let base = counts.get(class).copied().unwrap_or(0) as f64 / all as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "rows")]
        let chance = base.powi(*n as i32);
        (base <= 0.5 && chance < LEAK_CHANCE).then(|| (value.clone(), (*class).to_owned(), *n))
    })
}

/// Columns that follow a measured label too well.
fn follows(frame: &Frame, label: &Column) -> Result<Vec<Finding>, LearnError> {
    let y = label.numbers()?;
    let mut found = Vec::new();
    for column in frame.columns().iter().filter(|c| c.name != label.name && !c.is_text()) {
        let r = correlation(column.numbers()?, y);
        if r.abs() >= LEAK_R {
            found.push(finding(
                (Severity::Problem, "leakage"),
                &column.name,
                format!("follows {} almost exactly (r = {r:.5})", label.name),
                "It is the label in another form, and not there when it counts.",
                "leave it out with --ignore",
            ));
        }
    }
    Ok(found)
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let pairs: Vec<(f64, f64)> =
        x.iter().copied().zip(y.iter().copied()).filter(|(a, b)| (a + b).is_finite()).collect();
    let n = pairs.len().max(1) as f64;
    let (mx, my) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let sums = pairs.iter().fold((0.0, 0.0, 0.0), |(xx, xy, yy), (x, y)| {
        let (x, y) = (x - mx, y - my);
        (xx + x * x, xy + x * y, yy + y * y)
    });
    if sums.0 > 0.0 && sums.2 > 0.0 { sums.1 / (sums.0 * sums.2).sqrt() } else { 0.0 }
}

/// Rows without a label, and whether they differ from those with one.
fn unlabelled(
    frame: &Frame,
    label: &Column,
    texts: &[Option<String>],
) -> Result<Vec<Finding>, LearnError> {
    let without = texts.iter().filter(|text| text.is_none()).count();
    if without < RARE.1 || texts.len() - without < RARE.1 {
        return Ok(Vec::new());
    }
    let mut worst: Option<(&str, f64)> = None;
    for column in frame.columns() {
        let Values::Number(_) = column.values else { continue };
        if column.name == label.name {
            continue;
        }
        let values = column.numbers()?;
        let mean = |labelled: bool| {
            let part = values.iter().zip(texts).filter(|(_, text)| text.is_some() == labelled);
            let part: Vec<f64> = part.map(|(x, _)| *x).filter(|x| x.is_finite()).collect();
            part.iter().sum::<f64>() / part.len().max(1) as f64
        };
        let n = known(values).count().max(2) as f64;
        let all = known(values).map(|(_, x)| x).sum::<f64>() / n;
        let sd = (known(values).map(|(_, x)| (x - all).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let apart = (mean(true) - mean(false)) / sd;
        if apart.is_finite() && apart.abs() > worst.map_or(BIAS, |(_, x)| x.abs()) {
            worst = Some((&column.name, apart));
        }
    }
    Ok(worst
        .map(|(name, apart)| {
            finding(
                (Severity::Warning, "bias"),
                &label.name,
                format!(
                    "{without} of {} rows have no label, and they differ: {name} is {apart:+.1} \
                     standard deviations higher in rows with a label",
                    texts.len()
                ),
                "Parts were not chosen at random: the model learns who was inspected.",
                "label some parts drawn at random, and weigh by the inspection rate",
            )
        })
        .into_iter()
        .collect())
}
