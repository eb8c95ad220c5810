//! Names for the plan's indices, and what each event says.

use trimloop_core::drift::DriftCheck;
use trimloop_core::event::What;
use trimloop_core::model::forecast::Forecast;
use trimloop_core::plan::{ModelId, Plan, PlcId};
use trimloop_core::unit::{Grid, Ticks};

/// A name with its unit; the unit is empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Name in the recipe.
    pub name: String,
    /// Unit in the recipe.
    pub unit: String,
}

/// A setpoint's name, unit and grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetpointName {
    /// Name in the recipe.
    pub name: String,
    /// Unit in the recipe.
    pub unit: String,
    /// What one tick is.
    pub grid: Grid,
}

/// The names of one plan, each list in the order of its index type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// By `PlcId`.
    pub plcs: Vec<Named>,
    /// By `TagId`.
    pub tags: Vec<Named>,
    /// By `FeatureId`.
    pub features: Vec<Named>,
    /// By `ModelId`.
    pub models: Vec<Named>,
    /// By `SignatureId`.
    pub signatures: Vec<Named>,
    /// By `InterlockId`.
    pub interlocks: Vec<Named>,
    /// By index of the plan's bindings.
    pub bindings: Vec<Named>,
    /// By `CharacteristicId`.
    pub characteristics: Vec<Named>,
    /// By `SetpointId`.
    pub setpoints: Vec<SetpointName>,
    /// By `LoopId`.
    pub loops: Vec<Named>,
    /// Index of the setpoint that each loop moves, by `LoopId`.
    pub loop_setpoints: Vec<usize>,
}

impl Names {
    /// The names of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let bare = |name: &String| Named { name: name.clone(), unit: String::new() };
        let named = |name: &String, unit: &String| Named { name: name.clone(), unit: unit.clone() };
        Self {
            plcs: plan.links.iter().map(|x| bare(&x.name)).collect(),
            tags: plan.tags.iter().map(|x| named(&x.name, &x.unit)).collect(),
            features: plan.features.iter().map(|x| named(&x.name, &x.unit)).collect(),
            models: plan.models.iter().map(|x| bare(&x.name)).collect(),
            signatures: plan.signatures.iter().map(|x| bare(&x.name)).collect(),
            interlocks: plan.interlocks.iter().map(|x| bare(&x.name)).collect(),
            bindings: plan.bindings.iter().map(|x| bare(&x.name)).collect(),
            characteristics: plan.characteristics.iter().map(|x| named(&x.name, &x.unit)).collect(),
            setpoints: plan
                .setpoints
                .iter()
                .map(|x| SetpointName { name: x.name.clone(), unit: x.unit.clone(), grid: x.grid })
                .collect(),
            loops: plan.loops.iter().map(|x| bare(&x.name)).collect(),
            loop_setpoints: plan.loops.iter().map(|x| x.setpoint.index()).collect(),
        }
    }

    /// A setpoint's value with its unit, as people read it.
    #[must_use]
    pub fn setpoint_text(&self, index: usize, ticks: Ticks) -> String {
        self.setpoints.get(index).map_or_else(
            || format!("{} ticks", ticks.count()),
            |s| {
                let decimals = usize::from(s.grid.decimals());
                format!("{:.decimals$} {}", s.grid.value(ticks), s.unit).trim_end().to_owned()
            },
        )
    }

    /// A loop's name.
    #[must_use]
    pub fn loop_name(&self, index: usize) -> String {
        name_of(&self.loops, index)
    }

    /// A setpoint's name.
    #[must_use]
    pub fn setpoint_name(&self, index: usize) -> String {
        self.setpoints.get(index).map_or_else(|| format!("#{index}"), |s| s.name.clone())
    }

    /// Index of the setpoint that a loop moves.
    #[must_use]
    pub fn setpoint_of(&self, loop_index: usize) -> Option<usize> {
        self.loop_setpoints.get(loop_index).copied()
    }

    /// A setpoint's value in its unit; `None` when there is no such setpoint.
    #[must_use]
    pub fn setpoint_value(&self, index: usize, ticks: Ticks) -> Option<f64> {
        self.setpoints.get(index).map(|s| s.grid.value(ticks))
    }
}

/// A name by index; an index the plan does not have is shown as a number, never a panic.
fn name_of(list: &[Named], index: usize) -> String {
    list.get(index).map_or_else(|| format!("#{index}"), |named| named.name.clone())
}

/// What a check of drift found, in words; the numbers stand behind it.
#[must_use]
pub fn drift_words(check: DriftCheck, feature: Option<&str>) -> String {
    match check {
        DriftCheck::Inputs => {
            let what = feature.unwrap_or("an input");
            format!("{what} is spread unlike in training, population stability index")
        }
        DriftCheck::Score => "its score is higher than in training, mean".to_owned(),
        DriftCheck::Domain => "too many parts are out of its domain, share".to_owned(),
        DriftCheck::Loss => "labels differ from what it says more than at first".to_owned(),
        DriftCheck::Calibration => "its probabilities do not mean what they say, slope".to_owned(),
    }
}

