//! Plots that show what a model is worth, for its card and report.

use super::card::{Mark, Plot, Series};

/// Most points of a line; more are thinned out.
const POINTS_MAX: usize = 600;

/// Points of a curve over all thresholds, from scores of rows and whether each row is positive:
/// `(threshold, true positives, false positives)`, threshold falling.
fn sweep(scores: &[(f64, bool)]) -> Vec<(f64, f64, f64)> {
    let mut sorted: Vec<(f64, bool)> =
        scores.iter().copied().filter(|(x, _)| x.is_finite()).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut misses) = (0.0, 0.0);
    let mut points = Vec::new();
    for (place, (score, positive)) in sorted.iter().enumerate() {
        if *positive {
            hits += 1.0;
        } else {
            misses += 1.0;
        }
        // Rows of equal score are on one side of every threshold.
        if sorted.get(place + 1).is_none_or(|(next, _)| next != score) {
            points.push((*score, hits, misses));
        }
    }
    points
}

/// Area under the ROC curve, 0.5 to 1 for a model that knows something; `None` with one class only.
#[must_use]
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let points = sweep(scores);
    let (_, hits, misses) = *points.last()?;
    if hits <= 0.0 || misses <= 0.0 {
        return None;
    }
    let mut area = 0.0;
    let mut before = (0.0, 0.0);
    for (_, hit, miss) in &points {
        area += (miss - before.1) * (hit + before.0) / 2.0;
        before = (*hit, *miss);
    }
    Some(area / (hits * misses))
}

/// ROC of scores against the truth, one line a name.
#[must_use]
pub fn roc(named: &[(String, Vec<(f64, bool)>)]) -> Plot {
    let line = |(name, scores): &(String, Vec<(f64, bool)>)| {
        let points = sweep(scores);
        let (_, hits, misses) = *points.last()?;
        let curve = points.iter().map(|(_, hit, miss)| (miss / misses, hit / hits));
        let points = std::iter::once((0.0, 0.0)).chain(curve).collect();
        let name = format!("{name} (area {:.3})", auc(scores)?);
        Some(series(name, points))
    };
    Plot {
        title: "ROC".to_owned(),
        x: "false positives, share".to_owned(),
        y: "true positives, share".to_owned(),
        series: named.iter().filter_map(line).collect(),
        levels: Vec::new(),
    }
}

/// Precision against recall, one line a name.
#[must_use]
pub fn precision_recall(named: &[(String, Vec<(f64, bool)>)]) -> Plot {
    let line = |(name, scores): &(String, Vec<(f64, bool)>)| {
        let points = sweep(scores);
        let (_, hits, _) = *points.last()?;
        let curve = points.iter().map(|(_, hit, miss)| (hit / hits, hit / (hit + miss)));
        (hits > 0.0).then(|| series(name.clone(), curve.collect()))
    };
    Plot {
        title: "Precision and recall".to_owned(),
        x: "recall".to_owned(),
        y: "precision".to_owned(),
        series: named.iter().filter_map(line).collect(),
        levels: Vec::new(),
    }
}

/// How often rows of a probability really were positive, in ten bins of equal width; bins with
/// fewer than five rows are left out.
#[must_use]
pub fn reliability(named: &[(String, Vec<(f64, bool)>)]) -> Plot {
    let line = |(name, scores): &(String, Vec<(f64, bool)>)| {
        let mut bins = [(0.0, 0.0, 0.0); 10];
        for (p, positive) in scores.iter().filter(|(p, _)| (0.0..=1.0).contains(p)) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
            let bin = ((p * 10.0) as usize).min(9);
            if let Some((n, sum, hits)) = bins.get_mut(bin) {
                *n += 1.0;
                *sum += p;
                *hits += f64::from(u8::from(*positive));
            }
        }
        let points = bins.iter().filter(|(n, _, _)| *n >= 5.0);
        series(name.clone(), points.map(|(n, sum, hits)| (sum / n, hits / n)).collect())
    };
    let mut series: Vec<Series> = named.iter().map(line).collect();
    series.push(Series {
        name: "as it should be".to_owned(),
        points: vec![(0.0, 0.0), (1.0, 1.0)],
        ..Series::default()
    });
    Plot {
        title: "Reliability".to_owned(),
        x: "probability said".to_owned(),
        y: "share found".to_owned(),
        series,
        levels: Vec::new(),
    }
}

/// A score over the rows with its limit.
#[must_use]
pub fn limit_chart(title: &str, name: &str, values: &[f64], limit: Option<f64>) -> Plot {
    let points = values.iter().enumerate().map(|(row, x)| ((row + 1) as f64, *x));
    let points = points.filter(|(_, x)| x.is_finite()).collect();
    Plot {
        title: title.to_owned(),
        x: "row".to_owned(),
        y: name.to_owned(),
        series: vec![series(name.to_owned(), points)],
        levels: limit.map(|x| ("limit".to_owned(), x)).into_iter().collect(),
    }
}

/// A bar for each name, largest first, at most twenty.
#[must_use]
pub fn bars(title: &str, unit: &str, mut values: Vec<(String, f64)>) -> Plot {
    values.retain(|(_, x)| x.is_finite());
    values.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then_with(|| a.0.cmp(&b.0)));
    values.truncate(20);
    let points = values.iter().enumerate().map(|(place, (_, x))| (place as f64, *x)).collect();
    let names = values.into_iter().map(|(name, _)| name).collect();
    let bars = Series { name: unit.to_owned(), mark: Mark::Bars, points, names };
    Plot {
        title: title.to_owned(),
        x: String::new(),
        y: unit.to_owned(),
        series: vec![bars],
        levels: Vec::new(),
    }
}

/// A line; of many points the largest of each stretch is kept, so that no peak is lost.
fn series(name: String, points: Vec<(f64, f64)>) -> Series {
    let stretch = points.len().div_ceil(POINTS_MAX).max(1);
    let highest = |part: &[(f64, f64)]| part.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let mut kept: Vec<(f64, f64)> = points.chunks(stretch).filter_map(highest).collect();
    if stretch > 1 {
        kept.extend(points.last());
    }
    Series { name, points: kept, ..Series::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Areas by hand: perfect, useless, and three of four pairs in order.
    #[test]
    fn areas_by_hand() {
        let scores = |text: &[(f64, bool)]| auc(text);
        assert_eq!(scores(&[(0.9, true), (0.1, false)]), Some(1.0));
        assert_eq!(scores(&[(0.5, true), (0.5, false)]), Some(0.5));
        let mixed = [(0.9, true), (0.6, false), (0.5, true), (0.1, false)];
        assert_eq!(scores(&mixed), Some(0.75));
        assert_eq!(scores(&[(0.5, true)]), None);
    }

    /// Precision and recall at each threshold; a peak survives thinning.
    #[test]
    fn curves() {
        let named = vec![("a".to_owned(), vec![(0.9, true), (0.6, false), (0.5, true)])];
        let plot = precision_recall(&named);
        assert_eq!(plot.series[0].points, [(0.5, 1.0), (0.5, 0.5), (1.0, 2.0 / 3.0)]);
        let mut values = vec![0.0; 5000];
        values[1234] = 9.0;
        let chart = limit_chart("t", "score", &values, Some(1.0));
        assert!(chart.series[0].points.len() <= POINTS_MAX + 1);
        assert!(chart.series[0].points.contains(&(1235.0, 9.0)));
    }
}
