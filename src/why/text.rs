//! The chain in words.

use std::fmt::Write as _;

use super::dto::{Check, Order, Why};

/// The answer for people.
#[must_use]
pub fn why_text(why: &Why) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_why(&mut out, why).unwrap_or_default();
    out
}

fn words(word: &str) -> String {
    word.replace('_', " ")
}

/// A number as short as it can be told.
fn short(x: f64) -> String {
    let text = format!("{x:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn with_unit(number: &str, unit: &str) -> String {
    format!("{number} {unit}").trim_end().to_owned()
}

impl Why {
    fn setpoint_value(&self, x: Option<f64>) -> String {
        x.map_or_else(
            || "?".to_owned(),
            |x| with_unit(&format!("{x:.*}", self.decimals), &self.unit),
        )
    }

    fn headline(&self) -> String {
        let (from, to) = (self.setpoint_value(self.read_back), self.setpoint_value(self.limited));
        let reason = self.reason.as_deref().map(words).unwrap_or_default();
        match self.outcome.as_str() {
            "write" => format!("{} wrote {} {from} -> {to}", self.loop_name, self.setpoint),
            "return" => format!("{} returned {} {from} -> {to}", self.loop_name, self.setpoint),
            "would_write" => {
                format!("{} would have written {} {from} -> {to}", self.loop_name, self.setpoint)
            }
            "asked" => format!("{} proposed {} {from} -> {to}", self.loop_name, self.setpoint),
            "trip" => format!("{} tripped: {reason}", self.loop_name),
            _ => format!(
                "{} wrote nothing, {} stays at {from}: {reason}",
                self.loop_name, self.setpoint
            ),
        }
    }
}

fn write_why(out: &mut String, why: &Why) -> std::fmt::Result {
    if let Some(event) = &why.event {
        let id = event.id.as_deref().unwrap_or("event");
        writeln!(out, "{id}  {}  {}", event.utc, event.sentence)?;
        if why.decision.is_none() {
            writeln!(out, "no decision belongs to it")?;
            return Ok(());
        }
        writeln!(out, "\nThe decision it belongs to:")?;
    }
    let id = why.write.as_deref().or(why.decision.as_deref()).unwrap_or_default();
    writeln!(out, "{id}  {}  part {}", why.utc, why.part)?;
    writeln!(out, "{}", why.headline())?;
    write_origin(out, why)?;
    write_wish(out, why)?;
    write_inputs(out, why)?;
    write_scores(out, why)?;
    write_checks(out, why)?;
    write_people(out, why)?;
    write_fate(out, why)?;
    if !why.events.is_empty() {
        writeln!(out, "\nin the same scan")?;
        for event in &why.events {
            writeln!(out, "  {:<10} {}", event.id.as_deref().unwrap_or(""), event.sentence)?;
        }
    }
    Ok(())
}

fn write_origin(out: &mut String, why: &Why) -> std::fmt::Result {
    let brief = |hash: &str| hash.get(..16).unwrap_or(hash).to_owned();
    writeln!(
        out,
        "recipe {} r{}{}, plan {}, trimloop {}, start {} of {}",
        why.recipe,
        why.revision,
        why.recipe_sha256.as_deref().map_or_else(String::new, |hash| format!(" {}", brief(hash))),
        brief(&why.plan),
        why.trimloop,
        why.start,
        why.node
    )?;
    if !why.models.is_empty() {
        let list: Vec<String> =
            why.models.iter().map(|m| format!("{} {}", m.name, brief(&m.sha256))).collect();
        writeln!(out, "models {}", list.join(", "))?;
    }
    for model in &why.models {
        if let Some(order) = &model.approved_by {
            writeln!(out, "model {} approved by {}", model.name, said(order))?;
        }
    }
    Ok(())
}

fn write_wish(out: &mut String, why: &Why) -> std::fmt::Result {
    let desired = why.desired.map_or_else(
        || "had nothing to say".to_owned(),
        |x| format!("wanted {}", with_unit(&short(x), &why.unit)),
    );
    let cut = match why.cut.as_str() {
        "nothing" => "cut by no limit".to_owned(),
        cut => format!("cut by {cut}"),
    };
    let limited = why.limited.map_or_else(String::new, |_| {
        format!(", left {} ({cut})", why.setpoint_value(why.limited))
    });
    writeln!(
        out,
        "\nwish      the controller {desired}{limited}; mode {}, rung {}",
        why.mode.to_uppercase(),
        words(&why.rung)
    )?;
    let Some(wish) = &why.wish else { return Ok(()) };
    if let Some(signature) = &wish.signature {
        writeln!(out, "          signature {signature} is on")?;
    }
    if let (Some(target), Some(bias), Some(gain)) = (wish.target, wish.bias, wish.gain) {
        let fed = wish.fed.map_or_else(String::new, |fed| format!(", sensor feeds {}", short(fed)));
        writeln!(
            out,
            "          target {}, {} labels say {}{fed}; gain {gain} per {}",
            short(target),
            wish.labels,
            short(bias),
            if why.unit.is_empty() { "unit" } else { &why.unit }
        )?;
    }
    Ok(())
}

fn write_inputs(out: &mut String, why: &Why) -> std::fmt::Result {
    if let Some(missing) = &why.missing {
        writeln!(out, "\nnote: {missing}")?;
    }
    if let Some(of) = &why.evidence_of {
        writeln!(
            out,
            "\nnote: the outcome has not changed since {of}; inputs and checks are of then"
        )?;
    }
    if why.inputs.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\ninputs    {:<26} {:>14}  {:<16} {:>9}  coverage",
        "", "value", "quality", "age"
    )?;
    for input in &why.inputs {
        let value = input.value.map_or_else(|| "unknown".to_owned(), short);
        let age = input.age_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        writeln!(
            out,
            "          {:<26} {:>14}  {:<16} {age:>9}  {:.0} %",
            input.name,
            with_unit(&value, &input.unit),
            words(&input.quality),
            100.0 * input.coverage
        )?;
    }
    Ok(())
}

