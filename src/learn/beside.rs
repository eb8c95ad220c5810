//! Champion and challenger by what they said live, part by part, and what labels say of both.

use serde::Serialize;

use super::evaluate::{Estimate, estimate};

/// What a model said of a part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Share of the limit, or prediction; `None` = unknown.
    pub value: Option<f64>,
    /// Whether the model could be believed.
    pub inside: bool,
    /// Whether it was over its limit.
    pub alarm: bool,
}

/// A part that both looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The champion.
    pub champion: Said,
    /// The challenger.
    pub challenger: Said,
    /// What was measured of the part.
    pub label: Option<f64>,
}

/// How outcomes are judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Monitors: a part whose label is within these is normal, any other faulty. `None` takes no
    /// part for either.
    Monitor(Option<(f64, f64)>),
    /// Soft sensors: by the squared distance from the label.
    Sensor,
}

/// What one of them did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Deeds {
    /// Share of the parts that it could score, 0 to 1.
    pub scored: f64,
    /// Share of those in its domain.
    pub inside: f64,
    /// Parts over its limit.
    pub alarms: usize,
    /// Runs of such parts: what an operator would have been told.
    pub alarm_runs: usize,
    /// Mean loss of labelled parts; `None` without any.
    pub loss: Option<f64>,
}

/// How they compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Parts that both looked at.
    pub parts: usize,
    /// Parts with a label that both were judged on.
    pub labelled: usize,
    /// The champion.
    pub champion: Deeds,
    /// The challenger.
    pub challenger: Deeds,
    /// Of monitors the share of parts on which alarms agree, of sensors the mean distance of their
    /// predictions [unit of the label].
    pub agreement: Option<Estimate>,
    /// Loss of the challenger less that of the champion; `None` without labels.
    pub difference: Option<Estimate>,
}

/// Compares what was said.
///
/// - `pairs`: in the order of time, because intervals come from blocks of neighbours.
#[must_use]
pub fn compare(pairs: &[Pair], kind: Kind, seed: u64) -> Beside {
    let known = |pair: &&Pair| pair.champion.value.is_some() && pair.challenger.value.is_some();
    let agreement = |pair: &Pair| match (kind, pair.champion.value, pair.challenger.value) {
        (Kind::Monitor(_), _, _) => {
            f64::from(u8::from(pair.champion.alarm == pair.challenger.alarm))
        }
        (Kind::Sensor, Some(a), Some(b)) => (a - b).abs(),
        (Kind::Sensor, _, _) => f64::NAN,
    };
    let agreement: Vec<f64> = pairs.iter().filter(known).map(agreement).collect();
    let losses = |said: fn(&Pair) -> Said| -> Vec<f64> {
        let loss = |pair: &Pair| loss(said(pair), pair.label, kind).unwrap_or(f64::NAN);
        pairs.iter().map(loss).collect()
    };
    let (a, b) = (losses(|pair| pair.champion), losses(|pair| pair.challenger));
    // Only parts that both are judged on: a model that is silent on the hard ones gains nothing.
    let both: Vec<(f64, f64)> = a.into_iter().zip(b).collect();
    let differences: Vec<f64> = both.iter().map(|(a, b)| b - a).collect();
    let judged: Vec<&(f64, f64)> = both.iter().filter(|(a, b)| (a + b).is_finite()).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| {
        let sum: f64 = judged.iter().map(|pair| of(pair)).sum();
        (!judged.is_empty()).then(|| sum / count(judged.len()))
    };
    Beside {
        parts: pairs.len(),
        labelled: judged.len(),
        champion: Deeds { loss: mean(|pair| pair.0), ..deeds(pairs, |pair| pair.champion) },
        challenger: Deeds { loss: mean(|pair| pair.1), ..deeds(pairs, |pair| pair.challenger) },
        agreement: estimate(&agreement, seed),
        difference: estimate(&differences, seed),
    }
}

