//! The last look at a plan before a cell is built on it.

use super::{
    BUDGET_MAX, Clause, Controller, Cut, FEATURES_MAX, LAG_MAX, LoopPlan, Model, MonitorPlan,
    N_OF_M_MAX, PCA_LAGS_MAX, PLCS_MAX, Plan, PlanError, SETPOINTS_MAX, SetpointPlan, Source,
    TAGS_MAX,
};
use crate::tag::TagId;
use crate::time::Span;
use crate::unit::Ticks;

impl Plan {
    /// Checks what the core's bounds rest on: indices, lengths, signs, order of limits.
    ///
    /// Zero-width limits (`low == high`) are allowed: they permit no move and never panic.
    ///
    /// # Errors
    /// [`PlanError`] with the first thing that does not hold.
    pub fn check(&self) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        need(self.tags.len() <= TAGS_MAX, "too many tags")?;
        need(self.features.len() <= FEATURES_MAX, "too many features")?;
        need(self.setpoints.len() <= SETPOINTS_MAX, "too many setpoints")?;
        need(self.models.len() <= FEATURES_MAX, "too many models")?;
        need(self.period > Span::ZERO, "the scan period is not positive")?;
        need((1..=PLCS_MAX).contains(&self.links.len()), "no PLC, or too many")?;
        let placed = self.tags.iter().all(|t| t.plc.index() < self.links.len());
        need(placed, "a tag's PLC does not exist")?;
        self.check_links()?;
        let tag = |tag: TagId| need(tag.index() < self.tags.len(), "a tag does not exist");
        match self.cycle.cut {
            Cut::Finished(id) | Cut::Started(id) => tag(id)?,
            Cut::Every(span) => need(span > Span::ZERO, "the tick is not positive")?,
        }
        let running = self.cycle.running.map(|(t, _)| t);
        let mut used = running
            .into_iter()
            .chain(self.bindings.iter().map(|b| b.tag))
            .chain(self.interlocks.iter().map(|i| i.tag))
            .chain(self.characteristics.iter().flat_map(|c| [c.part, c.value]))
            .chain(self.features.iter().map(|f| f.tag))
            .chain(self.loops.iter().flat_map(|l| l.inputs.iter().copied()));
        used.try_for_each(tag)?;
        for feature in &self.features {
            need(feature.lag <= LAG_MAX, "a feature's lag is too long")?;
            need(feature.window.is_none_or(|w| w > Span::ZERO), "a window is not positive")?;
            let plain = |id: super::FeatureId| {
                self.features.get(id.index()).is_some_and(|f| f.combine.is_none())
            };
            let whole = feature.combine.is_none_or(|c| plain(c.of().0) && plain(c.of().1));
            need(whole, "a combined feature is made of what is none")?;
        }
        let rates = self.tags.iter().all(|t| t.rate_max.is_none_or(|r| r > 0.0));
        need(rates, "a tag's rate is not positive")?;
        self.models.iter().try_for_each(|m| self.check_model(&m.model))?;
        self.check_drifts()?;
        self.check_forecasts()?;
        self.check_challengers()?;
        for signature in &self.signatures {
            let n = signature.clauses.len();
            need((1..=8).contains(&n), "a signature has no clause, or more than 8")?;
            let window = (1..=N_OF_M_MAX).contains(&signature.of);
            need(window && (1..=signature.of).contains(&signature.need), "a signature's n of m")?;
            signature.clauses.iter().try_for_each(|c| self.check_clause(c))?;
        }
        for setpoint in &self.setpoints {
            tag(setpoint.tag)?;
            [setpoint.plc_low, setpoint.plc_high].into_iter().flatten().try_for_each(tag)?;
            check_setpoint(setpoint)?;
        }
        for row in &self.rows {
            let twice = |(i, (s, _)): (usize, &(super::SetpointId, i64))| {
                row.weights.iter().skip(i + 1).any(|(other, _)| other == s)
            };
            need(
                !row.weights.iter().enumerate().any(twice),
                "a joint limit names a setpoint twice",
            )?;
            for (setpoint, weight) in &row.weights {
                need(setpoint.index() < self.setpoints.len(), "a joint limit's setpoint")?;
                need(weight.abs() <= 1_000_000, "a joint limit's weight is too large")?;
            }
        }
        let registers = self.setpoints.iter().enumerate();
        let same = registers
            .clone()
            .any(|(i, a)| self.setpoints.iter().skip(i + 1).any(|b| a.tag == b.tag));
        need(!same, "two setpoints share a register")?;
        self.loops.iter().try_for_each(|l| self.check_loop(l))?;
        let shared = self
            .loops
            .iter()
            .enumerate()
            .any(|(i, a)| self.loops.iter().skip(i + 1).any(|b| a.setpoint == b.setpoint));
        need(!shared, "two loops share a setpoint")
    }

    /// Echo, enable and clock of a PLC are its own tags: what another says proves nothing of it.
    fn check_links(&self) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        for (index, link) in self.links.iter().enumerate() {
            need(link.stale_after > Span::ZERO, "a link's stale time is not positive")?;
            let clocks = link.skew_max > Span::ZERO && link.clock_step_max > Span::ZERO;
            need(clocks, "a limit of the clocks is not positive")?;
            let echo = link.heartbeat.map(|h| h.echo);
            let own =
                |tag: TagId| self.tags.get(tag.index()).is_some_and(|tag| tag.plc.index() == index);
            let tags = [echo, link.enable, link.clock];
            need(tags.into_iter().flatten().all(own), "a link's tag is not on its own PLC")?;
        }
        Ok(())
    }

    fn check_model(&self, model: &Model) -> Result<(), PlanError> {
        let exists =
            |inputs: &[super::FeatureId]| inputs.iter().all(|f| f.index() < self.features.len());
        let monitor = |m: super::ModelId| {
            let found = self.models.get(m.index()).map(|m| &m.model);
            matches!(found, Some(Model::Pca(_) | Model::Monitor(_) | Model::Combined(_)))
        };
        let fits = match model {
            Model::Chart(chart) => exists(&[chart.input]),
            Model::Pca(pca) => {
                let (p, k) = (pca.inputs.len(), pca.eigenvalues.len());
                let width = k.checked_mul(pca.width());
                exists(&pca.inputs)
                    && pca.mean.len() == p
                    && pca.scale.len() == p
                    && pca.lags <= PCA_LAGS_MAX
                    && width == Some(pca.loadings.len())
            }
            Model::Monitor(monitor) => exists(&monitor.inputs) && monitor_fits(monitor),
            Model::Combined(combined) => {
                exists(combined.inputs())
                    && combined.fits()
                    && combined.members.iter().all(monitor_fits)
            }
            Model::Linear(linear) => {
                let p = linear.inputs.len();
                exists(&linear.inputs)
                    && linear.coefficients.len() == p
                    && linear.mean.len() == p
                    && linear.scale.len() == p
                    && linear.span.len() == p
                    && linear.domain.is_none_or(monitor)
            }
            Model::Forest(forest) => {
                exists(&forest.inputs) && forest.fits() && forest.domain.is_none_or(monitor)
            }
            Model::Logistic(logistic) => {
                exists(&logistic.inputs) && logistic.fits() && logistic.domain.is_none_or(monitor)
            }
        };
        if fits { Ok(()) } else { Err(PlanError("a model's arrays do not fit together")) }
    }

    fn check_clause(&self, clause: &Clause) -> Result<(), PlanError> {
        let exists = match clause.source {
            Source::Feature(id) => id.index() < self.features.len(),
            Source::Chart(id)
            | Source::T2(id)
            | Source::Spe(id)
            | Source::Prediction(id)
            | Source::Probability(id, _) => id.index() < self.models.len(),
        };
        if exists { Ok(()) } else { Err(PlanError("a clause looks at nothing")) }
    }

    fn check_loop(&self, plan: &LoopPlan) -> Result<(), PlanError> {
        let need =
            |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
        let model = |m: Option<super::ModelId>| m.is_none_or(|m| m.index() < self.models.len());
        need(plan.setpoint.index() < self.setpoints.len(), "a loop's setpoint does not exist")?;
        need(model(plan.domain), "a loop's domain monitor does not exist")?;
        let locks = plan.interlocks.iter().all(|i| i.index() < self.interlocks.len());
        need(locks, "a loop's interlock does not exist")?;
        match &plan.controller {
            Controller::Rules(rules) => {
                let rows = rules.rows.iter().all(|(s, _)| s.index() < self.signatures.len());
                need(rows && rules.decay_permille <= 1000, "a rule table")
            }
            Controller::RunToRun(c1) => {
                need(
                    c1.characteristic.index() < self.characteristics.len(),
                    "a loop's characteristic does not exist",
                )?;
                need(model(c1.feed_forward), "a loop's soft sensor does not exist")?;
                let weights = c1.lambda > 0.0
                    && c1.lambda <= 1.0
                    && c1.feed_forward_filter > 0.0
                    && c1.feed_forward_filter <= 1.0;
                need(weights, "a weight is not in (0, 1]")?;
                let gain = c1.gain.is_finite() && c1.gain.abs() > 0.0;
                need(gain && c1.target.is_finite(), "a gain or target is no usable number")?;
                need(c1.tolerance > 0.0 && c1.tolerance.is_finite(), "a tolerance is not positive")
            }
        }
    }
}

