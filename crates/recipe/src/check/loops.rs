//! Control loops: one setpoint, one controller each.

use trimloop_core::mode::Mode;
use trimloop_core::plan::{
    CharacteristicId, Controller, EffectPlan, InterlockId, LoopPlan, ModelId, PARTS_MAX, RulesPlan,
    RunToRunPlan, SetpointId, SetpointPlan, SignatureId,
};
use trimloop_core::tag::TagId;
use trimloop_core::unit::Ticks;

use super::features::small;
use super::tags::tag_id;
use super::values::default_ratio;
use super::{Checker, Meaning, TagUnit};
use crate::codes;
use crate::quantity::Ratio;
use crate::raw::{RawEffect, RawLoop, RawMove, RawRules, RawRunToRun, RawStep};
use crate::spanned::{At, Literal};

/// A loop's setpoint as far as it is known.
struct Moved<'a> {
    place: usize,
    plan: Option<&'a SetpointPlan>,
    unit: TagUnit,
}

impl Checker<'_> {
    /// All loops; no two move one setpoint.
    pub(super) fn loops(&mut self, setpoints: Option<&[SetpointPlan]>) -> Option<Vec<LoopPlan>> {
        let raw = self.raw;
        for (place, (_, this)) in raw.loops.iter().enumerate() {
            let same = |other: &&(At<String>, RawLoop)| {
                other.1.setpoint.as_str() == this.setpoint.as_str()
            };
            if let Some((_, other)) = raw.loops.iter().take(place).find(same) {
                let message = format!("two loops move setpoint \"{}\"", this.setpoint.get());
                self.report(&codes::SETPOINT_SHARED, this.setpoint.span(), message, |found| {
                    found
                        .also(other.setpoint.span(), "also moved here")
                        .note("each would take the other's moves for an operator's and stand back")
                });
            }
        }
        let all: Vec<_> =
            raw.loops.iter().map(|(name, raw)| self.one_loop(name, raw, setpoints)).collect();
        all.into_iter().collect()
    }

    fn one_loop(
        &mut self,
        name: &At<String>,
        raw: &RawLoop,
        setpoints: Option<&[SetpointPlan]>,
    ) -> Option<LoopPlan> {
        let user = format!("loop \"{}\"", name.get());
        let tables = self.raw;
        let place = self.lookup(&tables.setpoint, "setpoint", &raw.setpoint, &user);
        let tag = place.and_then(|place| tables.setpoint.at(place));
        let tag = tag.and_then(|(_, setpoint)| tables.tag.position(&setpoint.tag));
        let moved = place.map(|place| Moved {
            place,
            plan: setpoints.and_then(|all| all.get(place)),
            unit: self.tag_unit(tag),
        });
        let modes = [
            ("off", Mode::Off),
            ("shadow", Mode::Shadow),
            ("advisory", Mode::Advisory),
            ("auto", Mode::Auto),
        ];
        let mode = self.values.word(&raw.mode, &modes, &format!("`mode` of {user}"));
        let inputs: Vec<_> =
            raw.inputs.iter().map(|tag| self.tag(tag, &user).map(tag_id)).collect();
        let inputs: Option<Vec<TagId>> = inputs.into_iter().collect();
        let interlocks = self.loop_interlocks(raw, &user);
        let domain = match &raw.domain {
            None => Some(None),
            Some(name) => self.monitor(name, &user).map(Some),
        };
        let most = u32::try_from(PARTS_MAX).unwrap_or(u32::MAX);
        let settle =
            self.counted(raw.settle.as_ref(), 1, (0, most), &format!("`settle` of {user}"));
        let effect = self.effect(raw.effect.as_ref().map(At::get), &user);
        let controller = self.controller(name, raw, moved.as_ref(), &user);
        let feedback = raw.run_to_run.is_some();
        let timeout = if feedback { (60, 1) } else { (0, 0) };
        let what = format!("`label_timeout` of {user}");
        let label_timeout =
            self.counted(raw.label_timeout.as_ref(), timeout.0, (timeout.1, most), &what);
        Some(LoopPlan {
            name: name.get().clone(),
            setpoint: SetpointId(small(moved?.place)),
            controller: controller?,
            mode_max: mode?,
            inputs: inputs?,
            interlocks: interlocks?,
            domain: domain?,
            settle: settle?,
            label_timeout: label_timeout?,
            effect: effect?,
        })
    }

    fn counted(
        &mut self,
        value: Option<&At<i64>>,
        default: u32,
        (least, most): (u32, u32),
        what: &str,
    ) -> Option<u32> {
        match value {
            None => Some(default),
            Some(value) => self.values.count(value, least, most, what),
        }
    }

    fn loop_interlocks(&mut self, raw: &RawLoop, user: &str) -> Option<Vec<InterlockId>> {
        let tables = self.raw;
        let Some(names) = &raw.interlocks else {
            return Some(
                (0..tables.interlock.len()).map(|place| InterlockId(small(place))).collect(),
            );
        };
        let all: Vec<_> = names
            .iter()
            .map(|name| {
                let place = self.lookup(&tables.interlock, "interlock", name, user)?;
                Some(InterlockId(small(place)))
            })
            .collect();
        all.into_iter().collect()
    }

    fn effect(&mut self, raw: Option<&RawEffect>, user: &str) -> Option<EffectPlan> {
        let what = |key: &str| format!("`effect.{key}` of {user}");
        let labels = raw.and_then(|raw| raw.labels.as_ref());
        let labels = self.counted(labels, 8, (2, 32), &what("labels"));
        let saturated = raw.and_then(|raw| raw.saturated_after.as_ref());
        let saturated = self.counted(saturated, 50, (1, 1_000_000), &what("saturated_after"));
        let crossings = raw.and_then(|raw| raw.crossings.as_ref());
        let crossings = self.counted(crossings, 6, (2, 64), &what("crossings"));
        let window = raw.and_then(|raw| raw.window.as_ref());
        let window_count = self.counted(window, 24, (2, 64), &what("window"));
        let worse_than = match raw.and_then(|raw| raw.worse_than.as_ref()) {
            None => Some(default_ratio("1.5")),
            Some(text) => self.values.positive_number(text, &what("worse_than")),
        };
        let (crossings, window_count) = crossings.zip(window_count)?;
        if crossings >= window_count {
            let at = window.or(raw.and_then(|raw| raw.crossings.as_ref())).map(At::span);
            let message = format!(
                "{user} can never be seen to oscillate: {crossings} crossings in {window_count} \
                    labels"
            );
            self.report(&codes::EFFECT_SETTINGS, at.unwrap_or(0..0), message, |found| {
                found.help("`crossings` must be below `window`")
            });
            return None;
        }
        Some(EffectPlan {
            labels: u8::try_from(labels?).ok()?,
            worse_than: worse_than?.to_f64(),
            saturated_after: saturated?,
            oscillation_crossings: u8::try_from(crossings).ok()?,
            oscillation_window: u8::try_from(window_count).ok()?,
        })
    }

    fn controller(
        &mut self,
        name: &At<String>,
        raw: &RawLoop,
        moved: Option<&Moved<'_>>,
        user: &str,
    ) -> Option<Controller> {
        match (&raw.run_to_run, &raw.rules) {
            (Some(run), None) => self.run_to_run(run, moved, user).map(Controller::RunToRun),
            (None, Some(rules)) => self.rules(rules, moved, user).map(Controller::Rules),
            (run, _) => {
                let said = if run.is_some() { "two controllers" } else { "no controller" };
                self.report(
                    &codes::LOOP_CONTROLLER,
                    name.span(),
                    format!("{user} has {said}"),
                    |found| found.help("give exactly one of `run_to_run`, `rules`"),
                );
                None
            }
        }
    }

    fn run_to_run(
        &mut self,
        raw: &At<RawRunToRun>,
        moved: Option<&Moved<'_>>,
        user: &str,
    ) -> Option<RunToRunPlan> {
        let tables = self.raw;
        let label = self.lookup(&tables.label, "label", &raw.label, user);
        let unit = label.and_then(|place| self.label_units.get(place)).cloned();
        let unit = unit.unwrap_or(TagUnit::Broken);
        let target = self.target(raw, label, &unit, user);
        let what = format!("`tolerance` of {user}");
        let tolerance = self.values.quantity(&raw.tolerance, &unit, Meaning::Difference, &what);
        let tolerance =
            tolerance.and_then(|value| self.values.positive(&raw.tolerance, value, &what));
        let setpoint_unit = moved.map_or(TagUnit::Broken, |moved| moved.unit.clone());
        let gain = self.gain(raw, &unit, &setpoint_unit, user);
        let mut share = |text: &Option<At<Literal>>, default: &str, key: &str| match text {
            None => Some(default_ratio(default)),
            Some(text) => self.values.share(text, false, &format!("`{key}` of {user}")),
        };
        let lambda = share(&raw.lambda, "0.3", "lambda");
        let filter = share(&raw.filter, "0.5", "filter");
        let most = u32::try_from(PARTS_MAX).unwrap_or(u32::MAX);
        let labels_min =
            self.counted(raw.labels.as_ref(), 8, (1, most), &format!("`labels` of {user}"));
        let feed_forward = match &raw.feed_forward {
            None => Some(None),
            Some(name) => self.feed_forward(name, label, user).map(Some),
        };
        Some(RunToRunPlan {
            characteristic: CharacteristicId(small(label?)),
            target: target?.to_f64(),
            tolerance: tolerance?.to_f64(),
            gain: gain?.to_f64(),
            lambda: lambda?.to_f64(),
            labels_min: labels_min?,
            feed_forward: feed_forward?,
            feed_forward_filter: filter?.to_f64(),
        })
    }

    fn target(
        &mut self,
        raw: &RawRunToRun,
        label: Option<usize>,
        unit: &TagUnit,
        user: &str,
    ) -> Option<Ratio> {
        let what = format!("`target` of {user}");
        let target = self.values.quantity(&raw.target, unit, Meaning::Point, &what)?;
        let (_, declared) = self.raw.label.at(label?)?;
        // Mistakes in the range itself were reported with the label.
        let mut quiet = super::Values::new(&self.values.source);
        let [low, high] = &declared.range.0;
        let low = quiet.quantity(low, unit, Meaning::Point, "")?;
        let high = quiet.quantity(high, unit, Meaning::Point, "")?;
        if target >= low && target <= high {
            return Some(target);
        }
        let range = declared.range.span();
        self.report(
            &codes::TARGET_OUTSIDE,
            raw.target.span(),
            format!("{what} is outside the range of its label"),
            |found| {
                found
                    .also(range, "labels outside this are refused")
                    .note("every good part would count as a wrong measurement")
            },
        );
        None
    }

    /// The gain rule: refused when not told from zero, else `sign(b)(|b| + 2 se)`, so that the
    /// loop is slow rather than unstable when the true gain is at either end of its interval.
    fn gain(
        &mut self,
        raw: &At<RawRunToRun>,
        label: &TagUnit,
        setpoint: &TagUnit,
        user: &str,
    ) -> Option<Ratio> {
        let what = format!("`gain` of {user}");
        let gain = self.values.per(&raw.gain, label, setpoint, &what);
        let gain = gain.and_then(|(amount, per)| amount.over(per));
        let Some(text) = &raw.gain_error else {
            self.report(
                &codes::GAIN_ERROR_MISSING,
                raw.gain.span(),
                format!("{what} is given without its error"),
                |found| {
                    found
                    .note("a gain of the wrong sign or half its size makes more scrap than no loop")
                    .help("add `gain_error = …`, the standard error from the bump test")
                },
            );
            return None;
        };
        let what_error = format!("`gain_error` of {user}");
        let error = self.values.per(text, label, setpoint, &what_error);
        let error = error.and_then(|(amount, per)| amount.over(per));
        let error = error.and_then(|error| self.values.positive(text, error, &what_error))?;
        let gain = gain?;
        if gain.abs() < error.times(Ratio::whole(3))? {
            self.report(
                &codes::GAIN_UNCERTAIN,
                raw.gain.span(),
                format!("{what} cannot be told from zero"),
                |found| {
                    found
                        .label("less than three standard errors")
                        .also(text.span(), "the standard error")
                        .note("its sign is not certain, and a wrong sign drives the process away")
                        .help("repeat the bump test with more parts or larger bumps")
                },
            );
            return None;
        }
        let size = gain.abs().plus(error.times(Ratio::whole(2))?)?;
        Some(if gain.is_negative() { size.negated() } else { size })
    }

    fn feed_forward(
        &mut self,
        name: &At<String>,
        label: Option<usize>,
        user: &str,
    ) -> Option<ModelId> {
        let (place, predicted) = self.sensor(name, user)?;
        if Some(predicted) != label {
            let of = self.raw.label.at(predicted).map(|(name, _)| name.get().clone());
            let message = format!("{user} feeds a prediction of another label forward");
            self.report(&codes::MODEL_KIND, name.span(), message, |found| {
                found.label(format!("predicts \"{}\"", of.unwrap_or_default()))
            });
            return None;
        }
        Some(ModelId(small(self.raw.chart.len() + place)))
    }

    fn rules(
        &mut self,
        raw: &At<RawRules>,
        moved: Option<&Moved<'_>>,
        user: &str,
    ) -> Option<RulesPlan> {
        let what = format!("`decay` of {user}");
        let decay = match &raw.decay {
            None => Some(default_ratio("0.1")),
            Some(text) => self.values.share(text, true, &what),
        };
        let permille = decay.and_then(|decay| {
            let whole = decay.times(Ratio::whole(1000))?.to_whole();
            if whole.is_none() {
                let span = raw.decay.as_ref().map_or(raw.span(), At::span);
                self.report(
                    &codes::NOT_A_SHARE,
                    span,
                    format!("{what} is finer than 0.1 %"),
                    |found| found,
                );
            }
            u16::try_from(whole?).ok()
        });
        let moves = raw.moves.get();
        if moves.is_empty() {
            let message = format!("{user} has no moves");
            self.report(&codes::COUNT_OUT_OF_RANGE, raw.moves.span(), message, |found| {
                found.help("add rows such as { on = \"…\", move = \"0.5 s\" }")
            });
        }
        let rows: Vec<_> = moves.iter().map(|row| self.one_move(row, moved, user)).collect();
        let rows: Option<Vec<_>> = rows.into_iter().collect();
        let rows = rows.filter(|rows| !rows.is_empty())?;
        Some(RulesPlan { rows, decay_permille: permille? })
    }

    fn one_move(
        &mut self,
        row: &At<RawMove>,
        moved: Option<&Moved<'_>>,
        user: &str,
    ) -> Option<(SignatureId, Ticks)> {
        let signature = self.signature(&row.on, user);
        let moved = moved?;
        let what = format!("a move of {user}");
        let value = self.values.quantity(&row.by, &moved.unit, Meaning::Difference, &what)?;
        if value.is_zero() {
            self.report(
                &codes::MOVE_ZERO,
                row.by.span(),
                format!("{what} moves nothing"),
                |found| found.help("give a distance, up or down (\"-5 bar\")"),
            );
            return None;
        }
        let plan = moved.plan?;
        let tick = Ratio::new(
            i128::from(plan.grid.mantissa()),
            10_i128.pow(u32::from(plan.grid.decimals())),
        )?;
        let Some(ticks) = value.over(tick)?.to_whole() else {
            self.report(
                &codes::OFF_GRID,
                row.by.span(),
                format!("{what} is no whole multiple of the grid: {}", row.by.text),
                |found| found.label(format!("the grid is {tick} {}", plan.unit)),
            );
            return None;
        };
        let ticks = Ticks::new(ticks);
        let limit = if ticks > Ticks::ZERO { plan.step_up } else { plan.step_down };
        if ticks.abs() <= limit {
            return signature.map(|signature| (signature, ticks));
        }
        self.move_over_step(row, moved, limit, tick, user);
        None
    }

    fn move_over_step(
        &mut self,
        row: &RawMove,
        moved: &Moved<'_>,
        limit: Ticks,
        tick: Ratio,
        user: &str,
    ) {
        let Some((name, setpoint)) = self.raw.setpoint.at(moved.place) else { return };
        let sign = if row.by.text.trim().starts_with('-') { "-" } else { "" };
        let unit = moved.unit.text();
        let most = Ratio::whole(limit.count()).times(tick).map(|most| most.to_string());
        let most = format!("{} {unit}", most.unwrap_or_default());
        let step = match setpoint.step.get() {
            RawStep::Both(_) => setpoint.step.span(),
            RawStep::Each(each) if sign.is_empty() => each.up.span(),
            RawStep::Each(each) => each.down.span(),
        };
        let message = format!("{user} asks for more than the step limit of {}", name.get());
        let label = format!("{} in one action", row.by.text.trim().trim_start_matches('-'));
        self.report(&codes::MOVE_OVER_STEP, row.by.span(), message, |found| {
            found
                .label(label)
                .also(step, "step limit set here")
                .note(format!(
                    "the guard would cut every such move to {most}, so the rule never \
                    does what it says"
                ))
                .help(format!(
                    "use at most \"{sign}{most}\", or raise `step` (widens authority: \
                    needs a second approver)"
                ))
        });
    }
}
