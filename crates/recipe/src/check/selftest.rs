//! The `[[check]]` tables: names and values that a test of the recipe speaks of.

use trimloop_core::guard::Reason;

use super::{Checker, Meaning};
use crate::codes;
use crate::raw::{RawCheck, RawExpect, RawGiven};
use crate::spanned::At;

impl Checker<'_> {
    /// All tests.
    pub(super) fn selftests(&mut self) {
        let raw = self.raw;
        for check in &raw.check {
            self.one_selftest(check);
        }
    }

    fn one_selftest(&mut self, check: &At<RawCheck>) {
        let user = format!("check \"{}\"", check.name.get());
        self.given(&check.given, &user);
        let expect = check.expect.get();
        let nothing = expect.signature.is_none()
            && expect.no_signature.is_none()
            && expect.moves.is_none()
            && expect.within.is_none()
            && expect.hold.is_none();
        if nothing {
            let message = format!("{user} expects nothing");
            self.report(&codes::CHECK_SHAPE, check.expect.span(), message, |found| {
                found.help("add `signature`, `no_signature`, `moves`, `within` or `hold`")
            });
        }
        self.expect(expect, &check.expect, &user);
    }

    fn given(&mut self, given: &RawGiven, user: &str) {
        let tables = self.raw;
        self.values.count(&given.parts, 1, 512, &format!("`parts` of {user}"));
        if let Some(mode) = &given.mode {
            self.values.word(mode, &[("shadow", ()), ("auto", ())], &format!("`mode` of {user}"));
        }
        for (tag, value) in given.values.iter() {
            // A test alone makes no use of a tag: looked up without noting it.
            let used = self.used_tags.clone();
            let place = self.tag(tag, user);
            self.used_tags = used;
            let unit = self.tag_unit(place);
            let counted = unit.known().is_some_and(crate::unit::Unit::is_none);
            if !(counted && matches!(value.text.as_str(), "true" | "false")) {
                let what = format!("value of \"{}\" in {user}", tag.get());
                self.values.quantity(value, &unit, Meaning::Point, &what);
            }
        }
        for (label, value) in given.labels.iter() {
            let place = self.lookup(&tables.label, "label", label, user);
            let unit = place.and_then(|place| self.label_units.get(place)).cloned();
            let what = format!("value of \"{}\" in {user}", label.get());
            if let Some(unit) = unit {
                self.values.quantity(value, &unit, Meaning::Point, &what);
            }
        }
        for name in &given.open {
            self.lookup(&tables.interlock, "interlock", name, user);
        }
    }

    fn expect(&mut self, expect: &RawExpect, at: &At<RawExpect>, user: &str) {
        let tables = self.raw;
        for name in [&expect.signature, &expect.no_signature].into_iter().flatten() {
            self.signature(name, user);
        }
        if let Some(moves) = &expect.moves {
            let words = [("up", ()), ("down", ()), ("not", ())];
            self.values.word(moves, &words, &format!("`moves` of {user}"));
        }
        if let Some(hold) = &expect.hold {
            let words = Reason::ALL.map(|reason| (reason.word(), ()));
            self.values.word(hold, &words, &format!("`hold` of {user}"));
        }
        let Some(setpoint) = &expect.setpoint else {
            if expect.moves.is_some() || expect.within.is_some() {
                let message = format!("{user} does not say which setpoint it speaks of");
                self.report(&codes::CHECK_SHAPE, at.span(), message, |found| {
                    found.help("add `setpoint = \"…\"` beside `moves` or `within`")
                });
            }
            return;
        };
        let place = self.lookup(&tables.setpoint, "setpoint", setpoint, user);
        let tag = place.and_then(|place| tables.setpoint.at(place));
        let tag = tag.and_then(|(_, setpoint)| tables.tag.position(&setpoint.tag));
        if let Some(within) = &expect.within {
            let unit = self.tag_unit(tag);
            let [low, high] = &within.0;
            for value in [low, high] {
                self.values.quantity(value, &unit, Meaning::Point, &format!("`within` of {user}"));
            }
        }
    }
}
