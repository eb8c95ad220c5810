//! C0: moves by table.

use crate::plan::{RulesPlan, SetpointPlan};
use crate::unit::Ticks;
use crate::verdict::Signatures;

/// Where the table wants the setpoint that stands at `from`.
///
/// The first row whose signature is on decides: `from + move`. When none is on, the trim decays:
/// `from - decay * (from - baseline)`, at least one deadband and never past the baseline; a trim
/// smaller than the deadband stays.
pub fn rule_move(
    rules: &RulesPlan,
    limits: &SetpointPlan,
    signatures: &Signatures,
    from: Ticks,
) -> Ticks {
    for &(signature, by) in &rules.rows {
        if signatures.is_on(signature) {
            return from + by;
        }
    }
    let trim = (from - limits.baseline).count();
    let share = trim.abs().saturating_mul(i64::from(rules.decay_permille)) / 1000;
    let back =
        if rules.decay_permille == 0 { 0 } else { share.max(limits.deadband.count()).max(1) };
    if trim.abs() < back {
        return from;
    }
    Ticks::new(from.count() - back * trim.signum())
}
