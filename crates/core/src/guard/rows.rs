//! Check 15: joint limits over several setpoints.

use super::Intent;
use crate::plan::{Plan, RowPlan, SetpointId};
use crate::unit::{Stand, Ticks};

/// Whether `sum(weight * ticks) <= max` for every row this setpoint is in, whatever the other
/// setpoints' pending writes come to. A return move may pass when it lowers the sum.
pub(super) fn hold(
    plan: &Plan,
    setpoint: SetpointId,
    intent: Intent,
    from: Stand,
    to: Ticks,
    registers: &[Option<(Ticks, Ticks)>],
) -> bool {
    plan.rows.iter().all(|row| {
        let Some(&(_, own)) = row.weights.iter().find(|(s, _)| *s == setpoint) else {
            return true;
        };
        let worst = if own < 0 { from.high() } else { from.low() };
        let change = i128::from(own) * i128::from((to - worst).count());
        if intent == Intent::Return && change <= 0 {
            return true;
        }
        sum(row, setpoint, own, to, registers).is_some_and(|sum| sum <= i128::from(row.max))
    })
}

/// The least room that a move leaves in any row of this setpoint: `(sum, max)` of that row;
/// `None` when it is in no row, or another setpoint of one is unknown.
pub(crate) fn room(
    plan: &Plan,
    setpoint: SetpointId,
    to: Ticks,
    registers: &[Option<(Ticks, Ticks)>],
) -> Option<(i128, i128)> {
    let mut least: Option<(i128, i128)> = None;
    for row in &plan.rows {
        let Some(&(_, own)) = row.weights.iter().find(|(s, _)| *s == setpoint) else { continue };
        let (sum, max) = (sum(row, setpoint, own, to, registers)?, i128::from(row.max));
        if least.is_none_or(|(s, m)| max - sum < m - s) {
            least = Some((sum, max));
        }
    }
    least
}

/// The largest sum that the row can come to with this setpoint at `to`; `None` when another
/// setpoint of it is unknown.
fn sum(
    row: &RowPlan,
    setpoint: SetpointId,
    own: i64,
    to: Ticks,
    registers: &[Option<(Ticks, Ticks)>],
) -> Option<i128> {
    let mut sum = i128::from(own) * i128::from(to.count());
    for &(other, weight) in &row.weights {
        if other == setpoint {
            continue;
        }
        let Some(Some((a, b))) = registers.get(other.index()) else { return None };
        let worst = [a, b].into_iter().map(|t| i128::from(weight) * i128::from(t.count())).max();
        sum += worst.unwrap_or(0);
    }
    Some(sum)
}
