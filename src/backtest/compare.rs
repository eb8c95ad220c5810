//! One recipe beside another: on the same samples, part by part.

use std::collections::BTreeMap;

use trimloop_core::plan::Plan;
use trimloop_core::record::Outcome;

use super::decided::Decided;
use super::report::{Comparison, LoopComparison, RecipeReport};

/// Differences between two loops of one name.
pub(super) struct Pair {
    own: usize,
    other: usize,
    report: LoopComparison,
    sum: f64,
    squares: f64,
}

/// Loops that both plans have, on setpoints of one unit.
pub(super) fn pairs(own: &Plan, other: &Plan) -> Vec<Pair> {
    let unit = |plan: &Plan, index: usize| {
        let setpoint = plan.loops.get(index).map(|l| l.setpoint.index());
        setpoint.and_then(|s| plan.setpoints.get(s)).map(|s| s.unit.clone()).unwrap_or_default()
    };
    let names = own.loops.iter().enumerate().filter_map(|(place, of_loop)| {
        let twin = other.loops.iter().position(|l| l.name == of_loop.name)?;
        (unit(own, place) == unit(other, twin)).then(|| Pair {
            own: place,
            other: twin,
            report: LoopComparison {
                name: of_loop.name.clone(),
                unit: unit(own, place),
                pairs: 0,
                would_write: [0; 4],
                wishes: 0,
                difference_mean: None,
                difference_deviation: None,
                difference_max: None,
            },
            sum: 0.0,
            squares: 0.0,
        })
    });
    names.collect()
}

impl Pair {
    /// Takes the decisions of one day in.
    pub(super) fn add(&mut self, own: &[Decided], other: &[Decided]) {
        let of = |all: &[Decided], place: usize| -> BTreeMap<i64, Decided> {
            let mine = all.iter().filter(|d| d.row.loop_id.index() == place);
            mine.map(|d| (d.row.part, *d)).collect()
        };
        let twins = of(other, self.other);
        for (part, decided) in of(own, self.own) {
            let Some(twin) = twins.get(&part) else { continue };
            let writes = |d: &Decided| d.row.outcome == Outcome::WouldWrite;
            let place = both_only_neither(writes(&decided), writes(twin));
            self.report.pairs += 1;
            if let Some(slot) = self.report.would_write.get_mut(place) {
                *slot += 1;
            }
            if let (Some(a), Some(b)) = (decided.row.desired, twin.row.desired) {
                let difference = a - b;
                self.report.wishes += 1;
                self.sum += difference;
                self.squares += difference * difference;
                let most = self.report.difference_max.unwrap_or(0.0).max(difference.abs());
                self.report.difference_max = Some(most);
            }
        }
    }

    fn report(mut self) -> LoopComparison {
        let n = self.report.wishes as f64;
        if n > 0.0 {
            let mean = self.sum / n;
            self.report.difference_mean = Some(mean);
            if n > 1.0 {
                let variance = (self.squares - n * mean * mean).max(0.0) / (n - 1.0);
                self.report.difference_deviation = Some(variance.sqrt());
            }
        }
        self.report
    }
}

fn both_only_neither(own: bool, other: bool) -> usize {
    match (own, other) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// Holds both results against each other.
pub(super) fn compare(own: &RecipeReport, other: &RecipeReport, pairs: Vec<Pair>) -> Comparison {
    let mut defects = [0; 4];
    let detected = |word: &str| ["early", "in_time"].contains(&word);
    for defect in &own.findings.list {
        let key = (&defect.characteristic, defect.part);
        let twin = other.findings.list.iter().find(|d| (&d.characteristic, d.part) == key);
        let Some(twin) = twin else { continue };
        let place = both_only_neither(detected(defect.detected), detected(twin.detected));
        if let Some(slot) = defects.get_mut(place) {
            *slot += 1;
        }
    }
    let mut days_alarms = [0; 3];
    for (a, b) in own.days.iter().zip(&other.days) {
        let place = match a.alarms.cmp(&b.alarms) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => 1,
            std::cmp::Ordering::Greater => 2,
        };
        if let Some(slot) = days_alarms.get_mut(place) {
            *slot += 1;
        }
    }
    let [_, only_own, only_other, _] = defects;
    Comparison {
        defects,
        defects_p: sign_test(only_own, only_other),
        days_alarms,
        loops: pairs.into_iter().map(Pair::report).collect(),
    }
}

/// Two-sided exact sign test: how likely a split at least this uneven is by chance.
fn sign_test(a: u64, b: u64) -> Option<f64> {
    let n = a + b;
    if n == 0 {
        return None;
    }
    // log2 of the binomial coefficients, so that a thousand pairs do not overflow.
    let (mut log, mut sum) = (-(n as f64), 0.0);
    for k in 0..=a.min(b) {
        if k > 0 {
            log += ((n - k + 1) as f64 / k as f64).log2();
        }
        sum += log.exp2();
    }
    Some((2.0 * sum).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::sign_test;

    /// Against values by hand: 2 (1 + 8) / 256 for 1 of 8, and a coin that fell once.
    #[test]
    fn the_sign_test_is_exact() {
        let near = |a, b, p: f64| (sign_test(a, b).unwrap() - p).abs() < 1e-12;
        assert!(near(1, 7, 0.0703125) && near(7, 1, 0.0703125));
        assert!(near(1, 0, 1.0) && near(5, 5, 1.0) && near(0, 5, 0.0625));
        assert_eq!(sign_test(0, 0), None);
    }
}
