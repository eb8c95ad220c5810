//! What is possible: scrap without control, and with perfect knowledge. Pure.
//!
//! The oracle sees the disturbances of the next part and its draws, and moves within the
//! judge's limits. The gap between open loop and floor is the controllable share; a figure
//! about scrap saved means nothing without it.

use crate::cell::Cell;
use crate::judge::{SPECS, Verdict};
use crate::plant::moulding::{Cause, Shot};
use crate::plc::Setpoint;
use crate::scenario::Scenario;

/// Grid of hold pressure \[bar] and cool time \[s].
const GRID: [f64; 2] = [0.5, 0.1];
/// Process time between two moves of the cool time \[s]; its dwell, in whole cycles.
const COOL_EVERY_PARTS: u64 = 4;

/// Scrap rate (0 to 1) with the setpoints at the PLC's recipe values.
#[must_use]
pub fn scrap_open_loop(scenario: &Scenario, seed: u64, parts: u64) -> f64 {
    open_loop(scenario, seed, parts).scrap_rate()
}

/// Scrap rate (0 to 1) with perfect knowledge within the judge's limits.
#[must_use]
pub fn scrap_floor(scenario: &Scenario, seed: u64, parts: u64) -> f64 {
    floor(scenario, seed, parts).scrap_rate()
}

/// The judge's counts of a run without a client.
#[must_use]
pub fn open_loop(scenario: &Scenario, seed: u64, parts: u64) -> Verdict {
    run(scenario, seed, parts, |_| ())
}

/// The judge's counts of a run with the oracle, or of the open loop where that is better: the
/// oracle looks one part ahead and cannot foresee that a PLC will stop taking writes.
#[must_use]
pub fn floor(scenario: &Scenario, seed: u64, parts: u64) -> Verdict {
    let oracle = run(scenario, seed, parts, move_by_oracle);
    let open = open_loop(scenario, seed, parts);
    if open.scrap_total() < oracle.scrap_total() { open } else { oracle }
}

fn run(
    scenario: &Scenario,
    seed: u64,
    parts: u64,
    mut before_shot: impl FnMut(&mut Cell),
) -> Verdict {
    let mut cell = Cell::new(scenario.clone(), seed);
    cell.set_producing(true);
    while cell.part() < parts {
        cell.prepare();
        if cell.interlock_closed() {
            before_shot(&mut cell);
        }
        cell.latch();
        cell.complete();
    }
    cell.judge().verdict().clone()
}

fn move_by_oracle(cell: &mut Cell) {
    if cell.part().is_multiple_of(COOL_EVERY_PARTS) {
        let cool = best_cool(cell);
        write(cell, Setpoint::CoolTime, cool);
    }
    let hold = best_hold(cell);
    write(cell, Setpoint::HoldPressure, hold);
}

/// Writes only a real move; a refusal is the scenario's doing and tried again next time.
fn write(cell: &mut Cell, setpoint: Setpoint, value: f64) {
    if (cell.plc().value(setpoint) - value).abs() > 1e-9 {
        cell.write(setpoint, Some(value)).ok();
    }
}

/// Values of `setpoint` that can be reached in one write, from low to high.
fn reachable(cell: &Cell, setpoint: Setpoint) -> Vec<f64> {
    let i = setpoint.index();
    let spec = &SPECS[i];
    let now = cell.plc().value(setpoint);
    let recipe = cell.plc().product().recipe[i];
    let low = spec.limits.0.max(recipe - spec.trim);
    let high = spec.limits.1.min(recipe + spec.trim);
    let steps = (spec.step / GRID[i]).round() as i64;
    (-steps..=steps)
        .map(|k| ((now / GRID[i]).round() + k as f64) * GRID[i])
        .filter(|v| (low - 1e-9..=high + 1e-9).contains(v) && (v - now).abs() <= spec.step + 1e-9)
        .collect()
}

fn best_hold(cell: &Cell) -> f64 {
    let now = cell.plc().value(Setpoint::HoldPressure);
    let cool = cell.plc().value(Setpoint::CoolTime);
    let target = cell.plc().product().target_g;
    let recipe = cell.plc().product().recipe[0];
    // Scatter is left out of the aim, or the setpoint would chase noise it cannot follow. The
    // last term breaks ties where a saturated valve makes all candidates equally bad.
    let cost = |hold: f64| {
        let shot = cell.preview([hold, cool]);
        let scrap = is_avoidable(&shot);
        let aim = (shot.weight_g - shot.scatter_g - target).abs();
        f64::from(u8::from(scrap)) + 0.5 * shot.risk + 5.0 * aim + 1e-4 * (hold - recipe).abs()
    };
    pick(&reachable(cell, Setpoint::HoldPressure), now, cost)
}