fn loss(said: Said, label: Option<f64>, kind: Kind) -> Option<f64> {
    let (value, label) = (said.value?, label?);
    match kind {
        Kind::Sensor => Some((value - label).powi(2)),
        Kind::Monitor(good) => {
            let (low, high) = good?;
            let faulty = label < low || label > high;
            Some(f64::from(u8::from(said.alarm != faulty)))
        }
    }
}

fn deeds(pairs: &[Pair], said: fn(&Pair) -> Said) -> Deeds {
    let all = || pairs.iter().map(said);
    let scored = all().filter(|said| said.value.is_some()).count();
    let inside = all().filter(|said| said.value.is_some() && said.inside).count();
    let mut before = false;
    let begins = |said: Said| {
        // Silence neither ends an alarm nor begins one.
        let now = if said.value.is_some() { said.alarm } else { before };
        let begins = now && !before;
        before = now;
        begins
    };
    let alarm_runs = all().map(begins).filter(|begins| *begins).count();
    Deeds {
        scored: count(scored) / count(pairs.len().max(1)),
        inside: count(inside) / count(scored.max(1)),
        alarms: all().filter(|said| said.alarm).count(),
        alarm_runs,
        loss: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 parts")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: f64, alarm: bool) -> Said {
        let value = value.is_finite().then_some(value);
        Said { value, inside: !alarm, alarm }
    }

    /// Alarms, runs of them, agreement and outcomes by hand; silence counts for neither.
    #[test]
    fn monitors_by_hand() {
        let u = f64::NAN;
        let rows = [
            // champion, challenger, label: normal is 9 to 11.
            (0.5, 0.5, 10.0),
            (1.5, 0.5, 10.0),
            (1.5, 1.5, 12.0),
            (u, 1.5, 12.0),
            (1.5, 1.5, u),
            (0.5, 0.5, u),
            (1.5, 0.5, 12.0),
        ];
        let pair = |(a, b, label): (f64, f64, f64)| Pair {
            champion: said(a, a > 1.0),
            challenger: said(b, b > 1.0),
            label: label.is_finite().then_some(label),
        };
        let pairs = rows.map(pair);
        let found = compare(&pairs, Kind::Monitor(Some((9.0, 11.0))), 1);
        assert_eq!((found.parts, found.labelled), (7, 4));
        assert_eq!((found.champion.alarms, found.champion.alarm_runs), (4, 2));
        assert_eq!((found.challenger.alarms, found.challenger.alarm_runs), (3, 1));
        assert_eq!(found.champion.scored, 6.0 / 7.0);
        assert_eq!(found.champion.inside, 2.0 / 6.0);
        // Champion: right, false alarm, right, right. Challenger: right, right, right, missed.
        assert_eq!((found.champion.loss, found.challenger.loss), (Some(0.25), Some(0.25)));
        let agreement = found.agreement.unwrap();
        assert_eq!((agreement.rows, agreement.mean), (6, 4.0 / 6.0));
        assert_eq!(found.difference.unwrap().rows, 4);
        // Without limits for labels nothing is judged.
        let found = compare(&pairs, Kind::Monitor(None), 1);
        assert_eq!((found.labelled, found.difference), (0, None));
    }

    /// The better of two sensors is told from the other, with an interval that says so.
    #[test]
    fn sensors_by_labels() {
        let pair = |row: u32| {
            let label = f64::from(row % 7);
            let off = |by: f64| said(label + if row.is_multiple_of(2) { by } else { -by }, false);
            let label = row.is_multiple_of(3).then_some(label);
            Pair { champion: off(0.5), challenger: off(0.2), label }
        };
        let pairs: Vec<Pair> = (0..600).map(pair).collect();
        let found = compare(&pairs, Kind::Sensor, 1);
        assert_eq!(found.labelled, 200);
        let agreement = found.agreement.unwrap();
        assert!((agreement.mean - 0.3).abs() < 1e-9);
        let difference = found.difference.unwrap();
        assert!((difference.mean + 0.21).abs() < 1e-9 && difference.high < 0.0, "{difference:?}");
    }
}