fn check_setpoint(s: &SetpointPlan) -> Result<(), PlanError> {
    let need = |holds: bool, why: &'static str| if holds { Ok(()) } else { Err(PlanError(why)) };
    need(s.low <= s.baseline && s.baseline <= s.high, "a baseline lies outside its limits")?;
    need(s.trim_max >= Ticks::ZERO, "a trim is negative")?;
    need(s.step_up >= Ticks::ZERO && s.step_down >= Ticks::ZERO, "a step is negative")?;
    need(s.deadband >= Ticks::ZERO, "a deadband is negative")?;
    need(s.dwell >= Span::ZERO && s.confirm > Span::ZERO && s.ttl > Span::ZERO, "a setpoint time")?;
    let rate = s.rate.is_none_or(|r| r.ticks > Ticks::ZERO && r.per > Span::ZERO);
    need(rate, "a rate is not positive")?;
    let budget =
        s.budget.is_none_or(|b| (1..=BUDGET_MAX).contains(&b.writes) && b.per > Span::ZERO);
    need(budget, "a budget is not in its range")
}

fn monitor_fits(monitor: &MonitorPlan) -> bool {
    let p = monitor.inputs.len();
    monitor.mean.len() == p
        && monitor.scale.len() == p
        && monitor.transition.len() == p * p
        && monitor.precision.len() == p * p
        && !monitor.gap.is_empty()
}
