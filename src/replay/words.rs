//! Scans and actions in words.

use trimloop_core::ledger::Fate;
use trimloop_core::plan::LoopId;
use trimloop_core::record::{DecisionRow, LedgerRow, Outcome, Record};
use trimloop_core::scan::{AckResult, Command, Link};
use trimloop_core::tag::{Sample, Status, Value};
use trimloop_core::time::Mono;
use trimloop_core::unit::Ticks;

use crate::journal::{Note, OwnedScan};
use crate::output::{Named, Names, RecordId, event_text};

/// Samples of a scan that are told.
const SAMPLES_MAX: usize = 40;

fn name(list: &[Named], index: usize) -> String {
    list.get(index).map_or_else(|| format!("#{index}"), |named| named.name.clone())
}

/// A number as Rust prints it: the shortest text that means just this number, so that a difference
/// in the last bit shows.
fn number(x: Option<f64>) -> String {
    x.map_or_else(|| "unknown".to_owned(), |x| x.to_string())
}

/// What went into a scan, one line each.
pub(super) fn scan_lines(scan: &OwnedScan, names: &Names, boot: u64) -> Vec<String> {
    let mut lines: Vec<String> = (scan.links.iter().enumerate())
        .map(|(place, link)| link_line(&name(&names.plcs, place), link, scan.now.mono))
        .collect();
    for sample in scan.changes.iter().take(SAMPLES_MAX) {
        lines.push(sample_line(sample, names));
    }
    if let Some(more) = scan.changes.len().checked_sub(SAMPLES_MAX).filter(|n| *n > 0) {
        lines.push(format!("... and {more} more samples"));
    }
    for ack in &scan.acks {
        let result = match ack.result {
            AckResult::Good => "answered Good".to_owned(),
            AckResult::Refused(status) => format!("refused, status 0x{status:08X}"),
            AckResult::NotSent => "not sent".to_owned(),
            AckResult::Unknown => "got no answer".to_owned(),
        };
        lines.push(format!("write {} {result}", RecordId::write(boot, ack.write)));
    }
    for order in &scan.commands {
        lines.push(format!("order {}: {}", order.id, command_text(&order.command, names)));
    }
    lines
}

fn link_line(plc: &str, link: &Link, now: Mono) -> String {
    let state = if link.up { "up" } else { "down" };
    let life = link
        .life
        .map_or_else(String::new, |life| format!(", heard {} ms ago", (now - life).as_millis()));
    format!("link to {plc} {state}, session {}{life}", link.epoch)
}

fn sample_line(sample: &Sample, names: &Names) -> String {
    let tag = names.tags.get(sample.tag.index());
    let tag_name = name(&names.tags, sample.tag.index());
    let value = match sample.value {
        None => "no value".to_owned(),
        Some(Value::Float(x)) => x.to_string(),
        Some(Value::Int(i)) => i.to_string(),
        Some(Value::Bool(b)) => b.to_string(),
    };
    let unit = tag.map_or("", |tag| tag.unit.as_str());
    let status = match sample.status {
        Status::Good => String::new(),
        Status::Uncertain(code) => format!(" uncertain 0x{code:08X}"),
        Status::Bad(code) => format!(" bad 0x{code:08X}"),
    };
    format!("{tag_name} = {value} {unit}").trim_end().to_owned() + &status
}

fn command_text(command: &Command, names: &Names) -> String {
    let of = |id: LoopId| names.loop_name(id.index());
    match command {
        Command::SetMode(id, mode) => format!("{} to {}", of(*id), mode.word().to_uppercase()),
        Command::TakeManual(id) => format!("take {} over", of(*id)),
        Command::Approve { proposal, expected } => {
            format!("approve proposal {proposal} (seen at {} ticks)", expected.count())
        }
        Command::Deny { proposal } => format!("deny proposal {proposal}"),
        Command::Trip(id) => format!("trip {}", of(*id)),
        Command::Reset(id) => format!("reset {}", of(*id)),
        Command::Label(label) => format!(
            "{} of part {} is {}",
            name(&names.characteristics, label.characteristic.index()),
            label.part,
            label.value
        ),
    }
}

/// What came out of a step, one line each.
pub(super) fn action_lines(notes: &[Note], names: &Names, boot: u64) -> Vec<String> {
    notes.iter().map(|note| note_line(note, names, boot)).collect()
}

/// One action.
pub(super) fn note_line(note: &Note, names: &Names, boot: u64) -> String {
    match note {
        Note::Write(write) => {
            let setpoint = write.setpoint.index();
            format!(
                "WRITE {} {}: {} to {}",
                RecordId::write(boot, write.seq),
                names.setpoint_name(setpoint),
                names.setpoint_text(setpoint, write.from),
                names.setpoint_text(setpoint, write.to),
            )
        }
        Note::Heartbeat(plc, beat) => {
            format!("heartbeat {beat} to {}", name(&names.plcs, plc.index()))
        }
        Note::Ask(proposal) => {
            let setpoint = names.setpoint_of(proposal.loop_id.index()).unwrap_or(usize::MAX);
            format!(
                "proposal {}: {} from {} to {}",
                proposal.id,
                names.loop_name(proposal.loop_id.index()),
                names.setpoint_text(setpoint, proposal.from),
                names.setpoint_text(setpoint, proposal.to),
            )
        }
        Note::Event(event) => format!("event: {}", event_text(&event.what, names).sentence),
        Note::Record(record) => record_line(record, names, boot),
    }
}

