//! The one table of what goes to InfluxDB: measurements, tags, fields with kind and unit, and the
//! query that reads them. Lines, the reference page and the dashboards are all made from it.
//!
//! - A field never changes its kind: a number with a fraction is `value`, a whole number `ivalue`,
//!   a contact `bvalue`, a text `svalue`. So no field-type conflict can arise.
//! - Tags hold names of the recipe, never values or run numbers: the number of series is bounded.
//! - Columns of each query, in this order: time [ns], a bump [ns] that keeps rows of one series
//!   and time apart, the tags, the fields.

/// Kind of a field, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit float.
    Float,
    /// Signed 64-bit integer.
    Int,
    /// True or false.
    Bool,
    /// Text.
    Text,
}

impl Kind {
    /// As it stands in the reference.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Int => "integer",
            Self::Bool => "boolean",
            Self::Text => "text",
        }
    }
}

/// A tag: a name that series are told apart by.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its key.
    pub key: &'static str,
    /// What it names.
    pub says: &'static str,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its key.
    pub key: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit; empty for none.
    pub unit: &'static str,
    /// What it says.
    pub says: &'static str,
}

/// Where the rows of a measurement are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Samples of a day file: `?1` and `?2` are the ends of a flush, `?3` its number.
    Samples,
    /// Other rows of a day file: `?1` and `?2` are the ends of a range of times.
    Records,
    /// Rows of `state.db`, numbered as `key` says: those after `?1` up to `?2`.
    State {
        /// Name of the cursor.
        cursor: &'static str,
        /// Number, time: at most 500 rows after `?1`.
        numbers: &'static str,
    },
}

/// A measurement.
#[derive(Clone, Copy, Debug)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// What one row is.
    pub says: &'static str,
    /// Tags beside `cell` and `site`.
    pub tags: &'static [Tag],
    /// Fields.
    pub fields: &'static [Field],
    /// Where its rows are.
    pub source: Source,
    /// How they are read.
    pub sql: &'static str,
}

const fn tag(key: &'static str, says: &'static str) -> Tag {
    Tag { key, says }
}

const fn field(key: &'static str, kind: Kind, unit: &'static str, says: &'static str) -> Field {
    Field { key, kind, unit, says }
}

/// Tags of every line.
pub const COMMON_TAGS: [Tag; 2] = [
    tag("cell", "`influx.cell`, else the service's `name`"),
    tag("site", "`influx.site`; left out when that is not set"),
];

/// The measurement of `trimloop connector test`.
pub const PROBE: &str = "trimloop_probe";

use Kind::{Bool, Float, Int, Text};

