//! A status as metrics, in the text format of Prometheus (version 0.0.4).
//!
//! A family is one `# HELP`, one `# TYPE` and its samples, in a fixed order. Names end with their
//! unit; what only grows ends with `_total`.

use super::dto::{LoopStatus, Status};

/// Words that a state can be; the one in force is 1, the others 0.
const MODES: [&str; 4] = ["off", "shadow", "advisory", "auto"];
const SINK_STATES: [&str; 4] = ["starting", "sending", "retrying", "held"];

/// The metrics of a status.
#[must_use]
pub fn metrics_text(status: &Status) -> String {
    let mut text = Metrics::default();
    text.family("trimloop_info", "gauge", "The service and its recipe; always 1.");
    let revision = status.revision.to_string();
    let info =
        [("version", status.version.as_str()), ("recipe", &status.recipe), ("revision", &revision)];
    text.sample(&[&[("cell", status.cell.as_str())], &info[..]].concat(), 1.0);
    text.one(
        "trimloop_ok",
        "Whether links are up, records sound and no loop is tripped.",
        status.ok,
    );
    let sound = "Whether journal and store take records; else nothing is written to the PLC.";
    text.one("trimloop_records_sound", sound, status.records_sound);
    text.links(status);
    text.loops(&status.loops);
    text.family("trimloop_tag_good", "gauge", "Whether the last scan believed the tag.");
    for tag in &status.tags {
        text.sample(&[("tag", &tag.name)], truth(tag.quality == "good"));
    }
    text.family("trimloop_count", "untyped", "What the service counts, by its name.");
    // Those of sinks have families of their own.
    for (name, count) in status.counters.iter().filter(|(name, _)| !name.starts_with("sink_")) {
        text.sample(&[("counter", name)], *count as f64);
    }
    text.family("trimloop_write_seconds", "summary", "Change received to write confirmed.");
    for (quantile, ms) in [("0.5", status.latency_ms.p50), ("0.99", status.latency_ms.p99)] {
        if let Some(ms) = ms {
            text.sample(&[("quantile", quantile)], ms / 1e3);
        }
    }
    text.sinks(status);
    text.text
}

#[derive(Default)]
struct Metrics {
    text: String,
    name: &'static str,
}