fn record_line(record: &Record, names: &Names, boot: u64) -> String {
    match record {
        Record::Part(row) => {
            let flags = [(row.warm_up, "warm-up"), (row.mixed, "mixed"), (row.gap, "gap")];
            let flags: Vec<&str> = flags.iter().filter(|(on, _)| *on).map(|(_, w)| *w).collect();
            let flags = if flags.is_empty() { "clean".to_owned() } else { flags.join(", ") };
            format!("part {} ended, {flags}", row.part)
        }
        Record::Feature(row) => format!(
            "feature {} = {}, coverage {}",
            name(&names.features, row.feature.index()),
            number(row.value),
            row.coverage
        ),
        Record::Score(row) => format!(
            "score {} = {}{}{}",
            name(&names.models, row.model.index()),
            number(row.value),
            if row.in_domain { "" } else { ", out of domain" },
            if row.alarm { ", over its limit" } else { "" }
        ),
        Record::Forecast(row) => {
            let made = &row.forecast;
            let name = name(&names.models, row.model.index());
            let limit =
                made.to_limit.map_or_else(String::new, |parts| format!(", limit in {parts} parts"));
            format!(
                "forecast {name} = {}, {} to {}, trend {}{limit}",
                made.value,
                made.low,
                made.high,
                made.trend.word()
            )
        }
        Record::Contribution(row) => format!(
            "{} because {}: share {}, {} sd",
            name(&names.models, row.model.index()),
            name(&names.features, row.feature.index()),
            row.share,
            row.z
        ),
        Record::Label(row) => format!(
            "{} of part {} = {}{}",
            name(&names.characteristics, row.characteristic.index()),
            row.part,
            row.value,
            if row.used { "" } else { ", not used" }
        ),
        Record::Decision(row) => decision_line(row, names, boot),
        Record::Ledger(row) => ledger_line(row, names, boot),
        Record::Check(row) => {
            let state = row.answer.word().replace('_', " ");
            let margin = row.margin.map_or_else(String::new, |margin| {
                format!(", margin {margin} {}", row.measure.word())
            });
            format!("check {}: {state}{margin}", row.check.word())
        }
        Record::Input(row) => format!(
            "input {} = {}, {}, {} ms old",
            row.feature.map_or_else(
                || name(&names.tags, row.tag.index()),
                |feature| name(&names.features, feature.index())
            ),
            number(row.value),
            row.quality.word(),
            row.age.map_or(-1, trimloop_core::time::Span::as_millis)
        ),
        Record::Wish(row) => format!(
            "wish of {} labels: bias {}, fed {}",
            row.labels,
            number(row.bias),
            number(row.fed)
        ),
    }
}

fn decision_line(row: &DecisionRow, names: &Names, boot: u64) -> String {
    let setpoint = names.setpoint_of(row.loop_id.index()).unwrap_or(usize::MAX);
    let ticks = |ticks: Option<Ticks>| {
        ticks.map_or_else(|| "?".to_owned(), |ticks| names.setpoint_text(setpoint, ticks))
    };
    let outcome = match row.outcome {
        Outcome::Write(n) => format!("writes {}", RecordId::write(boot, n)),
        Outcome::Return(n) => format!("returns, {}", RecordId::write(boot, n)),
        Outcome::WouldWrite => "would write".to_owned(),
        Outcome::Asked(id) => format!("asks, proposal {id}"),
        Outcome::Hold(reason) => format!("holds: {}", reason.word().replace('_', " ")),
        Outcome::Trip(reason) => format!("trips: {}", reason.word().replace('_', " ")),
    };
    format!(
        "decision {}: {} at {} wants {}, limited to {} (cut: {}), mode {}, rung {}: {outcome}",
        RecordId::decision(boot, row.number),
        names.loop_name(row.loop_id.index()),
        ticks(row.read_back),
        number(row.desired),
        ticks(row.limited),
        row.cut.word(),
        row.mode.word().to_uppercase(),
        row.rung.word(),
    )
}

fn ledger_line(row: &LedgerRow, names: &Names, boot: u64) -> String {
    let setpoint = row.setpoint.index();
    let read = row.read_back.map_or_else(String::new, |ticks| {
        format!(", reads {}", names.setpoint_text(setpoint, ticks))
    });
    let fate = match row.fate {
        Fate::Refused(status) => format!("refused (0x{status:08X})"),
        Fate::NotSent => "not sent".to_owned(),
        Fate::NotTaken => "not taken".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!(
        "ledger {} {} {}: {fate}{read}",
        RecordId::write(boot, row.write),
        names.setpoint_name(setpoint),
        names.setpoint_text(setpoint, row.sent),
    )
}
