//! A table of labelled rows into a classifier.

use std::borrow::Cow;

use trimloop_recipe::artifact::{Artifact, Kind, Words};
use trimloop_train::{ForestFit, ForestOptions, Table, fit_forest};

use super::tables::{
    class_doubts, class_tables, decision, held_out, held_out_note, percent, reliability,
};
use super::{formula, logistic};
use crate::learn::card::{Card, CardTable};
use crate::learn::kinds::{Learner, TrainRequest, Trained};
use crate::learn::plan::{header_of, training_facts};
use crate::learn::{Column, Frame, Inputs, LearnError, Values, labels, leak};

/// Trees of a forest; for causes, of which each tree tells many, half of them.
const TREES: usize = 200;
/// Most different words of a column; more are names of parts, not kinds.
const WORDS_MAX: usize = 20;

pub(in crate::learn) fn train(request: &TrainRequest<'_>) -> Result<Trained, LearnError> {
    let found = labels(request.frame, request.label, request.label_from_file)?;
    let frame = Prepared::new(request, &found.of_row, found.classes.len())?;
    let inputs = frame.inputs(request, &found.of_row)?;
    if request.learner == Some(Learner::Logistic) {
        return logistic::train(request, &found, &frame, inputs);
    }
    let names: Vec<String> = inputs.columns.iter().map(|column| column.name.clone()).collect();
    let steps = request
        .features
        .iter()
        .map(|text| formula::parse(text, &names))
        .collect::<Result<Vec<_>, _>>()?;
    let table = Table::new(names, &inputs.matrix()?)?;
    let label = |row: &usize| found.of_row.get(*row).copied().flatten();
    let rows: Vec<u16> = inputs
        .rows
        .iter()
        .filter_map(label)
        .filter_map(|class| u16::try_from(class).ok())
        .collect();
    let runs = request.label_from_file.map(|_| runs(request.frame, &inputs.rows));
    if runs.is_some() && !steps.is_empty() {
        let why = "--feature does not go with --label-from-file, which derives its own columns";
        return Err(LearnError::Option(why.to_owned()));
    }
    let coded = |column: &&Column| frame.words.iter().any(|words| words.feature == column.name);
    let fit = fit_forest(
        &table,
        &rows,
        &found.classes,
        &ForestOptions {
            trees: if runs.is_some() { TREES / 2 } else { TREES },
            seed: request.seed,
            steps,
            propose: runs.is_none(),
            units: inputs.columns.iter().map(|column| column.unit.clone()).collect(),
            coded: inputs.columns.iter().map(coded).collect(),
            blocked: request.frame.time().is_some(),
            runs,
            progress: request.progress,
        },
    )?;
    let label = request.label.or(request.label_from_file).unwrap_or("label");
    let note = held_out_note(&fit.held_out, fit.blocked);
    let header = header_of(request, Kind::Forest, &inputs, &note);
    let artifact = Artifact::classifier(header, label, frame.words.clone(), &fit.plan)
        .map_err(|error| LearnError::Train(error.to_string()))?;
    let mut facts = training_facts(request, &inputs);
    facts.push(("tells apart".to_owned(), format!("{label}: {}", found.classes.join(", "))));
    facts.extend(facts_of(&fit));
    let mut warnings = frame.warnings.clone();
    warnings.extend(doubts(&fit));
    let card = Card {
        headline: headline(&fit, label),
        facts,
        left_out: inputs.left_out,
        warnings,
        tables: tables(&fit),
        plots: reliability(&fit.held_out),
        ..Card::default()
    };
    Ok(Trained::new(artifact, card))
}

/// Rows of each file, counted among the rows that are learnt from.
fn runs(frame: &Frame, kept: &[usize]) -> Vec<std::ops::Range<usize>> {
    let place = |row: usize| kept.partition_point(|kept| *kept < row);
    let runs = frame.files().iter().map(|(_, rows)| place(rows.start)..place(rows.end));
    runs.filter(|run| !run.is_empty()).collect()
}

