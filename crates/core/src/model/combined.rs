//! Several monitors of the same features under limits that were found together.
//!
//! Each member sees what the others are blind to: one that predicts takes a slow drift for normal
//! once it is slow enough, one that does not sees the drift but not a small jump. The score is that
//! of the member that leads, in its own limits; because the limits were found together, a false
//! alarm of any of them is counted once in the share that was promised.

use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::CombinedPlan;

use super::monitor::MonitorState;
use super::{Contribution, Score};

/// State of all members.
#[derive(Clone, Debug)]
pub(super) struct CombinedState {
    usable: bool,
    members: Vec<MonitorState>,
    /// The member with the largest score of the newest known row.
    leads: usize,
    /// Largest T2 and SPE of all members as shares of their limits.
    shares: (f64, f64),
}

impl CombinedState {
    pub(super) fn new(plan: &CombinedPlan) -> Self {
        Self {
            usable: plan.fits(),
            members: plan.members.iter().map(MonitorState::new).collect(),
            leads: 0,
            shares: (0.0, 0.0),
        }
    }

    /// Largest T2 and SPE of the newest known row, as shares of their limits.
    pub(super) fn shares(&self) -> (f64, f64) {
        self.shares
    }

    pub(super) fn score(&mut self, plan: &CombinedPlan, features: &[FeatureValue]) -> Score {
        if !self.usable {
            return Score::UNKNOWN;
        }
        let (mut best, mut leads, mut shares) = (Score::UNKNOWN, 0, (0.0_f64, 0.0_f64));
        let mut known = true;
        for (index, (member, plan)) in self.members.iter_mut().zip(&plan.members).enumerate() {
            // Every member takes the row in, also after one of them could not.
            let score = member.score(plan, features);
            known &= score.known;
            shares.0 = shares.0.max(score.t2 / plan.alarm.t2);
            shares.1 = shares.1.max(score.spe / plan.alarm.spe);
            if !best.known || score.value > best.value {
                (best, leads) = (score, index);
            }
        }
        if !known {
            return Score::UNKNOWN;
        }
        (self.leads, self.shares) = (leads, shares);
        best
    }

    /// Contributions to the score of the member that leads.
    pub(super) fn contributions(
        &self,
        plan: &CombinedPlan,
        score: &Score,
        offer: impl FnMut(Contribution),
    ) {
        if let (Some(member), Some(plan)) =
            (self.members.get(self.leads), plan.members.get(self.leads))
        {
            member.contributions(plan, score, offer);
        }
    }
}

impl CombinedPlan {
    /// Whether there are members, all of the same features. Each is checked by itself besides.
    pub fn fits(&self) -> bool {
        let Some(first) = self.members.first() else { return false };
        self.members.iter().all(|member| member.inputs == first.inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::{Noise, unknown, value};
    use crate::plan::{FeatureId, MonitorPlan, PcaLimits};
    use alloc::vec;

    fn member(transition: f64, t2: f64) -> MonitorPlan {
        MonitorPlan {
            inputs: vec![FeatureId(0), FeatureId(1)],
            mean: vec![10.0, 0.0],
            scale: vec![2.0, 1.0],
            transition: vec![transition, 0.0, 0.0, transition],
            precision: vec![1.0, 0.2, 0.2, 1.0],
            gap: vec![1.5, 2.0],
            weight_t2: 0.2,
            weight_spe: 0.3,
            alarm: PcaLimits { t2, spe: 9.0 },
        }
    }

    /// The score is the larger of the members' own, with the contributions of that member; an
    /// unknown row is unknown to both and spoils neither.
    #[test]
    fn the_larger_leads() {
        let plan = CombinedPlan { members: vec![member(0.9, 12.0), member(0.0, 20.0)] };
        let mut state = CombinedState::new(&plan);
        let mut alone: Vec<_> = plan.members.iter().map(MonitorState::new).collect();
        let (mut noise, mut led) = (Noise::new(4), [0, 0]);
        for row in 0..200 {
            let drift = 0.05 * f64::from(row);
            let (a, b) = (10.0 + 2.0 * noise.normal() + drift, noise.normal());
            let row = if row % 17 == 3 { [unknown(), value(b)] } else { [value(a), value(b)] };
            let score = state.score(&plan, &row);
            let each: Vec<Score> = alone
                .iter_mut()
                .zip(&plan.members)
                .map(|(state, plan)| state.score(plan, &row))
                .collect();
            let best = usize::from(each[1].value > each[0].value);
            assert_eq!(score.known, each[0].known);
            if !score.known {
                continue;
            }
            led[best] += 1;
            assert_eq!(score, each[best]);
            assert_eq!(score.alarm, each.iter().any(|score| score.alarm));
            let (t2, spe) = state.shares();
            assert_eq!(t2.max(spe), score.value);
            let mut sum = 0.0;
            state.contributions(&plan, &score, |c| sum += c.share);
            let limits = plan.members[best].alarm;
            let whole =
                if score.t2 / limits.t2 >= score.spe / limits.spe { score.t2 } else { score.spe };
            assert!(libm::fabs(sum - whole) < 1e-9 * (1.0 + whole), "{sum} {whole}");
        }
        assert!(led[0] > 5 && led[1] > 5, "{led:?}");
    }

    /// No members, others' features, a member that is none: never a known score.
    #[test]
    fn bad_plans_stay_unknown() {
        let mut other = member(0.0, 9.0);
        other.inputs = vec![FeatureId(1), FeatureId(0)];
        let mut broken = member(0.0, 9.0);
        broken.scale[0] = 0.0;
        for members in [vec![], vec![member(0.0, 9.0), other], vec![member(0.0, 9.0), broken]] {
            let plan = CombinedPlan { members };
            let mut state = CombinedState::new(&plan);
            assert!(!state.score(&plan, &[value(10.0), value(0.0)]).known);
        }
    }
}