/// Three digits that count.
fn shown(x: f64) -> String {
    let digits = if x.abs() < 10.0 { 3 } else { 1 };
    format!("{x:.digits$}")
}

/// Name of a forecast model, and a sentence about where it goes.
#[must_use]
pub fn forecast_text(model: ModelId, made: &Forecast, names: &Names) -> (String, String) {
    let name = name_of(&names.models, model.index());
    let limit = match (made.to_limit, made.to_limit_range) {
        (Some(time), Some((early, late))) if time > 0.0 => {
            format!("reaches its limit in {time:.0} parts (P10 {early:.0}, P90 {late:.0})")
        }
        (Some(_), _) => "is beyond its limit, noise set aside".to_owned(),
        (None, _) => "reaches no limit that can be foreseen".to_owned(),
    };
    let sentence = format!(
        "Model {name} {limit}; forecast {} ({} to {}), trend {}.",
        shown(made.value),
        shown(made.low),
        shown(made.high),
        made.trend.word()
    );
    (name, sentence)
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventText {
    /// Stable `snake_case` word.
    pub code: &'static str,
    /// Whom it is about: a PLC, a tag, a loop, a setpoint; empty for our own clock.
    pub subject: String,
    /// The rest in one word or number; may be empty.
    pub detail: String,
    /// The sentence people read.
    pub sentence: String,
}

/// The words of an event.
#[must_use]
pub fn event_text(what: &What, names: &Names) -> EventText {
    let plc = |i: usize| name_of(&names.plcs, i);
    let tag = |i: usize| name_of(&names.tags, i);
    let model = |i: usize| name_of(&names.models, i);
    let of_loop = |i: usize| name_of(&names.loops, i);
    let characteristic = |i: usize| name_of(&names.characteristics, i);
    let setpoint = |i: usize| names.setpoint_name(i);
    let say = |code, subject: String, detail: String, sentence: String| EventText {
        code,
        subject,
        detail,
        sentence,
    };
    let plain = |code, sentence: &str| say(code, String::new(), String::new(), sentence.to_owned());
    let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
    match *what {
        What::LinkUp(p, epoch) => {
            let name = plc(p.index());
            let sentence = format!("The link to PLC {name} is up (session {epoch}).");
            say("link_up", name, epoch.to_string(), sentence)
        }
        What::LinkDown(p) => {
            let name = plc(p.index());
            let sentence = format!("The link to PLC {name} is down; nothing is written to it.");
            say("link_down", name, String::new(), sentence)
        }
        What::HeartbeatLost(p) => {
            let name = plc(p.index());
            let sentence =
                format!("PLC {name} no longer echoes the heartbeat; nothing is written to it.");
            say("heartbeat_lost", name, String::new(), sentence)
        }
        What::HeartbeatBack(p) => {
            let name = plc(p.index());
            let sentence = format!("PLC {name} echoes the heartbeat again.");
            say("heartbeat_back", name, String::new(), sentence)
        }
        What::TagQuality(t, quality) => {
            let (name, word) = (tag(t.index()), quality.word());
            let sentence = format!("{name} is now {}.", word.replace('_', " "));
            say("tag_quality", name, word.to_owned(), sentence)
        }
        What::StepAccepted(t) => {
            let name = tag(t.index());
            let sentence = format!("A fast change of {name} was confirmed by three samples.");
            say("step_accepted", name, String::new(), sentence)
        }
        What::ClockSkew(t) => {
            let name = tag(t.index());
            let sentence = format!("The time stamps of {name} are too far from this clock.");
            say("clock_skew", name, String::new(), sentence)
        }
        What::ProcessClockJump(p) => {
            let name = plc(p.index());
            let follows = if p == PlcId::LEAD {
                "process time stood still"
            } else {
                "its stamps are not believed until it runs evenly again"
            };
            let sentence = format!("The clock of PLC {name} jumped; {follows}.");
            say("process_clock_jump", name, String::new(), sentence)
        }
        What::MonotonicBackwards => {
            plain("monotonic_backwards", "This computer's monotonic clock ran backwards.")
        }
        What::Signature(s, on) => {
            let name = name_of(&names.signatures, s.index());
            let sentence = if on {
                format!("Signature {name} is on.")
            } else {
                format!("Signature {name} is off again.")
            };
            say("signature", name, on_off(on), sentence)
        }
        What::Domain(m, inside) => {
            let name = model(m.index());
            let sentence = if inside {
                format!("Model {name} is in its domain again.")
            } else {
                format!("Model {name} left its domain: what it says is not used.")
            };
            say("domain", name, if inside { "in" } else { "out" }.to_owned(), sentence)
        }
        What::Alarm(m, on) => {
            let name = model(m.index());
            let sentence = if on {
                format!("{name} is over its limit.")
            } else {
                format!("{name} is back under its limit.")
            };
            say("alarm", name, on_off(on), sentence)
        }
        What::Interlock(i, closed) => {
            let name = name_of(&names.interlocks, i.index());
            let word = if closed { "closed" } else { "open" };
            let sentence = format!("Interlock {name} is {word}.");
            say("interlock", name, word.to_owned(), sentence)
        }
        What::Binding(b, holds) => {
            let name = name_of(&names.bindings, usize::from(b));
            let sentence = if holds {
                format!("{name} fits the recipe again.")
            } else {
                format!("{name} does not fit the recipe; nothing is written.")
            };
            say("binding", name, if holds { "holds" } else { "broken" }.to_owned(), sentence)
        }
        What::ModeInForce(l, mode) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} is in {}.", mode.word().to_uppercase());
            say("mode", name, mode.word().to_owned(), sentence)
        }
        What::OrderDone(order) => say(
            "order_done",
            String::new(),
            order.to_string(),
            format!("Order {order} was carried out."),
        ),
        What::OrderRefused(order, why) => say(
            "order_refused",
            String::new(),
            format!("{order} {}", why.word()),
            format!("Order {order} was refused: {}.", why.word().replace('_', " ")),
        ),
        What::Rung(l, rung) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} stands on rung {}.", rung.word().replace('_', " "));
            say("rung", name, rung.word().to_owned(), sentence)
        }
        What::ExternalChange(s, ticks) => {
            let (name, value) = (setpoint(s.index()), names.setpoint_text(s.index(), ticks));
            let sentence = format!("Somebody else set {name} to {value}; it stays.");
            say("external_change", name, value, sentence)
        }
        What::Tripped(l, reason) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} tripped: {}.", reason.word().replace('_', " "));
            say("tripped", name, reason.word().to_owned(), sentence)
        }
        What::Latched(l, reason) => {
            let name = of_loop(l.index());
            let sentence = format!(
                "{name} holds still after its trip ({}) until a person resets it.",
                reason.word().replace('_', " ")
            );
            say("latched", name, reason.word().to_owned(), sentence)
        }
        What::Reset(l) => {
            let name = of_loop(l.index());
            let sentence = format!("The trip of {name} was reset.");
            say("reset", name, String::new(), sentence)
        }
        What::EffectMissing(l) => {
            let name = of_loop(l.index());
            let sentence = format!("The moves of {name} did not help; its authority was halved.");
            say("effect_missing", name, String::new(), sentence)
        }
        What::Oscillating(l) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} oscillates; its gain was halved.");
            say("oscillating", name, String::new(), sentence)
        }
        What::Saturated(l) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} has stood at a limit for too long.");
            say("saturated", name, String::new(), sentence)
        }
        What::AuthorityUsed(l, percent) => {
            let name = of_loop(l.index());
            let sentence = format!("{name} uses {percent} % of its trim.");
            say("authority_used", name, percent.to_string(), sentence)
        }
        What::WriteRefused(s, status) => {
            let name = setpoint(s.index());
            let sentence = format!("The PLC refused a write to {name} (status 0x{status:08X}).");
            say("write_refused", name, format!("0x{status:08X}"), sentence)
        }
        What::WriteUnknown(s) => {
            let name = setpoint(s.index());
            let sentence = format!("A write to {name} got no answer; it is read back first.");
            say("write_unknown", name, String::new(), sentence)
        }
        What::LabelUnmatched(c, part) => {
            let name = characteristic(c.index());
            let sentence = format!("A label of {name} names part {part}, which is not known.");
            say("label_unmatched", name, part.to_string(), sentence)
        }
        What::LabelRefused(c, part) => {
            let name = characteristic(c.index());
            let sentence = format!("A label of {name} for part {part} is out of range.");
            say("label_refused", name, part.to_string(), sentence)
        }
        What::Overrun(count) => say(
            "overrun",
            String::new(),
            count.to_string(),
            format!("{count} samples were left for the next scan."),
        ),
        What::Drift(m, drift) => {
            let (value, limit) = (shown(drift.value), shown(drift.limit));
            let feature = drift.feature.map(|f| name_of(&names.features, f.index()));
            let said = drift_words(drift.check, feature.as_deref());
            let name = model(m.index());
            let what = feature.map_or_else(String::new, |feature| format!(" {feature}"));
            let detail = format!("{}{what} {value} over {limit}", drift.check.word());
            let sentence = format!("Model {name} drifts: {said} ({value}, limit {limit}).");
            say("model_drift", name, detail, sentence)
        }
        What::DriftOver(m, check) => {
            let name = model(m.index());
            let sentence = format!(
                "Model {name} no longer drifts by its {}; modes stay as they are.",
                check.word()
            );
            say("model_drift_over", name, check.word().to_owned(), sentence)
        }
        What::Demoted(l, m) => {
            let (name, of) = (of_loop(l.index()), model(m.index()));
            let sentence = format!("{name} was lowered to SHADOW: model {of} drifts.");
            say("demoted", name, of, sentence)
        }
        What::LimitNear(m, time) => {
            let (name, parts) = (model(m.index()), shown(time));
            let sentence = if time > 0.0 {
                format!("What model {name} says reaches its limit in {parts} parts.")
            } else {
                format!("What model {name} says is beyond its limit, noise set aside.")
            };
            say("limit_near", name, parts, sentence)
        }
        What::LimitFar(m) => {
            let name = model(m.index());
            let sentence = format!("What model {name} says no longer comes near its limit.");
            say("limit_far", name, String::new(), sentence)
        }
    }
}
