//! Setpoints and joint rows: the limit path, exact integers from text to ticks.

use trimloop_core::plan::{BUDGET_MAX, Budget, Rate, RowPlan, SetpointId, SetpointPlan};
use trimloop_core::time::Span;
use trimloop_core::unit::{Grid, TICKS_MAX, Ticks};

use super::features::small;
use super::tags::tag_id;
use super::{Checker, Meaning, TagUnit};
use crate::codes;
use crate::quantity::Ratio;
use crate::raw::{RawRow, RawSetpoint, RawStep};
use crate::spanned::{At, Literal};
use crate::unit::Unit;

/// Largest magnitude of a row's weight.
const WEIGHT_MAX: i128 = 1_000_000;

/// A setpoint's unit and grid, for reading its limits.
struct Scale {
    unit: TagUnit,
    /// Size of a tick in the unit.
    tick: Ratio,
    grid: Grid,
}

/// Limits of a setpoint in ticks.
struct Limits {
    baseline: Ticks,
    low: Ticks,
    high: Ticks,
    trim: Ticks,
}

impl Scale {
    fn show(&self, ticks: i128) -> String {
        let value = Ratio::new(ticks, 1).and_then(|ticks| ticks.times(self.tick));
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        format!("{value} {}", self.unit.text()).trim_end().to_owned()
    }

    fn show_ticks(&self, ticks: Ticks) -> String {
        self.show(i128::from(ticks.count()))
    }
}