fn write_scores(out: &mut String, why: &Why) -> std::fmt::Result {
    for (place, score) in why.scores.iter().enumerate() {
        if place == 0 {
            writeln!(out)?;
        }
        let value = score.value.map_or_else(|| "unknown".to_owned(), short);
        let range = match (score.low, score.high) {
            (Some(low), Some(high)) if low < high => {
                format!(" ({} to {})", short(low), short(high))
            }
            _ => String::new(),
        };
        let domain = if score.in_domain { "in domain" } else { "OUT OF DOMAIN" };
        let alarm = if score.alarm { ", over its limit" } else { "" };
        let title = if place == 0 { "scores" } else { "" };
        writeln!(out, "{title:<10}{:<26} {value}{range}, {domain}{alarm}", score.model)?;
    }
    for (place, share) in why.contributions.iter().enumerate() {
        let title = if place == 0 { "because" } else { "" };
        writeln!(
            out,
            "{title:<10}{:<26} {}: {:+.1} sd, share {}",
            share.model,
            share.feature,
            share.z,
            short(share.share)
        )?;
    }
    Ok(())
}

fn write_checks(out: &mut String, why: &Why) -> std::fmt::Result {
    if why.checks.is_empty() {
        if !why.failed.is_empty() {
            writeln!(out, "\nchecks    failed: {}", why.failed.join(", "))?;
        }
        return Ok(());
    }
    writeln!(out, "\nchecks    {:<26} {:<10} {:>22}  margin", "", "", "found, of")?;
    for check in &why.checks {
        write_check(out, check)?;
    }
    Ok(())
}

fn write_check(out: &mut String, check: &Check) -> std::fmt::Result {
    let mark = match check.answer.as_str() {
        "passed" => "passed",
        "failed" => "FAILED",
        _ => "not asked",
    };
    let found = match (check.measured, check.limit) {
        (Some(measured), Some(limit)) => format!("{}, {}", short(measured), short(limit)),
        (Some(measured), None) => short(measured),
        _ => String::new(),
    };
    let unit = if check.unit == "share" { String::new() } else { check.unit.clone() };
    let margin = check.margin.map_or_else(String::new, |m| with_unit(&short(m), &unit));
    let subject = check.subject.as_deref().map_or(String::new(), |name| format!("  ({name})"));
    let line = format!(
        "  {:>2}      {:<26} {mark:<10} {found:>22}  {margin}{subject}",
        check.number,
        words(&check.check)
    );
    writeln!(out, "{}", line.trim_end())
}

fn said(order: &Order) -> String {
    format!("{}: \"{}\", {} (audit {})", order.actor, order.reason, order.utc, order.entry)
}

fn write_people(out: &mut String, why: &Why) -> std::fmt::Result {
    match (&why.raised_by, why.mode.as_str()) {
        (Some(order), _) => {
            writeln!(out, "\nraised    to {} by {}", why.mode.to_uppercase(), said(order))?;
        }
        (None, "auto" | "advisory") => {
            writeln!(out, "\nraised    by nobody in the audit trail of this start")?;
        }
        (None, _) => writeln!(
            out,
            "\nraised    by nobody: {} is where loops start",
            why.mode.to_uppercase()
        )?,
    }
    if let Some(order) = &why.approved_by {
        writeln!(out, "approved  by {}", said(order))?;
    }
    Ok(())
}

fn write_fate(out: &mut String, why: &Why) -> std::fmt::Result {
    for (place, step) in why.ledger.iter().enumerate() {
        let title = if place == 0 { "write" } else { "" };
        let after = step.after_ms.map_or(String::new(), |ms| format!(" after {ms:.1} ms"));
        let status =
            step.status.map_or(String::new(), |status| format!(" (status 0x{status:08X})"));
        let value = match step.fate.as_str() {
            "sent" => format!(" {}", why.setpoint_value(step.sent)),
            "confirmed" | "mismatch" | "not_taken" => {
                format!(", reads {}", why.setpoint_value(step.read_back))
            }
            _ => String::new(),
        };
        writeln!(out, "{title:<10}{}  {}{after}{value}{status}", step.utc, words(&step.fate))?;
    }
    if let Some(effect) = &why.effect {
        let by = effect.by.as_deref().unwrap_or("the next write");
        let words = match effect.state {
            "proven" => "seen: quality stayed near its target".to_owned(),
            "unproven" => "not seen: quality stayed away from its target".to_owned(),
            "superseded" => format!("{by} came before this one could be judged by itself"),
            "pending" => "not judged yet".to_owned(),
            _ => "none: the register does not hold it".to_owned(),
        };
        writeln!(out, "effect    {words}")?;
    }
    for (place, label) in why.labels.iter().enumerate() {
        let title = if place == 0 { "measured" } else { "" };
        writeln!(
            out,
            "{title:<10}{}  part {}: {} {}",
            label.utc,
            label.part,
            label.name,
            with_unit(&short(label.value), &label.unit)
        )?;
    }
    Ok(())
}
