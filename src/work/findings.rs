//! What technicians found becomes labels, for the models that saw the fault.
//!
//! A label is of a part; an order is of many. From the part at which the condition began up to the
//! last one before the work was done, each carries what was found. After a repair that proved
//! itself the parts of the proof are `normal`: a model needs both sides.

use std::path::Path;

use trimloop_core::time::Utc;
use trimloop_orders::findings::{Codes, Finding, Outcome};

use super::faults;
use crate::labels::{Imported, Label, LabelError, LabelStore, LabelValue, Origin};

/// Most parts of one order that get a label, on each side of the work.
pub const PARTS_MAX: i64 = 500;
/// Value of parts that a proven repair made.
pub const NORMAL: &str = "normal";

/// The labels of all orders. One order gives a part one label; of several orders for one fault the
/// last one counts.
#[must_use]
pub fn labels(outcomes: &[Outcome], codes: &Codes) -> Vec<Label> {
    outcomes.iter().flat_map(|outcome| of_order(outcome, codes)).collect()
}

fn of_order(outcome: &Outcome, codes: &Codes) -> Vec<Label> {
    let finding = codes.finding(&outcome.codes);
    let is_said = matches!(finding, Finding::Confirmed | Finding::NotFound | Finding::OtherFault);
    // A condition of no part, such as a lost link, is of no use to a model of parts.
    if outcome.state != "done" || !is_said || outcome.first_part == 0 {
        return Vec::new();
    }
    let label = |part: i64, value: &str| Label {
        part: part.to_string(),
        characteristic: faults::name(&outcome.subject),
        source: outcome.source.clone(),
        value: LabelValue::Text(value.to_owned()),
        unit: String::new(),
        measured: Some(outcome.updated),
    };
    let first = outcome.first_part;
    // A part counter that was set back says nothing of what lies between.
    let done = outcome.done_part.filter(|done| *done >= first);
    let last = done.unwrap_or(first).min(first + PARTS_MAX - 1);
    let mut all: Vec<Label> = (first..=last).map(|part| label(part, finding.word())).collect();
    let is_proven = outcome.how.as_deref() == Some("proven") && finding == Finding::Confirmed;
    if let (true, Some(done), Some(end)) = (is_proven, done, outcome.end_part) {
        let end = end.min(done + PARTS_MAX);
        all.extend((done + 1..=end).map(|part| label(part, NORMAL)));
    }
    all
}

/// Gives all labels to the label store of a data folder; the same again changes nothing.
///
/// # Errors
/// [`LabelError`].
pub fn give(
    data: &Path,
    outcomes: &[Outcome],
    codes: &Codes,
    now: Utc,
) -> Result<Imported, LabelError> {
    let labels = labels(outcomes, codes);
    if labels.is_empty() {
        return Ok(Imported::default());
    }
    let origin = Origin {
        place: "work orders".to_owned(),
        actor: "trimloop".to_owned(),
        utc: now.as_nanos(),
        // What the order says now counts, also where it said so before.
        reinstate: true,
    };
    LabelStore::open(data)?.import(&labels, &origin)
}

#[cfg(test)]
mod tests {
    use trimloop_work::key::{ExtKey, Subject};

    use super::*;

    fn outcome(codes: [&str; 3], first: i64, done: i64, end: Option<i64>) -> Outcome {
        let subject = Subject {
            site: String::new(),
            cell: "press-4".into(),
            asset: "press-4".into(),
            mode: "check_ring_worn".into(),
            component: "check_ring".into(),
        };
        Outcome {
            key: ExtKey { fingerprint: subject.fingerprint(), generation: 1 },
            source: "built-in".into(),
            subject,
            after: None,
            state: "done".into(),
            ordered: 0,
            updated: 7,
            first_part: first,
            done_part: Some(done),
            end_part: end,
            how: end.map(|_| "proven".into()),
            codes: codes.map(|code| (!code.is_empty()).then(|| code.to_owned())),
        }
    }

    fn spoken(labels: &[Label]) -> Vec<String> {
        labels.iter().map(|label| format!("{} {}", label.part, label.value.text())).collect()
    }

    /// Parts before the work carry what was found, those of the proof are normal; what says nothing
    /// gives none.
    #[test]
    fn parts_carry_what_was_found() {
        let of = |outcome: Outcome| spoken(&labels(&[outcome], &Codes::default()));
        let leak = ["leak", "wear", "replaced"];
        let expected = ["8 confirmed", "9 confirmed", "10 normal", "11 normal"];
        assert_eq!(of(outcome(leak, 8, 9, Some(11))), expected);
        assert_eq!(of(outcome(leak, 8, 9, None)), expected[..2]);
        let nff = ["nff", "", ""];
        assert_eq!(of(outcome(nff, 8, 9, Some(11))), ["8 no_fault_found", "9 no_fault_found"]);
        // The counter was set back.
        assert_eq!(of(outcome(leak, 8, 2, Some(4))), ["8 confirmed"]);
        for nothing in [["", "", ""], ["deferred", "", ""]] {
            assert!(of(outcome(nothing, 8, 9, Some(11))).is_empty(), "{nothing:?}");
        }
        assert!(of(outcome(leak, 0, 9, Some(11))).is_empty());
        let open = Outcome { state: "open".into(), ..outcome(leak, 8, 9, None) };
        assert!(of(open).is_empty());
        let long = of(outcome(leak, 1, 100_000, Some(200_000)));
        assert_eq!(long.len(), 2 * usize::try_from(PARTS_MAX).unwrap());
        let one = &labels(&[outcome(leak, 8, 9, None)], &Codes::default())[0];
        let names = (one.characteristic.as_str(), one.source.as_str(), one.measured);
        assert_eq!(names, ("press-4.check_ring_worn.check_ring", "built-in", Some(7)));
    }

    /// Given again nothing changes; a technician who corrects himself is followed, there and back.
    #[test]
    fn labels_are_given_once() {
        let dir = std::env::temp_dir().join(format!("trimloop-findings-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let give = |codes: [&str; 3]| {
            let all = [outcome(codes, 8, 9, None)];
            let done = give(&dir, &all, &Codes::default(), Utc::from_nanos(9)).unwrap();
            [done.added, done.same, done.changed, done.outdated]
        };
        assert_eq!(give(["", "", ""]), [0, 0, 0, 0]);
        assert!(LabelStore::read_only(&dir).unwrap().is_none(), "nothing was said yet");
        assert_eq!(give(["leak", "", ""]), [2, 0, 0, 0]);
        assert_eq!(give(["leak", "", ""]), [0, 2, 0, 0]);
        assert_eq!(give(["nff", "", ""]), [0, 0, 2, 0]);
        assert_eq!(give(["leak", "", ""]), [0, 0, 2, 0]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
