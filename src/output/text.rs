//! Tables for people.

use super::dto::{LinkStatus, LoopStatus, SinkLine, Status};

/// `trimloop status` for people.
#[must_use]
pub fn status_table(status: &Status) -> String {
    let mut out = String::new();
    let latency = status.latency_ms.p99.map_or(String::new(), |p99| format!("  p99 {p99:.1} ms"));
    out.push_str(&format!(
        "{}  recipe {} r{}  {}  part {}  writes {}{latency}\n",
        heading(status),
        status.recipe,
        status.revision,
        links(&status.plcs),
        status.part,
        status.writes
    ));
    let rows: Vec<[String; 7]> = status.loops.iter().map(row).collect();
    let header = ["LOOP", "MODE", "SETPOINT", "SP->NEW", "TRIM", "WRITE", "WHY"].map(str::to_owned);
    let mut widths = header.each_ref().map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    for link in &status.plcs {
        let several = status.plcs.len() > 1;
        let of = if several { format!("{}: ", link.plc) } else { String::new() };
        if let Some(trouble) = &link.trouble {
            let at = match link.address.as_str() {
                "" => String::new(),
                address => format!(" at {address}"),
            };
            out.push_str(&format!("{of}PLC link{at} {}: {trouble}\n", link.state));
        } else if link.addresses > 1 {
            out.push_str(&format!("{of}PLC link by {}\n", link.address));
        }
        for problem in &link.problems {
            out.push_str(&format!("{of}node {problem}\n"));
        }
        if let Some(backfill) = &link.backfill {
            out.push_str(&format!("{of}backfill: {backfill}\n"));
        }
    }
    let bad: Vec<String> = status
        .tags
        .iter()
        .filter(|tag| tag.quality != "good")
        .map(|tag| format!("{} {}", tag.name, tag.quality.replace('_', " ")))
        .collect();
    if !bad.is_empty() {
        out.push_str(&format!("tags not good: {}\n", bad.join(", ")));
    }
    for drift in &status.drifts {
        out.push_str(&format!("{}\n", drift.sentence));
    }
    for forecast in &status.forecasts {
        out.push_str(&format!("{}\n", forecast.sentence));
    }
    for sink in &status.sinks {
        out.push_str(&sink_line(sink));
    }
    if !status.records_sound {
        out.push_str("RECORDS FAIL: journal or store take nothing; no setpoint is written\n");
    }
    out
}

/// `influx sending  behind 1200 rows, 3 s  dead 2`: losses only where there are some.
fn sink_line(sink: &SinkLine) -> String {
    let mut out = format!("{} {}", sink.name, sink.state.to_uppercase());
    if sink.state == "sending" {
        out.make_ascii_lowercase();
    }
    out.push_str(&format!("  behind {} rows", sink.behind_rows));
    if sink.behind_rows > 0 {
        out.push_str(&format!(", {:.0} s", sink.behind_seconds));
    }
    for loss in ["dead", "quarantined", "expired"] {
        let count = sink.counters.get(&format!("rows_{loss}")).copied().unwrap_or_default();
        if count > 0 {
            out.push_str(&format!("  {loss} {count}"));
        }
    }
    if let Some(why) = &sink.why {
        out.push_str(&format!("  {why}"));
    }
    out.push('\n');
    out
}

/// The cell and, where there is just one, its PLC.
fn heading(status: &Status) -> String {
    match status.plcs.as_slice() {
        [only] => format!("{} {}", status.cell, only.plc),
        _ => status.cell.clone(),
    }
}

/// One word on each link.
fn links(plcs: &[LinkStatus]) -> String {
    let word = |link: &LinkStatus| match (link.up, link.age_ms) {
        (true, Some(age)) => format!("ok {age:.0} ms"),
        (true, None) => "ok".to_owned(),
        (false, _) => "DOWN".to_owned(),
    };
    match plcs {
        [only] => format!("PLC {}", word(only)),
        _ => {
            let each = plcs.iter().map(|link| format!("{} {}", link.plc, word(link)));
            format!("PLCs {}", each.collect::<Vec<_>>().join(", "))
        }
    }
}

