//! The `[fault.…]` tables: what they look at must be there.

use trimloop_core::time::Span;

use super::Checker;
use crate::codes;
use crate::fault::{Fault, Meter, When};
use crate::raw::{RawFault, RawFaultWhen};
use crate::spanned::At;

/// Most cycles or hours between two works.
const EVERY_MAX: u32 = 1_000_000_000;
/// Longest text of an order that a recipe gives [bytes].
const TEXT_MAX: usize = 2000;

impl Checker<'_> {
    /// All faults.
    pub(super) fn faults(&mut self) -> Option<Vec<Fault>> {
        let raw = self.raw;
        let mut known: Vec<Fault> = Vec::new();
        let mut whole = true;
        for (name, fault) in raw.fault.iter() {
            let user = format!("fault \"{}\"", name.get());
            let when = self.when(&fault.when, &user);
            match self.one_fault(name, fault, when, &user) {
                Some(fault) => known.push(fault),
                None => whole = false,
            }
        }
        for (name, plan) in raw.plan.iter() {
            let user = format!("plan \"{}\"", name.get());
            let when = self.every(&plan.every, &user);
            if raw.fault.get(name).is_some() {
                let message = format!("a fault and a plan are both named {}", name.get());
                self.report(&codes::FAULT_SHAPE, name.span(), message, |found| {
                    found.help("name the plan for what is done, such as check_ring_change")
                });
            }
            match self.one_fault(name, &plan.as_fault(), when, &user) {
                Some(plan) => known.push(plan),
                None => whole = false,
            }
        }
        whole.then_some(known)
    }

    /// `50000 cycles` or `500 h`.
    fn every(&mut self, every: &At<String>, user: &str) -> Option<When> {
        let found = every.trim().split_once(' ').and_then(|(count, unit)| {
            let count: u32 = count.parse().ok()?;
            let meter = match unit.trim() {
                "cycles" => Meter::Cycles,
                "h" => Meter::RunHours,
                _ => return None,
            };
            (1..=EVERY_MAX).contains(&count).then_some(When::Every(meter, count))
        });
        if found.is_none() {
            let message = format!("`every` of {user} says no number of cycles or hours");
            self.report(&codes::FAULT_SHAPE, every.span(), message, |found| {
                found.help(
                    "such as \"50000 cycles\" (parts) or \"500 h\" (of running), 1 to 1000000000",
                )
            });
        }
        found
    }

    fn one_fault(
        &mut self,
        name: &At<String>,
        raw: &RawFault,
        when: Option<When>,
        user: &str,
    ) -> Option<Fault> {
        let lead = self.raw.recipe.plc.get().clone();
        let text = |of: &Option<At<String>>| of.as_ref().map(|text| text.get().trim().to_owned());
        let texts = [&raw.title, &raw.advice, &raw.asset, &raw.component, &raw.assignee];
        for long in texts.into_iter().chain([&raw.skill, &raw.asset_ref]) {
            let Some(long) = long else { continue };
            if long.trim().is_empty() || long.len() > TEXT_MAX {
                let message = format!("a text of {user} is empty, or longer than {TEXT_MAX} bytes");
                self.report(&codes::FAULT_SHAPE, long.span(), message, |found| {
                    found.help("leave the key out, or say it shorter")
                });
            }
        }
        let count =
            |this: &mut Self, of: &Option<At<i64>>, own: u32, most: u32, what: &str| match of {
                Some(count) => this.values.count(count, 1, most, &format!("`{what}` of {user}")),
                None => Some(own),
            };
        let priority = count(self, &raw.priority, 3, 4, "priority");
        let mut parts = Vec::new();
        for part in &raw.parts {
            let quantity = count(self, &part.quantity, 1, 999, "quantity");
            let part_name = part.name.get().clone();
            let reference = text(&part.reference).unwrap_or_else(|| part_name.clone());
            parts.extend(quantity.map(|quantity| (part_name, reference, quantity)));
        }
        let is_auto = match &raw.order {
            Some(word) => {
                let words = [("propose", false), ("auto", true)];
                self.values.word(word, &words, &format!("`order` of {user}"))
            }
            None => Some(false),
        };
        let mut span = |of: &Option<At<crate::spanned::Literal>>, what: &str| match of {
            Some(it) => self.values.span(it, true, &format!("`{what}` of {user}")).map(Some),
            None => Some(None),
        };
        let on_delay = span(&raw.on_delay, "on_delay");
        let off_delay = span(&raw.off_delay, "off_delay");
        let proof = span(&raw.proof, "proof");
        let spoken = name.get().replace(['_', '-'], " ");
        Some(Fault {
            name: name.get().clone(),
            when: when?,
            asset: text(&raw.asset).unwrap_or(lead),
            component: text(&raw.component).unwrap_or_default(),
            priority: u8::try_from(priority?).unwrap_or(4),
            is_auto: is_auto?,
            on_delay: on_delay?.unwrap_or(Span::ZERO),
            off_delay: off_delay?.unwrap_or(Span::ZERO),
            latches: raw.latch.as_ref().is_some_and(|latch| *latch.get()),
            proof: proof?,
            title: text(&raw.title).unwrap_or(spoken),
            advice: text(&raw.advice).unwrap_or_default(),
            assignee: text(&raw.assignee),
            skill: text(&raw.skill),
            asset_ref: text(&raw.asset_ref),
            parts,
        })
    }

    fn when(&mut self, when: &At<RawFaultWhen>, user: &str) -> Option<When> {
        let tables = self.raw;
        let raw = when.get();
        let words = [
            &raw.signature,
            &raw.chart,
            &raw.saturated,
            &raw.tripped,
            &raw.sensor,
            &raw.link,
            &raw.domain,
            &raw.drift,
            &raw.of_loop,
        ];
        let given = words.iter().filter(|word| word.is_some()).count();
        if given != 1 || raw.of_loop.is_some() != raw.authority_used.is_some() {
            let message = format!("{user} does not say clearly what it is seen by");
            self.report(&codes::FAULT_SHAPE, when.span(), message, |found| {
                found.help(
                    "one of `signature`, `chart`, `saturated`, `tripped`, `sensor`, `link`, \
                     `domain`, `drift`, or `loop` with `authority_used`",
                )
            });
            return None;
        }
        if let Some(name) = &raw.signature {
            return self.signature(name, user).map(|_| When::Signature(name.get().clone()));
        }
        if let Some(name) = &raw.sensor {
            return self.tag(name, user).map(|_| When::Sensor(name.get().clone()));
        }
        for (name, make) in
            [(&raw.saturated, When::Saturated as fn(String) -> When), (&raw.tripped, When::Tripped)]
        {
            let Some(name) = name else { continue };
            let found = self.lookup(&tables.loops, "loop", name, user);
            return found.map(|_| make(name.get().clone()));
        }
        for (name, make) in
            [(&raw.domain, When::Domain as fn(String) -> When), (&raw.drift, When::Drift)]
        {
            let Some(name) = name else { continue };
            let found = self.lookup(&tables.model, "model", name, user);
            return found.map(|_| make(name.get().clone()));
        }
        if let Some(name) = &raw.chart {
            // Monitors have a limit too.
            let is_model = tables.model.position(name).is_some();
            let found = is_model || self.lookup(&tables.chart, "chart", name, user).is_some();
            return found.then(|| When::Chart(name.get().clone()));
        }
        if let Some(name) = &raw.link {
            if self.plcs.contains(name.get()) {
                return Some(When::Link(name.get().clone()));
            }
            let plcs = self.plcs.join(", ");
            let message =
                format!("{user} names a PLC that the recipe does not use: {}", name.get());
            self.report(&codes::UNKNOWN_NAME, name.span(), message, |found| {
                found.help(format!("its PLCs: {plcs}"))
            });
            return None;
        }
        let (name, share) = (raw.of_loop.as_ref()?, raw.authority_used.as_ref()?);
        self.lookup(&tables.loops, "loop", name, user)?;
        let share = self.values.share(share, false, &format!("`authority_used` of {user}"))?;
        Some(When::AuthorityUsed(name.get().clone(), 100.0 * share.to_f64()))
    }
}