fn best_cool(cell: &Cell) -> f64 {
    let hold = cell.plc().value(Setpoint::HoldPressure);
    let now = cell.plc().value(Setpoint::CoolTime);
    let recipe = cell.plc().product().recipe[1];
    // Without a risk to avoid, the recipe value is best: a longer cycle costs parts.
    let cost = |cool: f64| cell.preview([hold, cool]).risk + 1e-3 * (cool - recipe).abs();
    pick(&reachable(cell, Setpoint::CoolTime), now, cost)
}

fn is_avoidable(shot: &Shot) -> bool {
    shot.cause.is_some_and(|cause| !matches!(cause, Cause::Contamination | Cause::Streak))
}

fn pick(candidates: &[f64], now: f64, cost: impl Fn(f64) -> f64) -> f64 {
    let mut best = (cost(now), now);
    for &candidate in candidates {
        let c = cost(candidate);
        if c < best.0 {
            best = (c, candidate);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::{floor, open_loop, run, write};
    use crate::cell::Cell;
    use crate::plant::moulding::Cause;
    use crate::plc::Setpoint;
    use crate::scenario::Scenario;

    #[test]
    fn nominal_scrap_and_its_controllable_share_are_in_their_windows() {
        let nominal = Scenario::named("nominal").unwrap();
        for seed in 1..=10 {
            let open = open_loop(&nominal, seed, 3000);
            let floor = floor(&nominal, seed, 3000);
            let share = floor.scrap_rate() / open.scrap_rate();
            assert!((0.04..=0.09).contains(&open.scrap_rate()), "seed {seed}");
            assert!((0.15..=0.35).contains(&share), "seed {seed}: floor/open {share:.3}");
            let weight = open.scrap.get(&Cause::Weight).copied().unwrap_or(0);
            assert!(weight * 2 > open.scrap_total(), "seed {seed}: weight dominates");
            assert_eq!(floor.violations(), 0, "seed {seed}: the oracle keeps the limits");
        }
    }

    #[test]
    fn every_scenario_can_be_run_and_its_floor_is_no_worse() {
        for scenario in Scenario::all() {
            let open = open_loop(&scenario, 3, 3000);
            let floor = floor(&scenario, 3, 3000);
            assert!(floor.scrap_rate() <= open.scrap_rate() + 1e-9, "{}", scenario.name);
            assert_eq!(floor.violations(), 0, "{}", scenario.name);
        }
    }

    #[test]
    fn plant_faults_matter_without_control() {
        let rate = |name| open_loop(&Scenario::named(name).unwrap(), 3, 3000).scrap_rate();
        let nominal = rate("nominal");
        let rows = [
            ("lot-change", 0.05),
            ("wear", 0.10),
            ("heater", 0.08),
            ("fouling", 0.20),
            ("ambient", 0.03),
            ("operator-override", 0.003),
            ("start-up", 0.001),
        ];
        for (name, at_least) in rows {
            let more = rate(name) - nominal;
            assert!(more >= at_least, "{name}: only {more:.4} more scrap than nominal");
        }
    }

    /// Integral feedback on the weight of five parts ago. It believes in the nominal gain of
    /// 0.0018 g/bar and never doubts it.
    fn naive() -> impl FnMut(&mut Cell) {
        let mut seen = VecDeque::from([0.0; 5]);
        move |cell| {
            let setpoint = Setpoint::HoldPressure;
            let now = cell.plc().value(setpoint);
            seen.push_back(cell.plc().product().target_g - cell.preview([now, 16.0]).weight_g);
            let error_g = seen.pop_front().unwrap_or(0.0);
            let want = now + 0.1 * error_g / 0.0018;
            let next = want.clamp(now - 5.0, now + 5.0).clamp(300.0, 420.0);
            write(cell, setpoint, (next / 0.5).round() * 0.5);
        }
    }

    #[test]
    fn valve_faults_defeat_naive_feedback() {
        let rows =
            [("nominal", 0.0, 0.04), ("wrong-sign", 0.5, 1.0), ("oscillating-gain", 0.2, 1.0)];
        for (name, low, high) in rows {
            let got = run(&Scenario::named(name).unwrap(), 3, 3000, naive()).scrap_rate();
            assert!((low..=high).contains(&got), "{name}: {got:.4}");
        }
    }
}
