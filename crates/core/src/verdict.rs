//! Defect signatures: clauses with hysteresis, joined, held for n of m parts.
//!
//! A clause becomes true beyond `on`, false on the near side of `off`, and between them stays
//! what it was. A part is true, false, or *undecided* when an unknown value leaves the join open;
//! an undecided part is not counted, so nothing turns on or off by silence.
//!
//! ```text
//! off --need of the last `of` decided parts are true--> on
//! off <--need of them are false, fewer than need true-- on
//! ```

use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::model::Models;
use crate::plan::{Clause, N_OF_M_MAX, Plan, SignatureId, SignaturePlan};

/// What a signature says now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Which signature.
    pub signature: SignatureId,
    /// Whether the defect is seen.
    pub on: bool,
    /// Parts in a row for which it has been on, undecided ones included; 0 when off.
    pub parts_on: u32,
    /// The clause furthest beyond its limit, of those that are true; kept over parts in which
    /// every clause is unknown. `None` when no clause is true.
    ///
    /// Distance is counted in hysteresis widths (`on - off`), which are sized by noise and so
    /// compare across units; without hysteresis, relative to `on`.
    pub strongest: Option<usize>,
    /// Value of that clause's source in this part; `None` when it is unknown.
    pub value: Option<f64>,
}

/// State of every signature of a plan.
#[derive(Clone, Debug)]
pub struct Signatures {
    states: Vec<State>,
}

#[derive(Clone, Debug)]
struct State {
    /// `[clauses]` with their hysteresis.
    clauses: Vec<bool>,
    window: Window,
    on: bool,
    parts_on: u32,
    strongest: Option<usize>,
    value: Option<f64>,
}

/// The last decided parts, newest in bit 0.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    bits: u32,
    filled: u32,
}

impl Window {
    fn push(&mut self, truth: bool, of: u32) {
        let mask = u32::MAX >> (u32::BITS - of);
        self.bits = ((self.bits << 1) | u32::from(truth)) & mask;
        self.filled = (self.filled + 1).min(of);
    }

    fn trues(self) -> u32 {
        self.bits.count_ones()
    }

    fn falses(self) -> u32 {
        self.filled - self.trues()
    }
}

impl Signatures {
    /// Allocates everything; every signature is off.
    pub fn new(plan: &Plan) -> Self {
        let states = plan.signatures.iter().map(|signature| State {
            clauses: alloc::vec![false; signature.clauses.len()],
            window: Window::default(),
            on: false,
            parts_on: 0,
            strongest: None,
            value: None,
        });
        Self { states: states.collect() }
    }

    /// Evaluates every signature for one part, after [`Models::score`] of the same part.
    ///
    /// - `features`: the part's features, indexed by [`FeatureId`](crate::plan::FeatureId).
    pub fn observe(&mut self, plan: &Plan, features: &[FeatureValue], models: &Models) {
        for (signature, state) in plan.signatures.iter().zip(&mut self.states) {
            state.observe(signature, features, models);
        }
    }

    /// Whether the signature is on; false for one that the plan does not have.
    pub fn is_on(&self, signature: SignatureId) -> bool {
        self.states.get(signature.index()).is_some_and(|state| state.on)
    }

    /// Everything about one signature; `None` when the plan has no such signature.
    pub fn verdict(&self, signature: SignatureId) -> Option<Verdict> {
        let state = self.states.get(signature.index())?;
        Some(Verdict {
            signature,
            on: state.on,
            parts_on: state.parts_on,
            strongest: state.strongest,
            value: state.value,
        })
    }
}

impl State {
    fn observe(&mut self, plan: &SignaturePlan, features: &[FeatureValue], models: &Models) {
        if let Some(truth) = self.join(plan, features, models) {
            let of = u32::from(plan.of.clamp(1, N_OF_M_MAX));
            let need = u32::from(plan.need).clamp(1, of);
            self.window.push(truth, of);
            if self.window.trues() >= need {
                self.on = true;
            } else if self.window.falses() >= need {
                self.on = false;
            }
        }
        self.parts_on = if self.on { self.parts_on.saturating_add(1) } else { 0 };
    }