/// The frame with words as codes, without what is no input.
pub(super) struct Prepared<'f> {
    /// A copy only where there are words: a long table need not be there twice.
    frame: Cow<'f, Frame>,
    pub(super) words: Vec<Words>,
    ignore: Vec<String>,
    left_out: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'f> Prepared<'f> {
    fn new(
        request: &TrainRequest<'f>,
        of_row: &[Option<usize>],
        classes: usize,
    ) -> Result<Self, LearnError> {
        let mut this = Self {
            frame: Cow::Borrowed(request.frame),
            words: Vec::new(),
            ignore: request.ignore.to_vec(),
            left_out: Vec::new(),
            warnings: Vec::new(),
        };
        for name in request.ignore.iter().filter(|name| !request.frame.is_time(name)) {
            request.frame.need(name)?;
        }
        for column in request.frame.columns() {
            let label = request.label == Some(column.name.as_str());
            if label || request.ignore.contains(&column.name) {
                continue;
            }
            match &column.values {
                Values::Text { levels, codes } => this.words(column, levels, codes, of_row),
                Values::Number(numbers) if leak::is_count(numbers) => {
                    this.leave(&column.name, "counts the rows");
                }
                Values::Number(_) => {}
            }
        }
        if request.label_from_file.is_none() {
            let skip = |name: &str| {
                request.label == Some(name) || this.ignore.iter().any(|ignored| ignored == name)
            };
            let used = |name: &str| request.features.iter().any(|text| text.contains(name));
            let columns: Vec<&Column> = request
                .frame
                .columns()
                .iter()
                .filter(|column| !skip(&column.name) && !used(&column.name))
                .collect();
            for leak in leak::find(&columns, of_row, classes) {
                if leak.sure {
                    this.leave(&leak.column, leak.why);
                } else {
                    this.warnings.push(format!(
                        "the column {} {}; if it is known only afterwards, leave it out with \
                         --ignore",
                        leak.column, leak.why
                    ));
                }
            }
        }
        Ok(this)
    }

    fn leave(&mut self, name: &str, why: &str) {
        self.ignore.push(name.to_owned());
        self.left_out.push(format!("{name} {why}"));
        self.warnings.push(format!("the column {name} {why}; it is left out"));
    }

    /// Few words become codes, in the order of the mean class of their rows, so that a split can
    /// part them well; many are names of parts.
    fn words(
        &mut self,
        column: &Column,
        levels: &[String],
        codes: &[u32],
        of_row: &[Option<usize>],
    ) {
        if levels.len() > WORDS_MAX || levels.len() < 2 {
            let why = format!("holds {} different texts, as names of parts do", levels.len());
            let why = if levels.len() < 2 { "holds one text only".to_owned() } else { why };
            self.leave(&column.name, &why);
            return;
        }
        let mut sums = vec![(0.0, 0.0); levels.len()];
        for (code, class) in codes.iter().zip(of_row) {
            let slot = usize::try_from(*code).ok().and_then(|code| sums.get_mut(code));
            if let (Some(slot), Some(class)) = (slot, class) {
                #[expect(clippy::cast_precision_loss, reason = "few classes")]
                let class = *class as f64;
                slot.0 += class;
                slot.1 += 1.0;
            }
        }
        let mean = |(sum, rows): &(f64, f64)| sum / rows.max(1.0);
        let mut order: Vec<(f64, &String, usize)> = sums
            .iter()
            .zip(levels)
            .enumerate()
            .map(|(at, (s, text))| (mean(s), text, at))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        let place = |code: &u32| {
            let at = order.iter().position(|(_, _, at)| usize::try_from(*code) == Ok(*at));
            #[expect(clippy::cast_precision_loss, reason = "few words")]
            at.map_or(f64::NAN, |at| at as f64)
        };
        let numbers = codes.iter().map(place).collect();
        let words = order.iter().map(|(_, text, _)| (*text).clone()).collect();
        self.frame.to_mut().put(Column::of_numbers(&column.name, &column.unit, numbers));
        self.words.push(Words { feature: column.name.clone(), codes: words });
    }

    /// Columns and rows to learn from: rows that have a label.
    fn inputs(
        &self,
        request: &TrainRequest<'_>,
        of_row: &[Option<usize>],
    ) -> Result<Inputs<'_>, LearnError> {
        let mut ignore = self.ignore.clone();
        ignore.extend(request.label.map(str::to_owned));
        let mut inputs = crate::learn::numeric_inputs(&self.frame, None, &ignore)?;
        inputs.rows.retain(|row| of_row.get(*row).is_some_and(Option::is_some));
        if inputs.rows.is_empty() {
            let why = "no row with a label has a value in every column".to_owned();
            return Err(LearnError::NoRows(why));
        }
        inputs.left_out.splice(0..0, self.left_out.iter().cloned());
        Ok(inputs)
    }
}