/// All of them.
pub const MEASUREMENTS: [Measurement; 10] = [
    Measurement {
        name: "trimloop_sample",
        says: "A sample as the PLC sent it. A bad one without a value has its `quality` alone.",
        tags: &[tag("tag", "tag of the recipe")],
        fields: &[
            field("value", Float, "of the tag", "a number with a unit"),
            field("ivalue", Int, "", "a counter, id or state"),
            field("bvalue", Bool, "", "a contact"),
            field("svalue", Text, "", "a text; no PLC tag is one yet"),
            field("quality", Int, "", "OPC UA status code; 0 is Good"),
            field(
                "receive_time",
                Bool,
                "",
                "true: the time is that of receipt, because the source's was more than 10 s off",
            ),
            field(
                "backfilled",
                Bool,
                "",
                "true: read from the PLC's own history after a gap; no decision was made from it",
            ),
        ],
        source: Source::Samples,
        sql: "SELECT s.ts, 0, n.name,
                CASE typeof(s.value) WHEN 'real' THEN s.value END,
                CASE WHEN typeof(s.value) = 'integer' AND c.tag IS NULL THEN s.value END,
                CASE WHEN typeof(s.value) = 'integer' AND c.tag IS NOT NULL THEN s.value END,
                CASE typeof(s.value) WHEN 'text' THEN s.value END,
                s.quality & 4294967295, CASE WHEN s.quality >> 32 & 1 THEN 1 END,
                CASE WHEN s.quality >> 33 & 1 THEN 1 END
              FROM sample s JOIN name n ON n.id = s.tag LEFT JOIN contact c ON c.tag = s.tag
              WHERE s.ts BETWEEN ?1 AND ?2 AND s.seq = ?3 ORDER BY s.ts, s.tag",
    },
    Measurement {
        name: "trimloop_part",
        says: "A finished part.",
        tags: &[],
        fields: &[
            field("part", Int, "", "part id of the PLC"),
            field("number", Int, "", "counts parts since the service started"),
            field("cycle_seconds", Float, "s", "process time from begin to end"),
            field("warm_up", Bool, "", "made during warm-up"),
            field("mixed", Bool, "", "a setpoint moved meanwhile"),
            field("gap", Bool, "", "data or parts are missing"),
        ],
        source: Source::Records,
        sql: "SELECT ts, row_number() OVER (PARTITION BY ts ORDER BY boot, number) - 1, part,
                number, (ended - began) / 1e9, warm_up, mixed, gap
              FROM part WHERE ts BETWEEN ?1 AND ?2 ORDER BY ts",
    },
    Measurement {
        name: "trimloop_feature",
        says: "A feature of a part.",
        tags: &[tag("feature", "feature of the recipe")],
        fields: &[
            field("value", Float, "of the feature", "left out when unknown"),
            field("coverage", Float, "1", "share of the window with good samples, 0 to 1"),
            field("part", Int, "", "part id"),
        ],
        source: Source::Records,
        sql: "SELECT f.ts, row_number() OVER (PARTITION BY f.ts, f.feature ORDER BY f.part) - 1,
                n.name, f.value, f.coverage, f.part
              FROM feature f JOIN name n ON n.id = f.feature
              WHERE f.ts BETWEEN ?1 AND ?2 ORDER BY f.ts",
    },
    Measurement {
        name: "trimloop_score",
        says: "A score of a part.",
        tags: &[tag("model", "model of the recipe")],
        fields: &[
            field(
                "value",
                Float,
                "of the model",
                "share of the chart's limit, or prediction; left out when unknown",
            ),
            field("low", Float, "of the model", "lower end of a prediction's interval"),
            field("high", Float, "of the model", "upper end"),
            field("in_domain", Bool, "", "whether the model is in its domain"),
            field("alarm", Bool, "", "whether the score is over its limit"),
            field("part", Int, "", "part id"),
        ],
        source: Source::Records,
        sql: "SELECT s.ts, row_number() OVER (PARTITION BY s.ts, s.model ORDER BY s.part) - 1,
                n.name, s.value, s.low, s.high, s.in_domain, s.alarm, s.part
              FROM score s JOIN name n ON n.id = s.model
              WHERE s.ts BETWEEN ?1 AND ?2 ORDER BY s.ts",
    },
    Measurement {
        name: "trimloop_contribution",
        says: "A large share of a feature in a score that is over its limit, or that a write rests on.",
        tags: &[tag("model", "model of the recipe"), tag("feature", "feature of the recipe")],
        fields: &[
            field("share", Float, "", "share of the score"),
            field("z", Float, "sd", "standardised value"),
            field("rank", Int, "", "1 is the largest"),
            field("part", Int, "", "part id"),
        ],
        source: Source::Records,
        sql: "SELECT c.ts,
                row_number() OVER (PARTITION BY c.ts, c.model, c.feature ORDER BY c.part, c.rank) - 1,
                m.name, f.name, c.share, c.z, c.rank, c.part
              FROM contribution c JOIN name m ON m.id = c.model JOIN name f ON f.id = c.feature
              WHERE c.ts BETWEEN ?1 AND ?2 ORDER BY c.ts",
    },
    Measurement {
        name: "trimloop_forecast",
        says: "Where a score or a prediction will be, made after a part; as far ahead as the \
               recipe's `forecast` says.",
        tags: &[tag("model", "model of the recipe")],
        fields: &[
            field("value", Float, "of the model", "expected at the horizon"),
            field("low", Float, "of the model", "lower end of the interval there"),
            field("high", Float, "of the model", "upper end"),
            field("trend", Text, "", "none, up or down"),
            field("time_to_limit", Float, "parts", "left out without a trend to a limit"),
            field("time_to_limit_p10", Float, "parts", "its 10 % quantile"),
            field("time_to_limit_p90", Float, "parts", "its 90 % quantile"),
            field("part", Int, "", "part id"),
        ],
        source: Source::Records,
        sql: "SELECT r.ts, row_number() OVER (PARTITION BY r.ts, r.model ORDER BY r.part) - 1,
                n.name, r.value, r.low, r.high, r.trend, r.to_limit, r.early, r.late, r.part
              FROM forecast r JOIN name n ON n.id = r.model
              WHERE r.ts BETWEEN ?1 AND ?2 ORDER BY r.ts",
    },
    Measurement {
        name: "trimloop_label",
        says: "A measured quality that found its part.",
        tags: &[tag("characteristic", "characteristic of the recipe")],
        fields: &[
            field("value", Float, "of the characteristic", "as measured"),
            field("used", Bool, "", "whether an estimator used it"),
            field("part", Int, "", "part id"),
        ],
        source: Source::Records,
        sql: "SELECT l.ts,
                row_number() OVER (PARTITION BY l.ts, l.characteristic ORDER BY l.part) - 1,
                n.name, l.value, l.used, l.part
              FROM label l JOIN name n ON n.id = l.characteristic
              WHERE l.ts BETWEEN ?1 AND ?2 ORDER BY l.ts",
    },
    Measurement {
        name: "trimloop_decision",
        says: "What the guard made of a loop's proposal.",
        tags: &[tag("loop", "loop of the recipe")],
        fields: &[
            field("desired", Float, "of the setpoint", "what the controller wanted"),
            field("limited", Float, "of the setpoint", "what the limits left of it"),
            field("read_back", Float, "of the setpoint", "where the register stood"),
            field("outcome", Text, "", "write, return, would_write, asked, hold or trip"),
            field("reason", Text, "", "first reason of a hold or trip"),
            field("mode", Text, "", "mode in force"),
            field("rung", Text, "", "rung of the fallback ladder"),
            field("part", Int, "", "part id"),
        ],
        // 2^40 decisions of one start: 35 years of a thousand a second.
        source: Source::State {
            cursor: "decision",
            numbers: "SELECT boot * 1099511627776 + number, utc FROM decision
                      WHERE boot > ?1 / 1099511627776 OR (boot = ?1 / 1099511627776
                        AND number > ?1 % 1099511627776) ORDER BY boot, number LIMIT 500",
        },
        sql: "SELECT utc, row_number() OVER (PARTITION BY utc, loop ORDER BY number) - 1, loop,
                desired, limited, read_back, outcome, reason, mode, rung, part
              FROM decision WHERE boot BETWEEN ?1 / 1099511627776 AND ?2 / 1099511627776
                AND boot * 1099511627776 + number > ?1 AND boot * 1099511627776 + number <= ?2
              ORDER BY boot, number",
    },
    Measurement {
        name: "trimloop_write",
        says: "A state change of a write; the last one of a write number is how it ended.",
        tags: &[tag("setpoint", "setpoint of the recipe")],
        fields: &[
            field("write", Int, "", "number of the write since the start"),
            field("desired", Float, "of the setpoint", "what the controller wanted"),
            field("limited", Float, "of the setpoint", "after the limits"),
            field("sent", Float, "of the setpoint", "as sent"),
            field("read_back", Float, "of the setpoint", "as read back"),
            field("fate", Text, "", "sent, acknowledged, confirmed, proven, refused, …"),
            field("verify_seconds", Float, "s", "from issue to confirmed read-back"),
        ],
        source: Source::State {
            cursor: "ledger",
            numbers: "SELECT id, utc FROM ledger WHERE id > ?1 ORDER BY id LIMIT 500",
        },
        sql: "SELECT a.utc, (SELECT count(*) FROM ledger b WHERE b.boot = a.boot
                AND b.write = a.write AND b.utc = a.utc AND b.id < a.id), a.setpoint, a.write,
                a.desired, a.limited, a.sent, a.read_back, a.fate, (a.confirmed - a.issued) / 1e9
              FROM ledger a WHERE a.id > ?1 AND a.id <= ?2 ORDER BY a.id",
    },
    Measurement {
        name: "trimloop_event",
        says: "An event or notice, as in `trimloop status --follow`.",
        tags: &[
            tag("code", "stable word of the event"),
            tag("subject", "tag, loop, setpoint or other thing it is about; left out for none"),
        ],
        fields: &[
            field("sentence", Text, "", "what people read"),
            field("detail", Text, "", "one word or number more"),
            field("part", Int, "", "part being made"),
        ],
        source: Source::State {
            cursor: "event",
            numbers: "SELECT id, utc FROM event WHERE id > ?1 ORDER BY id LIMIT 500",
        },
        sql: "SELECT a.utc, (SELECT count(*) FROM event b WHERE b.utc = a.utc AND b.id < a.id
                AND b.code = a.code AND b.subject = a.subject), a.code, a.subject, a.sentence,
                a.detail, a.part
              FROM event a WHERE a.id > ?1 AND a.id <= ?2 ORDER BY a.id",
    },
];

/// A measurement by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Measurement> {
    MEASUREMENTS.iter().find(|measurement| measurement.name == name)
}
