//! The last value of each tag before a stretch: what a subscription would tell first.
//!
//! The hours just before a stretch are read for it alone. Further back whole UTC days are read, each
//! once for all stretches and threads, so that a tag that spoke weeks ago, or never, does not have
//! every day of a long backtest read a month again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::arm::Arm;
use super::data::Data;
use crate::export::{RawSample, ReadError};

const DAY: i64 = 86_400_000_000_000;
/// How far back is read for one stretch alone, in steps, so that little is read where every tag
/// speaks often [ns]. What is left of the day is the last step.
const NEAR: [i64; 3] = [60_000_000_000, 900_000_000_000, 14_400_000_000_000];
/// How many whole days are looked through before that.
const DAYS: i64 = 31;
/// Samples between two looks at whether to stop.
const LOOK: u64 = 1 << 18;

/// `[names]`
type Last = Arc<[Option<RawSample>]>;
/// The last values of one day, once somebody has read it.
type OfDay = Arc<Mutex<Option<Last>>>;

/// Finds last values.
pub(super) struct Seeds<'a> {
    data: &'a Data,
    names: &'a [String],
    /// By days since 1970.
    days: Mutex<BTreeMap<i64, OfDay>>,
}

impl<'a> Seeds<'a> {
    pub(super) fn new(data: &'a Data, names: &'a [String]) -> Self {
        Self { data, names, days: Mutex::default() }
    }

    /// Tells the arms the last value of each tag before a time. `reached`: `false` asks to stop.
    pub(super) fn plant_before(
        &self,
        before: i64,
        arms: &mut [Arm<'_>],
        reached: &mut dyn FnMut() -> bool,
    ) -> Result<(), ReadError> {
        let mut end = before;
        for length in NEAR {
            let begin = before.saturating_sub(length);
            self.near((begin, end), arms, reached)?;
            end = begin;
        }
        let day = end.div_euclid(DAY);
        self.near((day.saturating_mul(DAY), end), arms, reached)?;
        for day in (day.saturating_sub(DAYS)..day).rev() {
            if !misses_some(arms) {
                return Ok(());
            }
            plant(&self.of_day(day, reached)?, arms);
        }
        Ok(())
    }

    fn near(
        &self,
        range: (i64, i64),
        arms: &mut [Arm<'_>],
        reached: &mut dyn FnMut() -> bool,
    ) -> Result<(), ReadError> {
        if range.0 < range.1 && misses_some(arms) {
            plant(&last_of(self.data, self.names, range, reached)?, arms);
        }
        Ok(())
    }

    /// The last values of a day. Whoever comes first reads it; others wait for that.
    fn of_day(&self, day: i64, reached: &mut dyn FnMut() -> bool) -> Result<Last, ReadError> {
        let of_day = {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(days.entry(day).or_default())
        };
        let mut slot = of_day.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = slot.as_ref() {
            return Ok(Arc::clone(last));
        }
        let begin = day.saturating_mul(DAY);
        let last = last_of(self.data, self.names, (begin, begin.saturating_add(DAY)), reached)?;
        Ok(Arc::clone(slot.insert(last)))
    }
}

/// Whether there are tags of which an arm knows nothing yet.
fn misses_some(arms: &[Arm<'_>]) -> bool {
    arms.iter().any(Arm::misses_some)
}

/// Hands values to every arm; one that knows a newer value of a tag keeps it.
fn plant(last: &[Option<RawSample>], arms: &mut [Arm<'_>]) {
    for sample in last.iter().flatten() {
        arms.iter_mut().for_each(|arm| arm.seed(sample));
    }
}

/// The last sample of each name in a range.
fn last_of(
    data: &Data,
    names: &[String],
    range: (i64, i64),
    reached: &mut dyn FnMut() -> bool,
) -> Result<Last, ReadError> {
    let mut last: Vec<Option<RawSample>> = vec![None; names.len()];
    let mut samples = 0_u64;
    data.read(names, range, &mut |sample| {
        samples += 1;
        if samples.is_multiple_of(LOOK) && !reached() {
            return Err(ReadError::Interrupted);
        }
        if let Some(slot) = last.get_mut(usize::from(sample.tag)) {
            *slot = Some(sample);
        }
        Ok(())
    })?;
    Ok(last.into())
}
