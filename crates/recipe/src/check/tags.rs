//! Head, tags, cycle, bindings, interlocks, labels.

use std::collections::BTreeSet;

use trimloop_core::plan::{
    BindingPlan, CharacteristicPlan, Condition, Cut, CyclePlan, InterlockPlan, PLCS_MAX, PlcId,
    TagPlan,
};
use trimloop_core::tag::TagId;
use trimloop_core::time::Span;

use super::{Checker, Meaning, TagUnit};
use crate::codes;
use crate::quantity::Ratio;
use crate::raw::{RawCondition, RawEquals, RawLabel, RawTag};
use crate::spanned::At;
use crate::unit::Unit;

/// The place of a tag as its id. Tables hold at most 4096, checked by name count.
pub(crate) fn tag_id(place: usize) -> TagId {
    TagId(u16::try_from(place).unwrap_or(u16::MAX))
}

impl Checker<'_> {
    /// Name, revision, period.
    pub(super) fn head(&mut self) -> Option<(String, u32, Span)> {
        let head = self.raw.recipe.get();
        let named = self.values.check_name(&head.name);
        self.values.check_name(&head.plc);
        self.plcs();
        let stem = self.values.source.stem().to_owned();
        if named && stem != head.name.as_str() {
            let message = format!("recipe \"{}\" is in a file named {stem}.toml", head.name.get());
            self.report(&codes::FILE_NAME, head.name.span(), message, |found| {
                found.help(format!("call the file {}.toml", head.name.get()))
            });
        }
        let revision = self.values.count(&head.revision, 1, u32::MAX, "`revision`");
        let period = match &head.period {
            None => Some(Span::from_millis(100)),
            Some(text) => {
                let period = self.values.span(text, false, "`period`")?;
                let good = period >= Span::from_millis(1) && period <= Span::from_secs(10);
                if !good {
                    let message = "`period` must be 1 ms to 10 s";
                    self.report(&codes::TIME_OUT_OF_RANGE, text.span(), message, |found| found);
                }
                good.then_some(period)
            }
        };
        Some((head.name.get().clone(), revision?, period?))
    }

    /// PLCs that tags name: well formed, and not too many.
    fn plcs(&mut self) {
        let raw = self.raw;
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for plc in raw.tag.iter().filter_map(|(_, tag)| tag.plc.as_ref()) {
            let first = plc.get() != raw.recipe.plc.get() && named.insert(plc);
            if !first || !self.values.check_name(plc) {
                continue;
            }
            if named.len() == PLCS_MAX {
                let message = format!(
                    "a cell has at most {PLCS_MAX} PLCs; \"{}\" is one too many",
                    plc.get()
                );
                self.report(&codes::TOO_MANY, plc.span(), message, |found| {
                    found.help("make two cells of it, each with a recipe of its own")
                });
            }
        }
    }

    /// All tags; also fills `tag_units`.
    pub(super) fn tags(&mut self) -> Option<Vec<TagPlan>> {
        let raw = self.raw;
        for (_, tag) in raw.tag.iter() {
            let none = TagUnit::Known(Unit::none());
            let unit = tag.unit.as_ref().map_or(none, |unit| self.values.unit(unit));
            self.tag_units.push(unit);
        }
        let tags: Vec<_> = raw
            .tag
            .iter()
            .zip(self.tag_units.clone())
            .map(|((name, tag), unit)| self.one_tag(name, tag, &unit))
            .collect();
        tags.into_iter().collect()
    }

    fn one_tag(&mut self, name: &At<String>, tag: &RawTag, unit: &TagUnit) -> Option<TagPlan> {
        let what = |key: &str| format!("`{key}` of tag \"{}\"", name.get());
        let values = &mut self.values;
        let range = match &tag.range {
            None => Some(None),
            Some(range) => values.range(range, unit, &what("range")).map(Some),
        };
        let rate = match &tag.rate {
            None => Some(None),
            Some(rate) => {
                let second = TagUnit::Known(Unit::second());
                let read = values.per(rate, unit, &second, &what("rate"));
                let per_second = read.and_then(|(amount, per)| amount.over(per));
                per_second.and_then(|r| values.positive(rate, r, &what("rate"))).map(Some)
            }
        };
        let resolution = match &tag.resolution {
            None => Some(Ratio::ZERO),
            Some(text) => values
                .quantity(text, unit, Meaning::Difference, &what("resolution"))
                .and_then(|value| values.positive(text, value, &what("resolution"))),
        };
        let frozen = match &tag.frozen {
            None => Some(0),
            Some(count) => values.count(count, 0, 1_000_000, &what("frozen")),
        };
        let stale = match &tag.stale {
            None => Some(None),
            Some(text) => values.span(text, false, &what("stale")).map(Some),
        };
        let words = [("refuse", false), ("accept", true)];
        let uncertain = match &tag.uncertain {
            None => Some(false),
            Some(word) => values.word(word, &words, &what("uncertain")),
        };
        let plc = tag
            .plc
            .as_ref()
            .map_or(0, |plc| self.plcs.iter().position(|known| known == plc.get()).unwrap_or(0));
        Some(TagPlan {
            name: name.get().clone(),
            plc: PlcId(u16::try_from(plc).ok()?),
            unit: unit.text(),
            range: range?.map(|(low, high)| (low.to_f64(), high.to_f64())),
            rate_max: rate?.map(Ratio::to_f64),
            resolution: resolution?.to_f64(),
            spike: tag.spike.as_ref().map_or(unit.measured().is_some(), |spike| *spike.get()),
            frozen_after: frozen?,
            stale_after: stale?,
            accept_uncertain: uncertain?,
        })
    }

    /// How production is cut.
    pub(super) fn cycle(&mut self) -> Option<CyclePlan> {
        let raw = self.raw.cycle.get();
        let span = self.raw.cycle.span();
        let given = [raw.finished.is_some(), raw.started.is_some(), raw.every.is_some()];
        let count = given.iter().filter(|given| **given).count();
        if count != 1 {
            let message = if count == 0 {
                "nothing says where one part ends and the next begins"
            } else {
                "more than one key says where a part ends"
            };
            self.report(&codes::CYCLE_CUT, span, message, |found| {
                found.help("give exactly one of `finished`, `started`, `every`")
            });
        }
        let finished = raw.finished.as_ref().map(|name| self.id_tag(name, "the cycle"));
        let started = raw.started.as_ref().map(|name| self.id_tag(name, "the cycle"));
        let every =
            raw.every.as_ref().map(|text| self.values.span(text, false, "`every` of the cycle"));
        let warm_up = match &raw.warm_up {
            None => Some(10),
            Some(parts) => self.values.count(parts, 0, 100_000, "`warm_up`"),
        };
        let latch = match &raw.latch {
            None => Some(Span::ZERO),
            Some(text) => self.values.span(text, true, "`latch` of the cycle"),
        };
        let running = match &raw.running {
            None => Some(None),
            Some(equals) => self.equals(equals, "the cycle").map(Some),
        };
        let cut = match (finished, started, every) {
            (Some(tag), None, None) => Cut::Finished(tag?),
            (None, Some(tag), None) => Cut::Started(tag?),
            (None, None, Some(span)) => Cut::Every(span?),
            _ => return None,
        };
        Some(CyclePlan { cut, warm_up: warm_up?, latch: latch?, running: running? })
    }

    /// A tag that carries an id: it has no unit.
    fn id_tag(&mut self, name: &At<String>, user: &str) -> Option<TagId> {
        let place = self.tag(name, user)?;
        let unit = self.tag_unit(Some(place)).measured().map(|unit| unit.text().to_owned());
        if let Some(unit) = unit {
            let message =
                format!("{user} takes \"{}\" as an id, but it is measured in {unit}", name.get());
            self.report(&codes::TAG_MEANING, name.span(), message, |found| {
                found.help("name a tag without a unit that counts parts")
            });
            return None;
        }
        Some(tag_id(place))
    }

    fn equals(&mut self, raw: &RawEquals, user: &str) -> Option<(TagId, i64)> {
        let place = self.tag(&raw.tag, user)?;
        self.whole_only(place, &raw.tag, user)?;
        Some((tag_id(place), raw.equals.0))
    }

    /// Refuses an exact comparison with a measured value.
    fn whole_only(&mut self, place: usize, name: &At<String>, user: &str) -> Option<()> {
        let unit = self.tag_unit(Some(place));
        let Some(unit) = unit.measured() else { return Some(()) };
        let message = format!(
            "{user} compares \"{}\" with a whole number, but it is measured in {}",
            name.get(),
            unit.text()
        );
        self.report(&codes::TAG_MEANING, name.span(), message, |found| {
            found
                .note("a measured value hardly ever equals a number")
                .help("use `above` or `below`, or a tag without a unit")
        });
        None
    }

    /// What must match before anything is written.
    pub(super) fn bindings(&mut self) -> Option<Vec<BindingPlan>> {
        let raw = self.raw;
        let all: Vec<_> = raw
            .bind
            .iter()
            .map(|(name, equals)| {
                let (tag, equals) = self.equals(equals, &format!("bind \"{}\"", name.get()))?;
                Some(BindingPlan { name: name.get().clone(), tag, equals })
            })
            .collect();
        all.into_iter().collect()
    }

    /// Conditions of acting.
    pub(super) fn interlocks(&mut self) -> Option<Vec<InterlockPlan>> {
        let raw = self.raw;
        let all: Vec<_> = raw
            .interlock
            .iter()
            .map(|(name, interlock)| {
                let user = format!("interlock \"{}\"", name.get());
                let words = [("hold", false), ("trip", true)];
                let trips = match &interlock.opens {
                    None => Some(false),
                    Some(word) => self.values.word(word, &words, &format!("`opens` of {user}")),
                };
                let place = self.tag(&interlock.tag, &user);
                let closed = self.condition(place, &interlock.tag, &interlock.closed, &user);
                let tag = tag_id(place?);
                Some(InterlockPlan {
                    name: name.get().clone(),
                    tag,
                    closed: closed?,
                    trips: trips?,
                })
            })
            .collect();
        all.into_iter().collect()
    }

    fn condition(
        &mut self,
        place: Option<usize>,
        name: &At<String>,
        raw: &At<RawCondition>,
        user: &str,
    ) -> Option<Condition> {
        let (limit, above) = match (&raw.equals, &raw.above, &raw.below) {
            (Some(whole), None, None) => {
                self.whole_only(place?, name, user)?;
                return Some(Condition::Equals(whole.0));
            }
            (None, Some(limit), None) => (limit, true),
            (None, None, Some(limit)) => (limit, false),
            _ => {
                let message = format!("{user} needs exactly one condition");
                self.report(&codes::CLAUSE_SHAPE, raw.span(), message, |found| {
                    found.help("give exactly one of `equals`, `above`, `below`")
                });
                return None;
            }
        };
        let unit = self.tag_unit(place);
        let value =
            self.values.quantity(limit, &unit, Meaning::Point, &format!("limit of {user}"))?;
        let (declared, tag) = self.raw.tag.at(place?)?;
        if tag.range.is_none() {
            let declared = declared.span();
            let message = format!("{user} trusts any value of \"{}\"", name.get());
            self.report(&codes::INTERLOCK_RANGE, name.span(), message, |found| {
                found
                    .label("this tag has no range")
                    .also(declared, "declared here")
                    .note("a broken sensor reads far below or above, and would close the interlock")
                    .help("give the tag a `range`, so that such a value is Bad and opens it")
            });
            return None;
        }
        let value = value.to_f64();
        Some(if above { Condition::Above(value) } else { Condition::Below(value) })
    }

    /// Measured quality; also fills `label_units`.
    pub(super) fn labels(&mut self) -> Option<Vec<CharacteristicPlan>> {
        let raw = self.raw;
        let all: Vec<_> =
            raw.label.iter().map(|(name, label)| self.one_label(name, label)).collect();
        all.into_iter().collect()
    }

    fn one_label(&mut self, name: &At<String>, label: &RawLabel) -> Option<CharacteristicPlan> {
        let user = format!("label \"{}\"", name.get());
        let unit = self.values.unit(&label.unit);
        self.label_units.push(unit.clone());
        let part = self.id_tag(&label.part, &user);
        let value = self.tag(&label.value, &user);
        if label.part.as_str() == label.value.as_str() {
            let message = format!("{user} reads part and value from one tag");
            self.report(&codes::GIVEN_TWICE, label.value.span(), message, |found| {
                found.also(label.part.span(), "also the part").help("name two tags")
            });
        } else if let Some(place) = value {
            self.same_unit(place, &label.value, &unit, &user);
        }
        let range = self.values.range(&label.range, &unit, &format!("`range` of {user}"));
        let (low, high) = range?;
        Some(CharacteristicPlan {
            name: name.get().clone(),
            unit: unit.text(),
            part: part?,
            value: tag_id(value?),
            range: (low.to_f64(), high.to_f64()),
        })
    }

    /// Reports a tag whose numbers are not numbers of `unit`: values are taken as they arrive.
    pub(super) fn same_unit(
        &mut self,
        place: usize,
        name: &At<String>,
        unit: &TagUnit,
        user: &str,
    ) {
        let tag = self.tag_unit(Some(place));
        let (Some(tag), Some(unit)) = (tag.known(), unit.known()) else { return };
        if tag.is_same(unit) {
            return;
        }
        let shown = |unit: &Unit| {
            if unit.is_none() { "no unit".to_owned() } else { unit.text().to_owned() }
        };
        let message = format!(
            "{user} is in {}, but its tag \"{}\" is in {}",
            shown(unit),
            name.get(),
            shown(tag)
        );
        let declared = self.raw.tag.at(place).map(|(declared, _)| declared.span());
        self.report(&codes::UNIT_MISMATCH, name.span(), message, |found| {
            let found = match declared {
                Some(span) => found.also(span, "declared here"),
                None => found,
            };
            found.help("give both the same unit: values are taken as they arrive")
        });
    }
}