fn row(status: &LoopStatus) -> [String; 7] {
    let decimals = usize::from(status.decimals);
    let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.decimals$}"));
    let mode = match status.trip.as_str() {
        // A person has it: that is what people must see first.
        "clear" if status.owner == "operator" => "MANUAL".to_owned(),
        "clear" => status.mode.to_uppercase(),
        "returning" => "RETURN".to_owned(),
        _ => "TRIPPED".to_owned(),
    };
    let (at, to) = (number(status.read_back), number(status.limited));
    let moves = match status.mode.as_str() {
        "auto" if status.limited != status.read_back => format!("{at}->{to}"),
        "shadow" | "advisory" if status.limited.is_some_and(|x| Some(x) != status.read_back) => {
            format!("{at} (would {to})")
        }
        _ => at.clone(),
    };
    let why = match (&status.trip_reason, &status.proposal, &status.held) {
        (Some(reason), _, _) => format!("tripped: {}", reason.replace('_', " ")),
        (None, Some(proposal), _) => format!("proposal {} waits for approval", proposal.id),
        (None, None, Some(held)) => format!("held: {}", held.replace('_', " ")),
        (None, None, None) => format!("rung {}", status.rung.replace('_', " ")),
    };
    let unit = if status.unit.is_empty() { "" } else { " " };
    [
        status.name.clone(),
        mode,
        format!("{}{unit}{}", status.setpoint, status.unit),
        moves,
        format!("{:.0} %", status.authority_used_percent),
        status.last_write.clone().unwrap_or_else(|| "-".to_owned()),
        why,
    ]
}

/// A text inside HTML, also inside an attribute in double quotes.
pub(crate) fn html_escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that holds back says so, with its lag, losses and reason, in one line.
    #[test]
    fn a_sink_has_one_line() {
        let mut sink =
            SinkLine { name: "influx".into(), state: "sending".into(), ..SinkLine::default() };
        assert_eq!(sink_line(&sink), "influx sending  behind 0 rows\n");
        sink.state = "held".into();
        (sink.behind_rows, sink.behind_seconds) = (1200, 61.7);
        sink.why = Some("HTTP 401".into());
        sink.counters.insert("rows_dead".into(), 2);
        assert_eq!(sink_line(&sink), "influx HELD  behind 1200 rows, 62 s  dead 2  HTTP 401\n");
    }

    /// What a loop does and why stands in one line each, whatever its state.
    #[test]
    fn the_table_says_what_each_loop_does_and_why() {
        let auto = LoopStatus {
            name: "weight".into(),
            mode: "auto".into(),
            trip: "clear".into(),
            rung: "full".into(),
            setpoint: "hold_pressure".into(),
            unit: "bar".into(),
            decimals: 1,
            read_back: Some(360.0),
            limited: Some(362.5),
            authority_used_percent: 12.4,
            last_write: Some("7-12".into()),
            ..LoopStatus::default()
        };
        let held = LoopStatus {
            name: "sink".into(),
            mode: "shadow".into(),
            held: Some("warm_up".into()),
            read_back: None,
            limited: None,
            ..auto.clone()
        };
        let tripped = LoopStatus {
            trip: "latched".into(),
            trip_reason: Some("no_effect".into()),
            ..auto.clone()
        };
        let status = Status {
            cell: "cell-1".into(),
            plcs: vec![LinkStatus { plc: "press-4".into(), ..LinkStatus::default() }],
            recipe: "lid".into(),
            revision: 3,
            loops: vec![auto, held, tripped],
            records_sound: true,
            ..Status::default()
        };
        let table = status_table(&status);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "cell-1 press-4  recipe lid r3  PLC DOWN  part 0  writes 0");
        assert!(lines[2].contains("AUTO") && lines[2].contains("360.0->362.5"), "{table}");
        assert!(lines[2].contains(" 7-12 "), "{table}");
        assert!(lines[3].contains("SHADOW") && lines[3].ends_with("held: warm up"), "{table}");
        let dryer = LinkStatus {
            plc: "dryer".into(),
            up: true,
            age_ms: Some(12.2),
            problems: vec!["temp: missing".into()],
            backfill: Some("gap of 12 min".into()),
            ..LinkStatus::default()
        };
        let two = Status { plcs: vec![status.plcs[0].clone(), dryer], ..status.clone() };
        let both = status_table(&two);
        let first = "cell-1  recipe lid r3  PLCs press-4 DOWN, dryer ok 12 ms  part 0  writes 0\n";
        assert!(
            both.starts_with(first)
                && both.contains("\ndryer: node temp: missing\ndryer: backfill: gap of 12 min\n"),
            "{both}"
        );
        assert!(lines[4].contains("TRIPPED") && lines[4].ends_with("no effect"), "{table}");
    }
}
