//! One day: seeds, warm-up, samples; for every recipe in one pass over the data.

use trimloop_core::plan::Plan;

use super::BacktestError;
use super::arm::{Arm, ArmDay, Stretch};
use super::data::Data;
use crate::export::{RawSample, ReadError};

/// How far back the last value of a silent tag is looked for, in steps, so that little is read where
/// every tag speaks often [ns].
const LOOK_BACK: [i64; 6] = [
    60_000_000_000,
    900_000_000_000,
    14_400_000_000_000,
    86_400_000_000_000,
    7 * 86_400_000_000_000,
    31 * 86_400_000_000_000,
];
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
    let (mut end, mut samples) = (before, 0_u64);
    for length in LOOK_BACK {
        if wanted.is_empty() || samples >= LOOK_BACK_SAMPLES {
            return Ok(());
        }
        let list: Vec<String> =
            wanted.iter().filter_map(|place| names.get(*place)).cloned().collect();
        let begin = before.saturating_sub(length);
        let mut last: Vec<Option<RawSample>> = vec![None; list.len()];
        data.read(&list, (begin, end), &mut |sample| {
            samples += 1;
            if samples.is_multiple_of(1 << 18) && !reached(before) {
                return Err(ReadError::Interrupted);
            }
            if let Some(slot) = last.get_mut(usize::from(sample.tag)) {
                *slot = Some(sample);
            }
            Ok(())
        })?;
        for (sample, place) in last.into_iter().zip(&wanted) {
            let (Some(sample), Ok(tag)) = (sample, u16::try_from(*place)) else { continue };
            for arm in &mut *arms {
                arm.seed(&RawSample { tag, ..sample });
            }
        }
        let unknown: Vec<usize> = arms.iter().flat_map(|arm| arm.unknown()).collect();
        wanted.retain(|place| unknown.contains(place));
        end = begin;
    }
    Ok(())
}