const fn truth(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

impl Metrics {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn one(&mut self, name: &'static str, help: &str, is: bool) {
        self.family(name, "gauge", help);
        self.sample(&[], truth(is));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (place, (label, word)) in labels.iter().enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.text.push_str(&format!("{label}=\"{word}\""));
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        self.text.push_str(&format!("{value}\n"));
    }

    /// One sample per word, 1 for the one in force.
    fn states(&mut self, whose: (&str, &str), of: &str, words: &[&str], now: &str) {
        for word in words {
            self.sample(&[whose, (of, word)], truth(*word == now));
        }
    }

    fn links(&mut self, status: &Status) {
        self.family(
            "trimloop_link_up",
            "gauge",
            "Whether a session with live subscriptions stands.",
        );
        for plc in &status.plcs {
            self.sample(&[("plc", &plc.plc)], truth(plc.up));
        }
        self.family("trimloop_link_age_seconds", "gauge", "Age of the last sign of life.");
        for (plc, ms) in status.plcs.iter().filter_map(|plc| Some((plc, plc.age_ms?))) {
            self.sample(&[("plc", &plc.plc)], ms / 1e3);
        }
    }

    fn loops(&mut self, loops: &[LoopStatus]) {
        self.family("trimloop_loop_mode", "gauge", "1 for the mode in force.");
        for of in loops {
            self.states(("loop", &of.name), "mode", &MODES, &of.mode);
        }
        self.family("trimloop_loop_tripped", "gauge", "Whether a trip is returning or latched.");
        for of in loops {
            self.sample(&[("loop", &of.name)], truth(of.trip != "clear"));
        }
        let help = "Share of the trim in use; its growth shows wear first.";
        self.family("trimloop_loop_authority_used_ratio", "gauge", help);
        for of in loops {
            self.sample(&[("loop", &of.name)], of.authority_used_percent / 100.0);
        }
        self.family("trimloop_loop_writes_total", "counter", "Writes confirmed since the start.");
        for of in loops {
            self.sample(&[("loop", &of.name)], of.writes as f64);
        }
    }

    fn sinks(&mut self, status: &Status) {
        self.family("trimloop_sink_state", "gauge", "1 for what the sink does just now.");
        for sink in &status.sinks {
            self.states(("sink", &sink.name), "state", &SINK_STATES, &sink.state);
        }
        self.family("trimloop_sink_behind_rows", "gauge", "Rows of history that wait.");
        for sink in &status.sinks {
            self.sample(&[("sink", &sink.name)], sink.behind_rows as f64);
        }
        self.family("trimloop_sink_behind_seconds", "gauge", "Age of the oldest row that waits.");
        for sink in &status.sinks {
            self.sample(&[("sink", &sink.name)], sink.behind_seconds);
        }
        let help = "Rows and requests: sent, resent, dead, quarantined, expired, by status.";
        self.family("trimloop_sink_total", "counter", help);
        for sink in &status.sinks {
            for (name, count) in &sink.counters {
                self.sample(&[("sink", &sink.name), ("counter", name)], *count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::dto::{LinkStatus, SinkLine};

    /// Each line is a comment or a sample of the family above it, and the numbers are those of the
    /// status.
    #[test]
    fn a_status_as_metrics() {
        let status = Status {
            ok: true,
            cell: "press \"4\"".to_owned(),
            recipe: "housing-lid".to_owned(),
            revision: 7,
            plcs: vec![
                LinkStatus {
                    plc: "press".into(),
                    up: true,
                    age_ms: Some(1500.0),
                    ..LinkStatus::default()
                },
                LinkStatus { plc: "dryer".into(), ..LinkStatus::default() },
            ],
            loops: vec![LoopStatus {
                name: "weight".into(),
                mode: "advisory".into(),
                trip: "latched".into(),
                authority_used_percent: 25.0,
                writes: 12,
                ..LoopStatus::default()
            }],
            sinks: vec![SinkLine {
                name: "influx".into(),
                state: "retrying".into(),
                behind_rows: 299_400,
                behind_seconds: 61.5,
                counters: [("rows_dead".to_owned(), 3)].into(),
                ..SinkLine::default()
            }],
            counters: [("samples_dropped".to_owned(), 0)].into(),
            ..Status::default()
        };
        let text = metrics_text(&status);
        let mut family = "";
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
            } else if !line.starts_with("# TYPE ") {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(name, family, "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        for expected in [
            "trimloop_info{cell=\"press \\\"4\\\"\",version=\"\",recipe=\"housing-lid\",revision=\"7\"} 1",
            "trimloop_ok 1",
            "trimloop_records_sound 0",
            "trimloop_link_up{plc=\"press\"} 1",
            "trimloop_link_up{plc=\"dryer\"} 0",
            "trimloop_link_age_seconds{plc=\"press\"} 1.5",
            "trimloop_loop_mode{loop=\"weight\",mode=\"advisory\"} 1",
            "trimloop_loop_mode{loop=\"weight\",mode=\"auto\"} 0",
            "trimloop_loop_tripped{loop=\"weight\"} 1",
            "trimloop_loop_authority_used_ratio{loop=\"weight\"} 0.25",
            "trimloop_loop_writes_total{loop=\"weight\"} 12",
            "trimloop_count{counter=\"samples_dropped\"} 0",
            "trimloop_sink_state{sink=\"influx\",state=\"retrying\"} 1",
            "trimloop_sink_behind_rows{sink=\"influx\"} 299400",
            "trimloop_sink_behind_seconds{sink=\"influx\"} 61.5",
            "trimloop_sink_total{sink=\"influx\",counter=\"rows_dead\"} 3",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} is not in\n{text}");
        }
        assert!(!text.contains("age_seconds{plc=\"dryer\"}") && !text.contains("quantile"));
    }
}
