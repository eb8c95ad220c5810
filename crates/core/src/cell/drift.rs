//! What comes of drift: it is told, and loops that rest on the model step down.

use super::Cell;
use crate::cycle::Part;
use crate::event::What;
use crate::mode::{Mode, Trip};
use crate::plan::{CharacteristicId, Controller, LoopId, ModelId, Plan};
use crate::slip::{Slip, slips};

/// What the trim of a part did to it, where a loop feeds the model's prediction of the part without
/// any trim forward; 0 for other models, `None` when the setpoint of the part is not known [unit of
/// the characteristic].
pub(super) fn moved(
    plan: &Plan,
    part: &Part<'_>,
    characteristic: CharacteristicId,
    model: ModelId,
) -> Option<f64> {
    let mut sum = 0.0;
    for of in &plan.loops {
        let Controller::RunToRun(c1) = &of.controller else { continue };
        if c1.feed_forward != Some(model) || c1.characteristic != characteristic {
            continue;
        }
        let setpoint = of.setpoint.index();
        let limits = plan.setpoints.get(setpoint)?;
        let ticks = part.setpoints.get(setpoint).copied().flatten()?;
        sum += c1.gain * limits.grid.value(ticks - limits.baseline);
    }
    Some(sum)
}

impl Cell {
    /// Tells what drifts and what no longer does, and lowers loops. Never raises one.
    pub(super) fn follow_drift(&mut self) {
        for place in 0..self.plan.drifts.len() {
            let Some(of) = self.plan.drifts.get(place) else { continue };
            let (model, demotes) = (of.model, of.demotes);
            let out = &mut self.out;
            self.drifts.tell(place, |on, drift| {
                out.event(if on {
                    What::Drift(model, drift)
                } else {
                    What::DriftOver(model, drift.check)
                })
            });
            if self.drifts.take_fresh(place) && demotes && !slips(Slip::DriftKeepsMode) {
                self.demote(model);
            }
        }
    }

    /// Loops that rest on a model go to SHADOW at most, as when a session ends. A loop that is
    /// tripped ends its ramp first, and comes back in SHADOW anyway.
    fn demote(&mut self, model: ModelId) {
        let loops = self.plan.loops.iter().zip(&mut self.loops);
        for (index, (of, state)) in (0_u16..).zip(loops) {
            let acts = state.asked > Mode::Shadow && state.trip == Trip::Clear;
            if acts && self.plan.rests_on(of, model) {
                state.asked = Mode::Shadow;
                state.proposal = None;
                self.out.must_tell(What::Demoted(LoopId(index), model));
            }
        }
    }
}
