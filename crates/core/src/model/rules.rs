//! Run rules of a Shewhart chart on standardised one-step residuals (Nelson 1984; Western
//! Electric 1956): what one value may not show, several in a row may.
//!
//! Every rule has a number of values that must agree. Its share is the number that agree now over
//! one less than needed, so that a chart signals where any share is above 1, as the other charts
//! do. The share of the first rule is the residual over 3.

use crate::plan::Rules;

/// Agreeing values kept in mind, one bit each; the longest rule looks at 15.
type Window = u32;

/// What the last values were like, newest in bit 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RuleState {
    /// Values seen, up to 15.
    seen: u32,
    last: f64,
    above: Window,
    below: Window,
    above_1: Window,
    below_1: Window,
    above_2: Window,
    below_2: Window,
    up: Window,
    down: Window,
}

impl RuleState {
    /// Takes a residual [standard deviations]; share of the limit of the rule nearest to its own.
    pub(super) fn take(&mut self, rules: Rules, residual: f64) -> f64 {
        let push = |window: &mut Window, is: bool| *window = (*window << 1) | Window::from(is);
        push(&mut self.above, residual > 0.0);
        push(&mut self.below, residual < 0.0);
        push(&mut self.above_1, residual > 1.0);
        push(&mut self.below_1, residual < -1.0);
        push(&mut self.above_2, residual > 2.0);
        push(&mut self.below_2, residual < -2.0);
        // The first value of all follows nothing.
        push(&mut self.up, self.seen > 0 && residual > self.last);
        push(&mut self.down, self.seen > 0 && residual < self.last);
        self.seen = self.seen.saturating_add(1).min(15);
        self.last = residual;
        let mut share = libm::fabs(residual) / 3.0;
        for rule in numbers(rules) {
            share = share.max(self.share(*rule));
        }
        share
    }

    fn share(&self, rule: Rule) -> f64 {
        let either = |high: f64, low: f64| high.max(low);
        match rule {
            Rule::OneSide(need) => either(run(self.above, need), run(self.below, need)),
            // Six values that rise are five steps up.
            Rule::Trend => either(run(self.up, 5), run(self.down, 5)),
            Rule::Alternating => self.alternating(),
            Rule::TwoOfThree => either(among(self.above_2, 3, 2), among(self.below_2, 3, 2)),
            Rule::FourOfFive => either(among(self.above_1, 5, 4), among(self.below_1, 5, 4)),
            Rule::Within => run(!(self.above_1 | self.below_1) & mask(self.seen), 15),
            Rule::Beyond => run(self.above_1 | self.below_1, 8),
        }
    }

    /// Fourteen values are thirteen steps, each in the other direction than the one before.
    fn alternating(&self) -> f64 {
        let turns = (self.up & (self.down >> 1)) | (self.down & (self.up >> 1));
        let steps = f64::from(turns.trailing_ones().min(12)) + 1.0;
        let any = (self.up | self.down) & 1 == 1;
        // Steps and one more are values; 13 of them reach the limit, 14 pass it.
        if any { (steps + 1.0) / 13.0 } else { 0.0 }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    /// So many in a row on one side of the mean.
    OneSide(u32),
    /// 6 in a row rise or fall.
    Trend,
    /// 14 in a row go up and down in turn.
    Alternating,
    /// 2 of 3 beyond 2 on one side.
    TwoOfThree,
    /// 4 of 5 beyond 1 on one side.
    FourOfFive,
    /// 15 in a row within 1.
    Within,
    /// 8 in a row beyond 1, on either side.
    Beyond,
}

/// The rules besides the first.
fn numbers(rules: Rules) -> &'static [Rule] {
    match rules {
        Rules::Shewhart => &[],
        Rules::WesternElectric => &[Rule::TwoOfThree, Rule::FourOfFive, Rule::OneSide(8)],
        Rules::Standard => &[Rule::OneSide(9), Rule::TwoOfThree, Rule::FourOfFive],
        Rules::Nelson => &[
            Rule::OneSide(9),
            Rule::Trend,
            Rule::Alternating,
            Rule::TwoOfThree,
            Rule::FourOfFive,
            Rule::Within,
            Rule::Beyond,
        ],
    }
}

fn mask(values: u32) -> Window {
    (1 << values) - 1
}

/// Newest values in a row that agree, over one less than needed.
fn run(window: Window, need: u32) -> f64 {
    f64::from(window.trailing_ones().min(need)) / f64::from(need - 1)
}

/// The same among the newest `of`; the newest itself must agree, so that a signal ends with it.
fn among(window: Window, of: u32, need: u32) -> f64 {
    let count = (window & mask(of)).count_ones() * (window & 1);
    f64::from(count.min(need)) / f64::from(need - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::Noise;
    use Rules::{Nelson, Shewhart, Standard, WesternElectric};

    /// Position, from 1, of the first signal in these residuals.
    fn signal(rules: Rules, residuals: &[f64]) -> Option<usize> {
        let mut state = RuleState::default();
        residuals.iter().position(|x| state.take(rules, *x) > 1.0).map(|at| at + 1)
    }

    /// Each rule signals with the value that completes it, not before, and only in its set.
    #[test]
    fn each_rule_by_hand() {
        let rising = [-0.9, -0.6, -0.3, 0.1, 0.4, 0.7];
        let alternating: [f64; 14] = core::array::from_fn(|i| if i % 2 == 0 { 0.5 } else { -0.5 });
        let beyond: [f64; 8] = core::array::from_fn(|i| if i % 2 == 0 { 1.5 } else { -1.5 });
        // Within 1, with no trend, no side and no alternation that lasts.
        let within =
            [0.2, 0.4, -0.3, -0.1, 0.3, 0.1, -0.2, 0.6, 0.7, -0.6, -0.4, 0.5, 0.2, -0.1, 0.1];
        let rows: [(&[f64], [Option<usize>; 4]); 8] = [
            (&[2.9, -3.1], [Some(2), Some(2), Some(2), Some(2)]),
            (&[0.5; 9], [None, Some(8), Some(9), Some(9)]),
            (&rising, [None, None, None, Some(6)]),
            (&alternating, [None, None, None, Some(14)]),
            (&[2.1, 0.0, 2.2], [None, Some(3), Some(3), Some(3)]),
            (&[-1.1, -1.2, 0.3, -1.3, -1.4], [None, Some(5), Some(5), Some(5)]),
            (&within, [None, None, None, Some(15)]),
            (&beyond, [None, None, None, Some(8)]),
        ];
        for (residuals, expect) in rows {
            let sets = [Shewhart, WesternElectric, Standard, Nelson];
            assert_eq!(sets.map(|rules| signal(rules, residuals)), expect, "{residuals:?}");
        }
        // Two beyond 2 on different sides are not two of three.
        assert_eq!(signal(Nelson, &[2.1, -2.1, 0.1]), None);
    }

    /// Run lengths in control of `methods.md` section 2.
    #[test]
    fn run_lengths() {
        let rows = [(Shewhart, 370.0), (WesternElectric, 92.0), (Nelson, 75.0)];
        for (rules, expect) in rows {
            let mut noise = Noise::new(21);
            let (mut values, runs) = (0_u32, 2000);
            for _ in 0..runs {
                let mut state = RuleState::default();
                loop {
                    values += 1;
                    if state.take(rules, noise.normal()) > 1.0 {
                        break;
                    }
                }
            }
            let found = f64::from(values) / f64::from(runs);
            assert!(libm::fabs(found / expect - 1.0) < 0.1, "{rules:?}: {found} for {expect}");
        }
    }
}
