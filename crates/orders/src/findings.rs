//! What came of orders: whether the fault was there, and how often an order for it is right.
//!
//! The raw codes are kept, not what they were taken for: a plant that says later what its codes mean
//! has its old orders judged by that too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use trimloop_cmms::CloseCodes;
use trimloop_core::time::Utc;
use trimloop_work::key::{ExtKey, Fingerprint, Subject};

/// An order, from what it was made for to what was said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Its key.
    pub key: ExtKey,
    /// System that keeps it.
    pub source: String,
    /// The fault.
    pub subject: Subject,
    /// The order before it that did not help.
    pub after: Option<ExtKey>,
    /// State of the order, a stable word.
    pub state: String,
    /// When it was asked for [ns UTC].
    pub ordered: i64,
    /// The system's time of its newest change [ns UTC].
    pub updated: i64,
    /// Part at which the condition began; 0 for none.
    pub first_part: i64,
    /// Newest part when it was said to be done.
    pub done_part: Option<i64>,
    /// Newest part when the case was closed.
    pub end_part: Option<i64>,
    /// How the case was closed, a stable word.
    pub how: Option<String>,
    /// What was wrong, why, what was done: the technician's codes.
    pub codes: [Option<String>; 3],
}

impl Outcome {
    /// An order that was just asked for.
    pub(crate) fn begun(key: ExtKey, source: &str, subject: Subject, at: Utc) -> Self {
        Self {
            key,
            source: source.to_owned(),
            subject,
            after: None,
            state: "requested".to_owned(),
            ordered: at.as_nanos(),
            updated: i64::MIN,
            first_part: 0,
            done_part: None,
            end_part: None,
            how: None,
            codes: [None, None, None],
        }
    }
}

/// What a technician found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The fault was there.
    Confirmed,
    /// It was not, nor another one.
    NotFound,
    /// Another fault was.
    OtherFault,
    /// Nobody has looked yet.
    Deferred,
    /// The order says nothing about it.
    Unsaid,
}

impl Finding {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::NotFound => "no_fault_found",
            Self::OtherFault => "other_fault",
            Self::Deferred => "deferred",
            Self::Unsaid => "unsaid",
        }
    }

    /// The findings that a code can stand for.
    pub const OF_CODES: [Self; 4] =
        [Self::Confirmed, Self::NotFound, Self::OtherFault, Self::Deferred];

    /// The finding of a word; `None` for any other text.
    pub fn parse(word: &str) -> Option<Self> {
        Self::OF_CODES.into_iter().find(|finding| finding.word() == word)
    }
}

/// What people write where nothing else was agreed on.
const USUAL: [(&str, Finding); 12] = [
    ("confirmed", Finding::Confirmed),
    ("no fault found", Finding::NotFound),
    ("nff", Finding::NotFound),
    ("not found", Finding::NotFound),
    ("no fault", Finding::NotFound),
    ("no trouble found", Finding::NotFound),
    ("ntf", Finding::NotFound),
    ("other fault", Finding::OtherFault),
    ("other mode", Finding::OtherFault),
    ("wrong fault", Finding::OtherFault),
    ("deferred", Finding::Deferred),
    ("postponed", Finding::Deferred),
];

/// What the codes of a plant mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes(BTreeMap<String, Finding>);

impl Default for Codes {
    fn default() -> Self {
        Self::with([])
    }
}

impl Codes {
    /// The usual words, and what a plant says besides; its own say wins.
    pub fn with(own: impl IntoIterator<Item = (String, Finding)>) -> Self {
        let usual = USUAL.map(|(code, finding)| (code.to_owned(), finding));
        let own = own.into_iter().map(|(code, finding)| (spoken(&code), finding));
        Self(usual.into_iter().chain(own).collect())
    }

