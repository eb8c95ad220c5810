//! Monitors: has the process left normal operation?

use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Domain, Input, Scorer, top_columns};
use super::plan::CoreModel;
use crate::export::{Cell, Column, Kind};

#[cfg(feature = "train")]
pub(super) use fit::train;

/// Scores with a monitor, dynamic or of principal components.
#[derive(Debug)]
pub struct MonitorScorer {
    model: CoreModel,
    alarm: bool,
}

impl MonitorScorer {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        Ok(Self { model: CoreModel::new(artifact)?, alarm: false })
    }
}

impl Scorer for MonitorScorer {
    fn inputs(&self) -> &[Input] {
        self.model.inputs()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::new("alarm", Kind::Int)];
        let numbers = ["score", "threshold", "t2", "spe"];
        columns.extend(numbers.map(|name| Column::new(name, Kind::Number)));
        columns.push(Column::new("domain", Kind::Text));
        columns.extend(top_columns(self.inputs().len()));
        columns
    }

    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain {
        let score = self.model.score(inputs);
        let domain = Domain::of(&score);
        // A row that nothing is known of neither raises an alarm nor ends one.
        if score.known {
            self.alarm = score.alarm;
        }
        let number = |x: f64| if score.known { Cell::Float(x) } else { Cell::Null };
        cells.push(Cell::Int(i64::from(self.alarm)));
        // The score is a share of its limit, so its threshold is 1.
        cells.extend([number(score.value), Cell::Float(1.0), number(score.t2), number(score.spe)]);
        cells.push(domain.cell());
        self.model.push_top(cells);
        domain
    }

    fn restart(&mut self) {
        self.model.restart();
        self.alarm = false;
    }
}

#[cfg(feature = "train")]
mod fit;
