//! Platt scaling on held-out votes, and how reliable the result is.

use trimloop_core::plan::ForestPlan;

/// As the scorer keeps votes away from 0 and 1.
const FLOOR: f64 = 1e-3;

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reliability {
    /// Mean of the probabilities in the bin, 0 to 1.
    pub said: f64,
    /// Share of them that came true, 0 to 1.
    pub came: f64,
    /// How many there are.
    pub rows: usize,
}

/// Slope and biases of the log-odds from held-out votes.
///
/// - `votes`: `[n][k]`; with `k = 1` that of the second of two classes.
pub(super) fn fit(votes: &[Vec<f64>], labels: &[u16], k: usize) -> (f64, Vec<f64>) {
    if k == 1 {
        return platt(votes, labels);
    }
    let log = |votes: &Vec<f64>| votes.iter().map(|p| libm::log(p.max(0.0) + FLOOR)).collect();
    let logs: Vec<Vec<f64>> = votes.iter().map(log).collect();
    (temperature(&logs, labels), vec![0.0; k])
}

fn platt(votes: &[Vec<f64>], labels: &[u16]) -> (f64, Vec<f64>) {
    let vote = |vote: &Vec<f64>| log_odds(vote.first().copied().unwrap_or(0.5));
    let odds: Vec<f64> = votes.iter().map(vote).collect();
    let (slope, bias) = platt_of(&odds, labels);
    (slope, vec![bias])
}

/// Platt's two parameters with his smoothed targets, by Newton's method on the log loss.
///
/// - `odds`: `[n]` log-odds of the second of two classes, from rows that were held out.
pub(crate) fn platt_of(odds: &[f64], labels: &[u16]) -> (f64, f64) {
    let some = labels.iter().filter(|label| **label == 1).count() as f64;
    let none = labels.len() as f64 - some;
    let target = |label: u16| {
        if label == 1 { (some + 1.0) / (some + 2.0) } else { 1.0 / (none + 2.0) }
    };
    let points: Vec<(f64, f64)> =
        odds.iter().zip(labels).map(|(x, label)| (*x, target(*label))).collect();
    let (mut slope, mut bias) = (1.0, 0.0);
    for _ in 0..50 {
        let (mut g, mut h) = ([0.0; 2], [1e-6, 0.0, 1e-6]);
        for (x, t) in &points {
            let p = 1.0 / (1.0 + libm::exp(-(slope * x + bias)));
            let (off, w) = (p - t, (p * (1.0 - p)).max(1e-9));
            g[0] += off * x;
            g[1] += off;
            h[0] += w * x * x;
            h[1] += w * x;
            h[2] += w;
        }
        let det = h[0] * h[2] - h[1] * h[1];
        if det <= 0.0 {
            break;
        }
        let step = [(h[2] * g[0] - h[1] * g[1]) / det, (h[0] * g[1] - h[1] * g[0]) / det];
        slope -= step[0].clamp(-1.0, 1.0);
        bias -= step[1].clamp(-2.0, 2.0);
        if step[0].abs() + step[1].abs() < 1e-10 {
            break;
        }
    }
    // Votes that say nothing would turn the order of probabilities round.
    if slope > 0.02 && slope.is_finite() && bias.is_finite() {
        (slope, bias)
    } else {
        (0.02, log_odds(some / (some + none)))
    }
}

/// One slope for all classes (temperature): it never changes which class is the best.
///
/// - `logits`: `[n][c]`, of rows that were held out, no more than 0 or so.
pub(crate) fn temperature(logits: &[Vec<f64>], labels: &[u16]) -> f64 {
    let loss = |log_slope: f64| {
        let slope = libm::exp(log_slope);
        logits.iter().zip(labels).map(|(x, y)| softmax_loss(x, *y, slope)).sum::<f64>()
    };
    // Golden section: the loss has one valley in the slope.
    let ratio = (libm::sqrt(5.0) - 1.0) / 2.0;
    let (mut low, mut high) = (libm::log(0.1), libm::log(10.0));
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (loss(a), loss(b));
    for _ in 0..32 {
        if fa <= fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = loss(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = loss(b);
        }
    }
    libm::exp(f64::midpoint(low, high))
}

/// -ln of the probability that so many log-odds give to a class.
pub(crate) fn softmax_loss(logits: &[f64], label: u16, slope: f64) -> f64 {
    let z = |x: &f64| slope * x;
    let sum: f64 = logits.iter().map(|x| libm::exp(z(x))).sum();
    libm::log(sum) - logits.get(usize::from(label)).map_or(0.0, z)
}

fn log_odds(p: f64) -> f64 {
    let p = p.clamp(FLOOR, 1.0 - FLOOR);
    libm::log(p / (1.0 - p))
}

/// Calibrated probabilities of held-out votes, `[c]`, as the scorer gives them.
pub(super) fn probabilities(votes: &[f64], slope: f64, bias: &[f64]) -> Vec<f64> {
    if let ([p], [bias]) = (votes, bias) {
        let p = 1.0 / (1.0 + libm::exp(-(slope * log_odds(*p) + bias)));
        return vec![1.0 - p, p];
    }
    let z: Vec<f64> = votes
        .iter()
        .zip(bias)
        .map(|(p, bias)| libm::exp(slope * libm::log(p.max(0.0) + FLOOR) + bias))
        .collect();
    let sum: f64 = z.iter().sum();
    z.iter().map(|z| z / sum).collect()
}

/// Mean votes of held-out rows by class, `[c][c]`, each above 0: Laplace's rule, one more vote for
/// each class, keeps what never came from being impossible.
///
/// - `votes`: `[n][k]`; with `k = 1` that of the second of two classes.
pub(super) fn likeness(votes: &[Vec<f64>], labels: &[u16], classes: usize) -> Vec<f64> {
    let mut sums = vec![1.0; classes * classes];
    let mut rows = vec![classes as f64; classes];
    for (votes, label) in votes.iter().zip(labels) {
        let class = usize::from(*label);
        rows[class] += 1.0;
        let sums = &mut sums[class * classes..(class + 1) * classes];
        if let ([some], [sum_none, sum_some]) = (votes.as_slice(), &mut *sums) {
            *sum_none += 1.0 - some;
            *sum_some += some;
        } else {
            for (sum, vote) in sums.iter_mut().zip(votes) {
                *sum += vote;
            }
        }
    }
    sums.chunks_exact(classes)
        .zip(rows)
        .flat_map(|(sums, rows)| sums.iter().map(move |sum| sum / rows))
        .collect()
}

/// Ten bins over the probabilities of a class, or of the best class where there are many.
pub(super) fn reliability(said: impl Iterator<Item = (f64, bool)>) -> Vec<Reliability> {
    let mut bins = [(0.0, 0.0, 0_usize); 10];
    for (p, came) in said {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 9")]
        let bin = ((p * 10.0) as usize).min(9);
        bins[bin].0 += p;
        bins[bin].1 += f64::from(u8::from(came));
        bins[bin].2 += 1;
    }
    let full = bins.iter().filter(|(_, _, rows)| *rows > 0);
    full.map(|(said, came, rows)| Reliability {
        said: said / *rows as f64,
        came: came / *rows as f64,
        rows: *rows,
    })
    .collect()
}

/// Puts a calibration into a plan.
pub(super) fn apply(plan: &mut ForestPlan, slope: f64, bias: Vec<f64>) {
    plan.slope = slope;
    plan.bias = bias;
}