    /// What the codes of an order say. A code with a meaning counts before one without; of those
    /// without any each one says that there was something to repair.
    pub fn finding(&self, codes: &[Option<String>; 3]) -> Finding {
        let said: Vec<String> = codes.iter().flatten().map(|code| spoken(code)).collect();
        let known = said.iter().filter(|code| !code.is_empty());
        let mut meanings = known.clone().filter_map(|code| self.0.get(code).copied());
        // "No fault found" beside "cleaned" is no confirmation.
        let first = [Finding::NotFound, Finding::OtherFault, Finding::Deferred];
        let strongest = first.into_iter().find(|of| meanings.clone().any(|it| it == *of));
        let else_ = if known.count() == 0 { Finding::Unsaid } else { Finding::Confirmed };
        strongest.or_else(|| meanings.next()).unwrap_or(else_)
    }
}

/// `NO-FAULT_found` as `no fault found`.
fn spoken(code: &str) -> String {
    let words = code.split(|c: char| c.is_whitespace() || c == '_' || c == '-');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// As they are kept.
pub(crate) fn kept(codes: CloseCodes) -> [Option<String>; 3] {
    [codes.problem, codes.cause, codes.remedy]
}

/// How often the orders for a fault are right.
#[derive(Clone, Debug, PartialEq)]
pub struct Precision {
    /// The fault.
    pub subject: Subject,
    /// Orders that were made.
    pub orders: u32,
    /// Of which the fault was there.
    pub confirmed: u32,
    /// … nothing was.
    pub not_found: u32,
    /// … another fault was.
    pub other_fault: u32,
    /// … nobody has looked.
    pub deferred: u32,
    /// … nobody has said.
    pub unsaid: u32,
    /// … were called off, not accepted, or are gone.
    pub called_off: u32,
    /// … the work did not help, or not for long.
    pub ineffective: u32,
}

impl Precision {
    /// Orders of which somebody said what was found.
    pub fn judged(&self) -> u32 {
        self.confirmed + self.not_found + self.other_fault
    }

    /// Share of confirmed among the judged, and its Wilson interval of 95 %; `None` while nobody
    /// has judged one.
    pub fn share(&self) -> Option<(f64, [f64; 2])> {
        let (hits, n) = (f64::from(self.confirmed), f64::from(self.judged()));
        (n > 0.0).then(|| (hits / n, wilson(hits, n)))
    }
}

/// Two-sided normal quantile of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson score interval of `hits` among `n` > 0; within 0 and 1.
///
/// # Source
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
/// (1927), pages 209 to 212.
fn wilson(hits: f64, n: f64) -> [f64; 2] {
    let (share, z2) = (hits / n, Z * Z);
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

/// By fault, in the order of cell, asset, failure mode and component.
pub fn precision(outcomes: &[Outcome], codes: &Codes) -> Vec<Precision> {
    // A fault that is back soon was not repaired, also where its proof had ended.
    let back: BTreeSet<ExtKey> = outcomes.iter().filter_map(|outcome| outcome.after).collect();
    let mut all: BTreeMap<Fingerprint, Precision> = BTreeMap::new();
    for outcome in outcomes {
        let of = all.entry(outcome.key.fingerprint).or_insert_with(|| Precision {
            subject: outcome.subject.clone(),
            orders: 0,
            confirmed: 0,
            not_found: 0,
            other_fault: 0,
            deferred: 0,
            unsaid: 0,
            called_off: 0,
            ineffective: 0,
        });
        of.orders += 1;
        let count = match outcome.state.as_str() {
            "cancelled" | "rejected" | "lost" => &mut of.called_off,
            "done" => match codes.finding(&outcome.codes) {
                Finding::Confirmed => &mut of.confirmed,
                Finding::NotFound => &mut of.not_found,
                Finding::OtherFault => &mut of.other_fault,
                Finding::Deferred => &mut of.deferred,
                Finding::Unsaid => &mut of.unsaid,
            },
            _ => &mut of.unsaid,
        };
        *count += 1;
        let failed = outcome.how.as_deref() == Some("ineffective") || back.contains(&outcome.key);
        of.ineffective += u32::from(failed);
    }
    let mut all: Vec<Precision> = all.into_values().collect();
    all.sort_by(|a, b| {
        let key = |of: &Precision| {
            let it = of.subject.clone();
            (it.site, it.cell, it.asset, it.mode, it.component)
        };
        key(a).cmp(&key(b))
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(of: [&str; 3]) -> [Option<String>; 3] {
        of.map(|code| (!code.is_empty()).then(|| code.to_owned()))
    }

    /// Words of people and of a plant; what has a meaning counts before what has none.
    #[test]
    fn codes_say_what_was_found() {
        let own = Codes::with([
            ("0815".to_owned(), Finding::NotFound),
            ("Postponed".to_owned(), Finding::Confirmed),
        ]);
        for (given, expected) in [
            (["", "", ""], Finding::Unsaid),
            (["  ", "", ""], Finding::Unsaid),
            (["leak", "wear", "replaced"], Finding::Confirmed),
            (["", "", "cleaned"], Finding::Confirmed),
            (["NO-FAULT_found", "", "cleaned"], Finding::NotFound),
            (["", "Nff", ""], Finding::NotFound),
            (["other_fault", "", ""], Finding::OtherFault),
            (["", "", "deferred"], Finding::Deferred),
            (["confirmed", "nff", ""], Finding::NotFound),
            (["0815", "", ""], Finding::NotFound),
            (["postponed", "", ""], Finding::Confirmed),
        ] {
            assert_eq!(own.finding(&codes(given)), expected, "{given:?}");
        }
        assert_eq!(Codes::default().finding(&codes(["0815", "", ""])), Finding::Confirmed);
        for finding in Finding::OF_CODES {
            assert_eq!(Finding::parse(finding.word()), Some(finding));
        }
        assert_eq!(Finding::parse("unsaid"), None);
    }

    /// Against the examples of R. G. Newcombe, "Two-sided confidence intervals for the single
    /// proportion", Statistics in Medicine 17 (1998), table I, method 3.
    #[test]
    fn the_interval_is_wilsons() {
        for (hits, n, low, high) in [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ] {
            let [a, b] = wilson(hits, n);
            assert!((a - low).abs() < 6e-5 && (b - high).abs() < 6e-5, "{hits} of {n}: {a} {b}");
        }
    }

    /// Each order counts once; one that came back failed, whatever its case said.
    #[test]
    fn orders_are_counted_by_fault() {
        let subject = |mode: &str| Subject {
            site: "north".into(),
            cell: "cell-1".into(),
            asset: "press-4".into(),
            mode: mode.into(),
            component: String::new(),
        };
        let outcome = |mode: &str, generation, state: &str, of: [&str; 3]| {
            let key = ExtKey { fingerprint: subject(mode).fingerprint(), generation };
            let begun = Outcome::begun(key, "built-in", subject(mode), Utc::from_nanos(0));
            Outcome { state: state.into(), codes: codes(of), ..begun }
        };
        let mut all = vec![
            outcome("worn", 1, "done", ["leak", "", ""]),
            outcome("worn", 2, "done", ["nff", "", ""]),
            outcome("worn", 3, "done", ["other fault", "", ""]),
            outcome("worn", 4, "done", ["", "", ""]),
            outcome("worn", 5, "done", ["", "", "deferred"]),
            outcome("worn", 6, "open", ["leak", "", ""]),
            outcome("worn", 7, "cancelled", ["leak", "", ""]),
            outcome("hot", 1, "open", ["", "", ""]),
        ];
        all[1].after = Some(all[0].key);
        all[2].how = Some("ineffective".into());
        all[3].after = Some(all[2].key);
        let found = precision(&all, &Codes::default());
        assert_eq!(found.len(), 2);
        let (hot, worn) = (&found[0], &found[1]);
        assert_eq!((hot.orders, hot.unsaid, hot.share()), (1, 1, None));
        let counts = [worn.orders, worn.confirmed, worn.not_found, worn.other_fault];
        assert_eq!(counts, [7, 1, 1, 1]);
        let counts = [worn.deferred, worn.unsaid, worn.called_off, worn.ineffective];
        assert_eq!(counts, [1, 2, 1, 2]);
        let (share, [low, high]) = worn.share().unwrap();
        assert!((share - 1.0 / 3.0).abs() < 1e-12 && low < share && share < high);
    }
}