    /// Truth of this part in three-valued logic; `None` when an unknown value leaves it open.
    fn join(
        &mut self,
        plan: &SignaturePlan,
        features: &[FeatureValue],
        models: &Models,
    ) -> Option<bool> {
        let (mut trues, mut falses, mut unknowns) = (0, 0, 0);
        let mut best: Option<(usize, f64, f64)> = None;
        for (index, (clause, state)) in plan.clauses.iter().zip(&mut self.clauses).enumerate() {
            let Some(value) = models.source(features, clause.source) else {
                unknowns += 1;
                continue;
            };
            *state = holds(clause, value, *state);
            if *state {
                trues += 1;
                let strength = strength(clause, value);
                if best.is_none_or(|(_, _, held)| strength > held) {
                    best = Some((index, value, strength));
                }
            } else {
                falses += 1;
            }
        }
        if let Some((index, value, _)) = best {
            self.strongest = Some(index);
            self.value = Some(value);
        } else {
            self.value = None;
            if falses > 0 || unknowns == 0 {
                self.strongest = None;
            }
        }
        // One clause decides an `any` by being true, an `all` by being false.
        let decided = if plan.all { falses > 0 } else { trues > 0 };
        let nothing_known = trues + falses == 0;
        if decided {
            Some(!plan.all)
        } else if unknowns > 0 || nothing_known {
            None
        } else {
            Some(plan.all)
        }
    }
}

/// The clause's truth for a known value.
fn holds(clause: &Clause, value: f64, was: bool) -> bool {
    let (beyond, back) = if clause.above {
        (value > clause.on, value < clause.off)
    } else {
        (value < clause.on, value > clause.off)
    };
    beyond || (was && !back)
}

