//! One day: seeds, warm-up, samples; for every recipe in one pass over the data.

use trimloop_core::plan::Plan;

use super::BacktestError;
use super::arm::{Arm, ArmDay, Stretch};
use super::data::Data;
use super::seed::Seeds;
use crate::export::ReadError;

/// Time between two looks at whether to stop [ns].
const TELL: i64 = 60_000_000_000;

/// What a day gave.
pub(super) struct DayResult {
    pub(super) stretch: Stretch,
    /// `[recipes]`
    pub(super) arms: Vec<ArmDay>,
}

/// Runs one day. `reached`: told the time up to which samples are read; `false` asks to stop.
pub(super) fn run_day(
    data: &Data,
    plans: &[&Plan],
    names: &[String],
    seeds: &Seeds<'_>,
    stretch: Stretch,
    reached: &mut dyn FnMut(i64) -> bool,
) -> Result<DayResult, BacktestError> {
    let mut arms = Vec::new();
    for plan in plans {
        arms.push(Arm::new(plan, names, stretch)?);
    }
    seeds.plant_before(stretch.lead, &mut arms, &mut || reached(stretch.lead))?;
    for arm in &mut arms {
        arm.begin();
    }
    let mut told = stretch.lead;
    data.read(names, (stretch.lead, stretch.end), &mut |sample| {
        if sample.ts - told >= TELL {
            told = sample.ts;
            if !reached(told) {
                return Err(ReadError::Interrupted);
            }
        }
        for arm in &mut arms {
            arm.take(&sample);
        }
        Ok(())
    })?;
    reached(stretch.end);
    Ok(DayResult { stretch, arms: arms.into_iter().map(Arm::end).collect() })
}
