//! Labels: leakage, balance, sampling bias.

use std::collections::BTreeMap;

use super::columns::finding;
use super::{Finding, Severity};
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
/// Distance of labelled from unlabelled rows that is bias: the largest between the shares of both
/// that lie below a value, or half the sum of those between the shares of each text.
const BIAS: f64 = 0.18;
/// Chance of such a distance where rows are chosen at random, over all columns.
const BIAS_CHANCE: f64 = 1e-3;
/// A class whose rows lie in so small a part of the labelled ones is of one stretch of time.
const STRETCH: f64 = 0.3;
/// By how much the share of labelled rows may change from stretch to stretch.
const LABELLED: f64 = 0.25;
/// Blocks of time in which classes are counted.
const BLOCKS: usize = 10;

pub(super) fn look(frame: &Frame, label: &Column) -> Result<Vec<Finding>, LearnError> {
    let texts: Vec<Option<String>> = (0..frame.rows()).map(|row| label.written(row)).collect();
    let mut counts = BTreeMap::<&str, usize>::new();
    for text in texts.iter().flatten() {
        *counts.entry(text).or_default() += 1;
    }
    let mut found: Vec<Finding> = unlabelled(frame, label, &texts)?.into_iter().collect();
    found.extend(labelled_share(frame, label, &texts));
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
    found.extend(stretches(frame, label, &texts, &counts));
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

/// Classes all of whose rows lie in one stretch: nothing says that they look alike at other times.
fn stretches(
    frame: &Frame,
    label: &Column,
    texts: &[Option<String>],
    counts: &BTreeMap<&str, usize>,
) -> Vec<Finding> {
    let labelled: Vec<(usize, &str)> =
        texts.iter().enumerate().filter_map(|(row, text)| Some((row, text.as_deref()?))).collect();
    let mut found = Vec::new();
    for (class, count) in counts {
        let is = |(_, text): &&(usize, &str)| text == class;
        let first = labelled.iter().position(|at| is(&at));
        let last = labelled.iter().rposition(|at| is(&at));
        let (Some(first), Some(last)) = (first, last) else { continue };
        let share = (last + 1 - first) as f64 / labelled.len() as f64;
        // Fewer rows may lie together by chance, and a common class needs its part.
        let common = *count as f64 / labelled.len() as f64;
        if *count < RARE.1 || share > STRETCH || common > 0.9 * STRETCH {
            continue;
        }
        let ends = [first, last].map(|at| labelled.get(at).map_or(0, |(row, _)| *row));
        found.push(finding(
            (Severity::Warning, "bias"),
            &label.name,
            format!(
                "all {count} rows of {class} lie between {} and {}, among {:.0} % of the labelled rows",
                frame.shown_time(ends[0]),
                frame.shown_time(ends[1]),
                100.0 * share
            ),
            "Whatever was special at that time (lot, tool, weather) is learnt in place of the defect.",
            "collect the class at other times too; until then believe no test within that time",
        ));
    }
    found
}

/// Stretches of time in which many more, or fewer, rows have a label than in others.
fn labelled_share(frame: &Frame, label: &Column, texts: &[Option<String>]) -> Option<Finding> {
    let with = texts.iter().flatten().count();
    let block = texts.len().div_ceil(BLOCKS);
    if with < RARE.1 || texts.len() - with < RARE.1 || block < 10 {
        return None;
    }
    let all = with as f64 / texts.len() as f64;
    let off = |part: &[Option<String>]| {
        let n = part.len() as f64;
        let share = part.iter().flatten().count() as f64 / n;
        // Six standard deviations of a share: no chance.
        let chance = 6.0 * (all * (1.0 - all) / n).sqrt();
        ((share - all).abs() > LABELLED.max(chance)).then_some(share)
    };
    let (at, share) = texts
        .chunks(block)
        .enumerate()
        .filter_map(|(at, part)| Some((at, off(part)?)))
        .max_by(|a, b| (a.1 - all).abs().total_cmp(&(b.1 - all).abs()))?;
    let ends = [at * block, ((at + 1) * block).min(texts.len()) - 1];
    Some(finding(
        (Severity::Warning, "bias"),
        &label.name,
        format!(
            "{:.0} % of all rows have a label, but {:.0} % of those from {} to {}",
            100.0 * all,
            100.0 * share,
            frame.shown_time(ends[0]),
            frame.shown_time(ends[1])
        ),
        "The times that were inspected more weigh more: the model knows little of the others.",
        "label at an even rate, or train on a stretch in which the rate was even",
    ))
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
) -> Result<Option<Finding>, LearnError> {
    let without = texts.iter().filter(|text| text.is_none()).count();
    let with = texts.len() - without;
    if without < RARE.1 || with < RARE.1 {
        return Ok(None);
    }
    let columns = || frame.columns().iter().filter(|column| column.name != label.name);
    // Of Kolmogorov and Smirnov, as often as there are columns.
    let chance = BIAS_CHANCE / columns().count().max(1) as f64;
    let both = (with + without) as f64 / (with as f64 * without as f64);
    let least = BIAS.max((-(chance / 2.0).ln() / 2.0 * both).sqrt());
    let mut worst: Option<(f64, String)> = None;
    for column in columns() {
        let (apart, what) = match &column.values {
            Values::Number(_) => numbers_apart(column, texts)?,
            Values::Text { levels, .. } if levels.len() <= CLASSES_MAX => {
                texts_apart(column, texts)
            }
            Values::Text { .. } => continue,
        };
        if apart > worst.as_ref().map_or(least, |(worst, _)| *worst) {
            worst = Some((apart, what));
        }
    }
    Ok(worst.map(|(_, what)| {
        finding(
            (Severity::Warning, "bias"),
            &label.name,
            format!("{without} of {} rows have no label, and they differ: {what}", texts.len()),
            "Parts were not chosen at random: the model learns who was inspected.",
            "label some parts drawn at random, and weigh by the inspection rate",
        )
    }))
}

/// The largest distance between the shares of rows with and without a label below a value.
fn numbers_apart(column: &Column, texts: &[Option<String>]) -> Result<(f64, String), LearnError> {
    let values = column.numbers()?.iter().zip(texts).filter(|(x, _)| x.is_finite());
    let mut order: Vec<(f64, bool)> = values.map(|(x, text)| (*x, text.is_some())).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = |is: bool| order.iter().filter(|(_, with)| *with == is).count().max(1) as f64;
    let (with, without) = (count(true), count(false));
    let (mut apart, mut at) = ((0.0_f64, 0.0), 0.0_f64);
    for (place, (x, is_with)) in order.iter().enumerate() {
        at += if *is_with { 1.0 / with } else { -1.0 / without };
        let next = order.get(place + 1).map_or(f64::INFINITY, |(x, _)| *x);
        // Equal values count together.
        if next > *x && at.abs() > apart.0.abs() {
            apart = (at, *x);
        }
    }
    let of = |is: bool| {
        let below = order.iter().filter(|(x, with)| *with == is && *x <= apart.1).count();
        100.0 * below as f64 / if is { with } else { without }
    };
    let what = format!(
        "{} is at most {:.5} in {:.0} % of the rows with a label, in {:.0} % of those without",
        column.name,
        apart.1,
        of(true),
        of(false)
    );
    Ok((apart.0.abs(), what))
}

/// Half the sum of the distances between the shares of each text.
fn texts_apart(column: &Column, texts: &[Option<String>]) -> (f64, String) {
    let mut counts = BTreeMap::<String, (f64, f64)>::new();
    let (mut with, mut without) = (0.0_f64, 0.0_f64);
    for (row, text) in texts.iter().enumerate() {
        let slot = counts.entry(column.text(row).unwrap_or_default()).or_default();
        if text.is_some() {
            (slot.0, with) = (slot.0 + 1.0, with + 1.0);
        } else {
            (slot.1, without) = (slot.1 + 1.0, without + 1.0);
        }
    }
    let shares = |(a, b): &(f64, f64)| (a / with.max(1.0), b / without.max(1.0));
    let off = |of: &(f64, f64)| {
        let (a, b) = shares(of);
        (a - b).abs()
    };
    let apart = counts.values().map(off).sum::<f64>() / 2.0;
    let most = counts.iter().max_by(|a, b| off(a.1).total_cmp(&off(b.1)));
    let what = most.map_or_else(String::new, |(text, of)| {
        let (a, b) = shares(of);
        format!(
            "{} is {text} in {:.0} % of the rows with a label, in {:.0} % of those without",
            column.name,
            100.0 * a,
            100.0 * b
        )
    });
    (apart, what)
}
