//! One day: seeds, warm-up, samples; for every recipe in one pass over the data.

use trimloop_core::plan::Plan;

use super::BacktestError;
use super::arm::{Arm, ArmDay, Stretch};
use super::data::Data;
use crate::export::{RawSample, ReadError};

/// How far back the last value of a silent tag is looked for [ns].
const LOOK_BACK: i64 = 31 * 86_400_000_000_000;
/// What is read first for that [ns]. Each further step is four times as long, as long as little is
/// read: where every tag speaks often, one is enough.
const LOOK_BACK_STEP: i64 = 60_000_000_000;
/// Samples of one step.
const STEP_SAMPLES: u64 = 1_000_000;
/// Most samples read for that: a day of 200 tags once a second.
const LOOK_BACK_SAMPLES: u64 = 20_000_000;
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
    stretch: Stretch,
    reached: &mut dyn FnMut(i64) -> bool,
) -> Result<DayResult, BacktestError> {
    let mut arms = Vec::new();
    for plan in plans {
        arms.push(Arm::new(plan, names, stretch)?);
    }
    seed(data, names, stretch.lead, &mut arms, reached)?;
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

/// Finds the last value of each tag before a time: what a subscription would tell first.
fn seed(
    data: &Data,
    names: &[String],
    before: i64,
    arms: &mut [Arm<'_>],
    reached: &mut dyn FnMut(i64) -> bool,
) -> Result<(), BacktestError> {
    let mut wanted: Vec<usize> = (0..names.len()).collect();
    let (mut end, mut length, mut samples) = (before, LOOK_BACK_STEP, 0_u64);
    let oldest = before.saturating_sub(LOOK_BACK);
    while !wanted.is_empty() && end > oldest && samples < LOOK_BACK_SAMPLES {
        let begin = end.saturating_sub(length).max(oldest);
        let mut last: Vec<Option<RawSample>> = vec![None; names.len()];
        let mut step = 0_u64;
        // All names: what is not wanted is read, too, and has to be counted.
        data.read(names, (begin, end), &mut |sample| {
            step += 1;
            if step.is_multiple_of(1 << 18) && !reached(before) {
                return Err(ReadError::Interrupted);
            }
            if let Some(slot) = last.get_mut(usize::from(sample.tag)) {
                *slot = Some(sample);
            }
            Ok(())
        })?;
        for sample in wanted.iter().filter_map(|place| *last.get(*place)?) {
            for arm in &mut *arms {
                arm.seed(&sample);
            }
        }
        let unknown: Vec<usize> = arms.iter().flat_map(|arm| arm.unknown()).collect();
        wanted.retain(|place| unknown.contains(place));
        samples += step;
        end = begin;
        if step < STEP_SAMPLES / 4 {
            length = length.saturating_mul(4);
        }
    }
    if !reached(before) {
        return Err(ReadError::Interrupted.into());
    }
    Ok(())
}