impl Checker<'_> {
    /// All setpoints.
    pub(super) fn setpoints(&mut self) -> Option<Vec<SetpointPlan>> {
        let raw = self.raw;
        let all: Vec<_> =
            raw.setpoint.iter().map(|(name, raw)| self.one_setpoint(name, raw)).collect();
        for (place, (_, setpoint)) in raw.setpoint.iter().enumerate() {
            let before = raw.setpoint.iter().take(place);
            let same =
                before.map(|(_, other)| other).find(|o| o.tag.as_str() == setpoint.tag.as_str());
            if let Some(other) = same {
                let message = format!("two setpoints write tag \"{}\"", setpoint.tag.get());
                self.report(&codes::TAG_WRITTEN_TWICE, setpoint.tag.span(), message, |found| {
                    found
                        .also(other.tag.span(), "also written here")
                        .note("each would hold its own limits against the other's moves")
                });
            }
        }
        all.into_iter().collect()
    }

    fn one_setpoint(&mut self, name: &At<String>, raw: &RawSetpoint) -> Option<SetpointPlan> {
        let user = format!("setpoint \"{}\"", name.get());
        let place = self.tag(&raw.tag, &user);
        let unit = self.tag_unit(place);
        let scale = self.scale(raw, unit, &user);
        let times = self.setpoint_times(raw, &user);
        let budget = self.budget(raw, &user);
        let plc = self.plc_limits(name, raw, place, &user);
        let scale = scale?;
        let limits = self.limits(raw, &scale, &user);
        let step = self.steps(raw, &scale, &user);
        let rate = self.rate(raw, &scale, &user);
        let deadband = match &raw.deadband {
            None => Some(Ticks::ZERO),
            Some(text) => self.length(text, &scale, true, &format!("`deadband` of {user}")),
        };
        let (limits, (step_up, step_down), deadband) = (limits?, step?, deadband?);
        self.step_in_band(raw, &scale, &limits, &user)?;
        if let Some(text) = &raw.deadband
            && (deadband > step_up || deadband > step_down)
        {
            let message = format!("`deadband` of {user} is larger than its step limit");
            self.report(&codes::DEADBAND_OVER_STEP, text.span(), message, |found| {
                found
                    .also(raw.step.span(), "step limit set here")
                    .note("every move is cut to the step limit, and then too small to be written")
            });
            return None;
        }
        let ((dwell, confirm, ttl), (plc_low, plc_high)) = (times?, plc?);
        Some(SetpointPlan {
            name: name.get().clone(),
            unit: scale.unit.text(),
            tag: tag_id(place?),
            grid: scale.grid,
            baseline: limits.baseline,
            low: limits.low,
            high: limits.high,
            trim_max: limits.trim,
            step_up,
            step_down,
            rate: rate?,
            deadband,
            dwell,
            budget: budget?,
            plc_low: plc_low.map(tag_id),
            plc_high: plc_high.map(tag_id),
            confirm,
            ttl,
        })
    }

    fn scale(&mut self, raw: &RawSetpoint, unit: TagUnit, user: &str) -> Option<Scale> {
        let what = format!("`grid` of {user}");
        let tick = self.values.quantity(&raw.grid, &unit, Meaning::Difference, &what)?;
        let tick = self.values.positive(&raw.grid, tick, &what)?;
        let decimal = tick.to_decimal(9);
        let grid = decimal.and_then(|(mantissa, decimals)| {
            i64::try_from(mantissa).ok().and_then(|mantissa| Grid::new(mantissa, decimals))
        });
        if grid.is_none() {
            self.report(
                &codes::BAD_GRID,
                raw.grid.span(),
                format!(
                    "{what} cannot be held \
                exactly"
                ),
                |found| {
                    found.help(
                        "a grid is a decimal of at most 9 places, in the unit of the tag, \
                    below 10^9",
                    )
                },
            );
        }
        grid.map(|grid| Scale { unit, tick, grid })
    }

    /// A value or difference in whole ticks.
    fn ticks(
        &mut self,
        text: &At<Literal>,
        scale: &Scale,
        meaning: Meaning,
        what: &str,
    ) -> Option<Ticks> {
        let value = self.values.quantity(text, &scale.unit, meaning, what)?;
        let ticks = value.over(scale.tick)?;
        let Some(whole) = ticks.to_whole() else {
            let below = ticks.floor();
            let (below, above) = (scale.show(below), scale.show(below.saturating_add(1)));
            let message = format!("{what} is no whole multiple of the grid: {}", text.text);
            let grid = scale.show(1);
            self.report(&codes::OFF_GRID, text.span(), message, |found| {
                found
                    .label(format!("the grid is {grid}"))
                    .note("limits are held as whole steps, so that no rounding can pass them")
                    .help(format!("use \"{below}\" or \"{above}\""))
            });
            return None;
        };
        if whole.abs() >= TICKS_MAX {
            let message = format!("{what} is too many steps of the grid: {whole}");
            self.report(&codes::BAD_GRID, text.span(), message, |found| {
                found.help("use a coarser grid")
            });
            return None;
        }
        Some(Ticks::new(whole))
    }

    /// A difference in whole ticks, above zero (or zero, if `zero` says so).
    fn length(
        &mut self,
        text: &At<Literal>,
        scale: &Scale,
        zero: bool,
        what: &str,
    ) -> Option<Ticks> {
        let ticks = self.ticks(text, scale, Meaning::Difference, what)?;
        if zero && ticks == Ticks::ZERO {
            return Some(ticks);
        }
        self.values.positive(text, Ratio::whole(ticks.count()), what).map(|_| ticks)
    }

    fn limits(&mut self, raw: &RawSetpoint, scale: &Scale, user: &str) -> Option<Limits> {
        let point = |key: &str, text: &At<Literal>, this: &mut Self| {
            this.ticks(text, scale, Meaning::Point, &format!("`{key}` of {user}"))
        };
        let low = point("low", &raw.low, self);
        let high = point("high", &raw.high, self);
        let baseline = point("baseline", &raw.baseline, self);
        let trim = self.length(&raw.trim, scale, false, &format!("`trim` of {user}"));
        let (low, high) = low.zip(high)?;
        if low >= high {
            let message = format!("`low` of {user} is not below its `high`");
            self.report(&codes::RANGE_REVERSED, raw.low.span(), message, |found| {
                found.also(raw.high.span(), "the upper limit")
            });
            return None;
        }
        let baseline = baseline?;
        if baseline < low || baseline > high {
            let message = format!("`baseline` of {user} is outside its limits");
            let band =
                format!("the limits are {} to {}", scale.show_ticks(low), scale.show_ticks(high));
            self.report(&codes::BASELINE_OUTSIDE, raw.baseline.span(), message, |found| {
                found.label(band).note("the machine would start where trimloop may not write")
            });
            return None;
        }
        let trim = trim?;
        let widest = (baseline - low).max(high - baseline);
        if trim > widest {
            let message = format!("`trim` of {user} reaches past both limits");
            let label =
                format!("the farther limit is {} from the baseline", scale.show_ticks(widest));
            let help = format!("use at most \"{}\"", scale.show_ticks(widest));
            self.report(&codes::TRIM_OUTSIDE, raw.trim.span(), message, |found| {
                found.label(label).also(raw.baseline.span(), "the baseline").help(help)
            });
            return None;
        }
        Some(Limits { baseline, low, high, trim })
    }

    fn steps(&mut self, raw: &RawSetpoint, scale: &Scale, user: &str) -> Option<(Ticks, Ticks)> {
        match raw.step.get() {
            RawStep::Both(text) => {
                let text = At::new(text.clone(), raw.step.span());
                let step = self.length(&text, scale, false, &format!("`step` of {user}"))?;
                Some((step, step))
            }
            RawStep::Each(each) => {
                let up = self.length(&each.up, scale, false, &format!("`step.up` of {user}"));
                let down = self.length(&each.down, scale, false, &format!("`step.down` of {user}"));
                up.zip(down)
            }
        }
    }

    /// One write moves at most a fifth of the band.
    fn step_in_band(
        &mut self,
        raw: &RawSetpoint,
        scale: &Scale,
        limits: &Limits,
        user: &str,
    ) -> Option<()> {
        let band = limits.high - limits.low;
        let most = Ticks::new(band.count() / 5);
        let each = match raw.step.get() {
            RawStep::Both(text) => vec![At::new(text.clone(), raw.step.span())],
            RawStep::Each(each) => vec![each.up.clone(), each.down.clone()],
        };
        let mut good = Some(());
        for text in each {
            let step = self.length(&text, scale, false, "`step`")?;
            if step <= most {
                continue;
            }
            good = None;
            let (low, high) = (scale.show_ticks(limits.low), scale.show_ticks(limits.high));
            let (step_text, band_text) = (scale.show_ticks(step), scale.show_ticks(band));
            let message = if step > band {
                format!("step limit of {user} is wider than the allowed band")
            } else {
                format!("step limit of {user} is more than 20 % of the allowed band")
            };
            let help = if most.count() == 0 {
                "refine the grid or widen the band: 20 % of it is less than one step".to_owned()
            } else {
                format!("use at most \"{}\" (20 % of the band)", scale.show_ticks(most))
            };
            self.report(&codes::STEP_OVER_BAND, text.span(), message, |found| {
                found
                    .label(format!("{step_text} in one write; {low} to {high} is {band_text} wide"))
                    .note("one wrong decision must leave room for the next to be seen and undone")
                    .help(help)
            });
        }
        good
    }

    #[expect(clippy::option_option, reason = "absent, or present and wrong")]
    fn rate(&mut self, raw: &RawSetpoint, scale: &Scale, user: &str) -> Option<Option<Rate>> {
        let Some(text) = &raw.rate else { return Some(None) };
        let what = format!("`rate` of {user}");
        let second = TagUnit::Known(Unit::second());
        let (amount, per) = self.values.per(text, &scale.unit, &second, &what)?;
        let amount = self.values.positive(text, amount, &what)?;
        let per = self.values.nanos(text, per, false, &what)?;
        let Some(ticks) = amount.over(scale.tick).and_then(Ratio::to_whole) else {
            let message = format!("{what} is no whole multiple of the grid: {}", text.text);
            let grid = scale.show(1);
            self.report(&codes::OFF_GRID, text.span(), message, |found| {
                found
                    .label(format!("the grid is {grid}"))
                    .help("choose a distance on the grid, and the time in which it is allowed")
            });
            return None;
        };
        Some(Some(Rate { ticks: Ticks::new(ticks), per }))
    }

    fn setpoint_times(&mut self, raw: &RawSetpoint, user: &str) -> Option<(Span, Span, Span)> {
        let values = &mut self.values;
        let dwell = values.span(&raw.dwell, true, &format!("`dwell` of {user}"));
        let given = |text: &Option<At<Literal>>, default, key: &str, this: &mut Self| match text {
            None => Some(Span::from_secs(default)),
            Some(text) => this.values.span(text, false, &format!("`{key}` of {user}")),
        };
        let confirm = given(&raw.confirm, 3, "confirm", self);
        let ttl = given(&raw.ttl, 2, "ttl", self);
        let (dwell, confirm, ttl) = (dwell?, confirm?, ttl?);
        for (text, time, key) in [(&raw.confirm, confirm, "confirm"), (&raw.ttl, ttl, "ttl")] {
            if let (Some(text), Some(period)) = (text, self.period)
                && time < period
            {
                let message = format!("`{key}` of {user} is shorter than the scan period");
                self.report(&codes::SETPOINT_PERIOD, text.span(), message, |found| {
                    found
                        .note("writes are confirmed and dropped in whole scans")
                        .help(format!("use at least \"{} ms\"", period.as_millis()))
                });
            }
        }
        if dwell < confirm {
            let message = format!("`dwell` of {user} is shorter than the time to confirm a write");
            self.report(&codes::DWELL_SHORT, raw.dwell.span(), message, |found| {
                found
                    .warning()
                    .label("the next write may be wanted before the last is read back")
                    .help("let the process settle: dead time plus four time constants")
            });
        }
        Some((dwell, confirm, ttl))
    }

    #[expect(clippy::option_option, reason = "absent, or present and wrong")]
    fn budget(&mut self, raw: &RawSetpoint, user: &str) -> Option<Option<Budget>> {
        let Some(budget) = &raw.budget else { return Some(None) };
        let what = format!("`budget.writes` of {user}");
        let writes = self.values.count(&budget.writes, 1, BUDGET_MAX, &what);
        let per = self.values.span(&budget.per, false, &format!("`budget.per` of {user}"));
        Some(Some(Budget { writes: writes?, per: per? }))
    }

    /// Tags with the PLC's own limits: both or a warning.
    fn plc_limits(
        &mut self,
        name: &At<String>,
        raw: &RawSetpoint,
        place: Option<usize>,
        user: &str,
    ) -> Option<(Option<usize>, Option<usize>)> {
        let unit = self.tag_unit(place);
        let mut read = |text: &Option<At<String>>, key: &str| match text {
            None => Some(None),
            Some(tag) => {
                let user = format!("`{key}` of {user}");
                let place = self.tag(tag, &user)?;
                self.same_unit(place, tag, &unit, &user);
                Some(Some(place))
            }
        };
        let (low, high) = (read(&raw.plc_low, "plc_low"), read(&raw.plc_high, "plc_high"));
        if raw.plc_low.is_none() || raw.plc_high.is_none() {
            let message = format!("{user} has no limits in the PLC that trimloop can see");
            self.report(&codes::NO_PLC_LIMITS, name.span(), message, |found| {
                found
                    .warning()
                    .note(
                        "the limits here are then the only ones; a limit that the PLC keeps \
                        holds even when this program is wrong",
                    )
                    .help("name the PLC's limit tags in `plc_low` and `plc_high`")
            });
        }
        low.zip(high)
    }

    /// Joint limits.
    pub(super) fn rows(&mut self, setpoints: Option<&[SetpointPlan]>) -> Option<Vec<RowPlan>> {
        let raw = self.raw;
        let all: Vec<_> =
            raw.row.iter().map(|(name, row)| self.one_row(name, row, setpoints)).collect();
        all.into_iter().collect()
    }

    fn one_row(
        &mut self,
        name: &At<String>,
        row: &RawRow,
        setpoints: Option<&[SetpointPlan]>,
    ) -> Option<RowPlan> {
        let user = format!("row \"{}\"", name.get());
        let tables = self.raw;
        let sum_unit = crate::quantity::Quantity::parse(&row.max.text).map(|read| read.unit);
        let sum_unit = TagUnit::Known(sum_unit.unwrap_or_else(|_| Unit::none()));
        let max = self.values.quantity(
            &row.max,
            &sum_unit,
            Meaning::Difference,
            &format!("`max` of {user}"),
        );
        let mut weights = Vec::new();
        let mut good = true;
        for (setpoint, text) in row.weights.iter() {
            let place = self.lookup(&tables.setpoint, "setpoint", setpoint, &user);
            let plan = place.and_then(|place| setpoints.and_then(|all| all.get(place)));
            let Some((place, plan)) = place.zip(plan) else {
                good = false;
                continue;
            };
            let unit = self.tag_unit(Some(plan.tag.index()));
            let what = format!("weight of \"{}\" in {user}", setpoint.get());
            let read = self.values.per(text, &sum_unit, &unit, &what);
            let per_unit = read.and_then(|(amount, per)| amount.over(per));
            let tick = Ratio::new(
                i128::from(plan.grid.mantissa()),
                10_i128.pow(u32::from(plan.grid.decimals())),
            );
            match per_unit.zip(tick).and_then(|(weight, tick)| weight.times(tick)) {
                Some(weight) => weights.push((SetpointId(small(place)), weight, plan.baseline)),
                None => good = false,
            }
        }
        if weights.is_empty() && good {
            self.report(&codes::BAD_ROW, name.span(), format!("{user} has no weights"), |found| {
                found
            });
            return None;
        }
        let max = max.filter(|_| good)?;
        let Some((whole, limit)) = integral(&weights, max) else {
            let message = format!("{user} cannot be held in whole numbers");
            self.report(&codes::BAD_ROW, row.max.span(), message, |found| {
                found
                    .note(
                        "weights are counted per step of each grid, at most 1000000 of the finest",
                    )
                    .help("round the weights, so that they stand in simple proportions")
            });
            return None;
        };
        self.row_at_baseline(name, row, &weights, max, &user)?;
        Some(RowPlan { name: name.get().clone(), weights: whole, max: limit })
    }

    fn row_at_baseline(
        &mut self,
        name: &At<String>,
        row: &RawRow,
        weights: &[(SetpointId, Ratio, Ticks)],
        max: Ratio,
        user: &str,
    ) -> Option<()> {
        let sum = weights.iter().try_fold(Ratio::ZERO, |sum, (_, weight, baseline)| {
            sum.plus(weight.times(Ratio::whole(baseline.count()))?)
        });
        if sum.is_some_and(|sum| sum <= max) {
            return Some(());
        }
        let shown = sum.map(|sum| sum.to_string()).unwrap_or_default();
        let message = format!("{user} does not hold at the baselines");
        self.report(&codes::BAD_ROW, row.max.span(), message, |found| {
            found
                .label(format!("the baselines already make {shown}"))
                .also(name.span(), "this row")
                .note("no write would ever be permitted")
        });
        None
    }
}

/// Scales a row to whole numbers: common denominator out, common factor out, limit rounded down
/// (the sum is whole, so nothing is lost).
fn integral(
    weights: &[(SetpointId, Ratio, Ticks)],
    max: Ratio,
) -> Option<(Vec<(SetpointId, i64)>, i64)> {
    let mut scale = Ratio::ONE;
    for (_, weight, _) in weights {
        let rest = weight.times(scale)?;
        scale = scale.times(Ratio::new(rest.den(), 1)?)?;
    }
    let mut common = 0_i128;
    for (_, weight, _) in weights {
        let mut a = weight.times(scale)?.num().unsigned_abs();
        let mut b = common.unsigned_abs();
        while b != 0 {
            (a, b) = (b, a % b);
        }
        common = i128::try_from(a).ok()?;
    }
    let scale = scale.over(Ratio::new(common.max(1), 1)?)?;
    let mut whole = Vec::new();
    for (id, weight, _) in weights {
        let weight = weight.times(scale)?.to_whole()?;
        if i128::from(weight).abs() > WEIGHT_MAX {
            return None;
        }
        whole.push((*id, weight));
    }
    Some((whole, i64::try_from(max.times(scale)?.floor()).ok()?))
}