fn headline(fit: &ForestFit, label: &str) -> String {
    if fit.plan.remember.is_some() {
        format!("Random forest that tells causes apart ({label}), evidence adding up over rows.")
    } else {
        format!("Random forest that tells the classes of {label} apart.")
    }
}

fn facts_of(fit: &ForestFit) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let p = fit.plan.inputs.len();
    let mut facts =
        vec![fact("trees", format!("{}, {} nodes", fit.plan.trees.len(), fit.plan.nodes.len()))];
    if let Some(rows) = fit.tree_rows {
        facts.push(fact("rows of a tree", format!("{rows}, drawn anew for each from the table")));
    }
    if let Some((chosen, _)) = fit.tried.first() {
        facts.push(fact("chosen by cross-validation", chosen.clone()));
    }
    let derived: Vec<&str> = fit.columns.iter().skip(p).map(String::as_str).collect();
    if fit.plan.remember.is_some() {
        let what = "mean, deviation and roughness of each input over about the last ten rows";
        facts.push(fact("derived columns", what.to_owned()));
    } else if !derived.is_empty() {
        facts.push(fact("derived columns", derived.join(", ")));
    }
    facts.extend(held_out(&fit.held_out, fit.blocked));
    facts.push(fact(
        "calibration",
        format!(
            "Platt scaling on held-out votes, slope {:.2}; log loss {:.3}, Brier {:.3}",
            fit.plan.slope, fit.held_out.log_loss, fit.held_out.brier
        ),
    ));
    facts.push(decision(&fit.plan.classes, &fit.plan.weights));
    if fit.plan.remember.is_some() {
        let how = match &fit.plan.directions {
            Some(_) => "votes, and the directions in which each cause moves the inputs from calm",
            None => "votes alone: there are too many inputs for directions",
        };
        facts.push(fact("evidence for a cause", how.to_owned()));
    }
    let ranges = "the training ranges of the inputs, widened by what held-out rows show";
    let domain = match &fit.plan.reach {
        Some(reach) => format!("{ranges}, and T2 of all inputs up to {:.1}", reach.t2_out),
        None => format!("{ranges}; their mixture is not watched"),
    };
    facts.push(fact("domain", domain));
    facts
}

fn doubts(fit: &ForestFit) -> Vec<String> {
    let mut doubts = class_doubts(&fit.held_out);
    if fit.plan.remember.is_some() {
        doubts.push(
            "Rows of one run resemble each other: what was held out is part of the same runs, so \
             fresh runs will do worse than the table says."
                .to_owned(),
        );
    }
    doubts
}

fn tables(fit: &ForestFit) -> Vec<CardTable> {
    let texts = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
    let mut tables = class_tables(&fit.held_out, &fit.plan.classes);
    let mut order: Vec<(&String, f64)> =
        fit.columns.iter().zip(fit.importance.iter().copied()).collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let importance =
        order.iter().take(15).map(|(name, share)| vec![(*name).clone(), percent(*share)]);
    tables.push(CardTable {
        title: "What the splits look at".to_owned(),
        head: texts(&["column", "share of the purity gained"]),
        rows: importance.collect(),
    });
    if fit.tried.len() > 1 {
        let tried = fit.tried.iter().map(|(way, loss)| vec![way.clone(), format!("{loss:.4}")]);
        tables.push(CardTable {
            title: "Ways tried, the chosen one first".to_owned(),
            head: texts(&["way", "log loss held out"]),
            rows: tried.collect(),
        });
    }
    tables
}