/// How far a value is beyond `off`: 1 at `on`.
fn strength(clause: &Clause, value: f64) -> f64 {
    let side = if clause.above { 1.0 } else { -1.0 };
    let width = side * (clause.on - clause.off);
    if width > 0.0 {
        side * (value - clause.off) / width
    } else {
        1.0 + side * (value - clause.on) / libm::fabs(clause.on).max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{plan_of, unknown, value};
    use crate::plan::{FeatureId, Source};
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    const ID: SignatureId = SignatureId(0);

    fn clause(feature: u16, above: bool, on: f64, off: f64) -> Clause {
        Clause { source: Source::Feature(FeatureId(feature)), above, on, off }
    }

    fn plan(clauses: Vec<Clause>, all: bool, need: u8, of: u8) -> Plan {
        let mut plan = plan_of(Vec::new());
        let name = String::from("short shot");
        plan.signatures = vec![SignaturePlan { name, clauses, all, need, of }];
        plan
    }

    fn feature(x: Option<f64>) -> FeatureValue {
        x.map_or(unknown(), value)
    }

    /// Feeds parts of two features; `expect` is one letter a part: `#` on, `.` off.
    fn check(plan: &Plan, parts: &[(Option<f64>, Option<f64>)], expect: &str) {
        let mut signatures = Signatures::new(plan);
        let models = Models::new(plan);
        let mut found = String::new();
        let mut run = 0;
        for (a, b) in parts {
            signatures.observe(plan, &[feature(*a), feature(*b)], &models);
            let verdict = signatures.verdict(ID).unwrap();
            assert_eq!(signatures.is_on(ID), verdict.on);
            run = if verdict.on { run + 1 } else { 0 };
            assert_eq!(verdict.parts_on, run);
            found.push(if verdict.on { '#' } else { '.' });
        }
        assert_eq!(found, expect);
    }

    fn one(values: &[f64]) -> Vec<(Option<f64>, Option<f64>)> {
        // NaN stands for unknown.
        values.iter().map(|x| (x.is_finite().then_some(*x), None)).collect()
    }

    const U: f64 = f64::NAN;

    /// Hysteresis of one clause, part by part, above and below.
    #[test]
    fn hysteresis() {
        let above = plan(vec![clause(0, true, 10.0, 8.0)], true, 1, 1);
        // At the limit is not beyond it; between the limits nothing changes; unknown holds.
        check(&above, &one(&[9.0, 10.0, 10.1, 9.0, 8.0, U, 7.9, 9.0, U, 11.0]), "..####...#");
        let below = plan(vec![clause(0, false, -2.0, -1.0)], true, 1, 1);
        check(&below, &one(&[-1.5, -2.0, -2.1, -1.5, -1.0, U, -0.9, -1.5, U, -3.0]), "..####...#");
        let without = plan(vec![clause(0, true, 10.0, 10.0)], true, 1, 1);
        check(&without, &one(&[10.0, 10.1, 10.0, 9.9]), ".##.");
    }

    /// n of m, on and off; unknown parts are not counted.
    #[test]
    fn n_of_m() {
        let three = plan(vec![clause(0, true, 1.0, 1.0)], true, 3, 5);
        check(&three, &one(&[2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]), "....#....");
        check(&three, &one(&[2.0, 2.0, U, U, U, U, U, 2.0]), ".......#");
        check(&three, &one(&[2.0, 2.0, 2.0, U, U, U, U, U, U, 0.0, 0.0, 0.0]), "..#########.");
        // Two true parts that have left the window do not help a third.
        check(&three, &one(&[2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]), "........#");
        // The longest window, and a need that both sides can reach: on wins.
        let long = plan(vec![clause(0, true, 1.0, 1.0)], true, 32, 32);
        check(&long, &one(&[2.0; 33]), "...............................##");
        let both = plan(vec![clause(0, true, 1.0, 1.0)], true, 1, 3);
        check(&both, &one(&[2.0, 0.0, 0.0, 0.0]), "###.");
        // Out-of-range counts are read as the nearest that make sense.
        let odd = plan(vec![clause(0, true, 1.0, 1.0)], true, 200, 0);
        check(&odd, &one(&[2.0, 0.0]), "#.");
    }

    /// Joins in three-valued logic.
    #[test]
    fn joins() {
        let clauses = vec![clause(0, true, 1.0, 1.0), clause(1, true, 1.0, 1.0)];
        let (t, f) = (Some(2.0), Some(0.0));
        let all = plan(clauses.clone(), true, 1, 1);
        let parts = [(t, t), (t, None), (None, None), (f, None), (t, None), (t, t), (None, f)];
        check(&all, &parts, "###..#.");
        let any = plan(clauses, false, 1, 1);
        let parts = [(f, f), (t, None), (f, None), (None, None), (f, f), (None, f), (None, t)];
        check(&any, &parts, ".###..#");
        check(&plan(Vec::new(), true, 1, 1), &[(t, t)], ".");
    }

    /// The strongest clause is named with its value, and kept while everything is unknown.
    #[test]
    fn strongest() {
        let plan = plan(vec![clause(0, true, 10.0, 8.0), clause(1, false, 1.0, 1.5)], false, 1, 1);
        let models = Models::new(&plan);
        let mut signatures = Signatures::new(&plan);
        let mut see = |a: Option<f64>, b: Option<f64>| {
            signatures.observe(&plan, &[feature(a), feature(b)], &models);
            let verdict = signatures.verdict(ID).unwrap();
            (verdict.strongest, verdict.value)
        };
        assert_eq!(see(Some(9.0), Some(2.0)), (None, None));
        // 2 widths beyond `off` against 3.
        assert_eq!(see(Some(12.0), Some(0.0)), (Some(1), Some(0.0)));
        assert_eq!(see(Some(20.0), Some(0.0)), (Some(0), Some(20.0)));
        assert_eq!(see(None, None), (Some(0), None));
        assert_eq!(see(Some(0.0), None), (None, None));
        assert_eq!(signatures.verdict(SignatureId(1)), None);
    }

    proptest! {
        /// Against a plain model that keeps every part: whatever the values, `on` follows n of m.
        #[test]
        fn follows_n_of_m(
            values in proptest::collection::vec(proptest::option::of(-3.0..3.0_f64), 0..120),
            need in 1_u8..=32,
            of in 1_u8..=32,
        ) {
            let need = need.min(of);
            let plan = plan(vec![clause(0, true, 1.0, -1.0)], true, need, of);
            let models = Models::new(&plan);
            let mut signatures = Signatures::new(&plan);
            let (mut clause_on, mut on, mut history) = (false, false, Vec::new());
            for x in values {
                signatures.observe(&plan, &[feature(x)], &models);
                if let Some(x) = x {
                    clause_on = if x > 1.0 { true } else if x < -1.0 { false } else { clause_on };
                    history.push(clause_on);
                    let last: Vec<_> = history.iter().rev().take(of.into()).collect();
                    let trues = last.iter().filter(|truth| ***truth).count();
                    let need = usize::from(need);
                    if trues >= need {
                        on = true;
                    } else if last.len() - trues >= need {
                        on = false;
                    }
                }
                prop_assert_eq!(signatures.is_on(ID), on);
            }
        }
    }
}
