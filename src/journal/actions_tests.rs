//! Tests of the actions' binary form.

use super::*;
use proptest::prelude::*;
use trimloop_core::model::forecast::{Forecast, Trend};
use trimloop_core::record::{Answer, CheckRow, ForecastRow, InputRow, Measure, WishRow};

/// One event of every kind, made by decoding: the match above names each.
fn every_event() -> Vec<Event> {
    (0..=33_u8)
        .map(|kind| {
            let mut bytes = vec![0; 24];
            bytes.extend([5, kind, 1, 1]);
            bytes.extend([0; 17]);
            // Some kinds are shorter; shorten until every byte is used.
            loop {
                let mut get = Get::new(&bytes);
                match get_event(&mut get) {
                    Ok(event) if get.end().is_ok() => return event,
                    _ => bytes.pop().unwrap(),
                };
            }
        })
        .collect()
}

pub(in crate::journal) fn some_actions() -> Vec<Action> {
    let mut actions: Vec<Action> = every_event().into_iter().map(Action::Event).collect();
    actions.push(Action::Heartbeat(PlcId(1), 7));
    actions.push(Action::Ask(Proposal {
        id: 3,
        loop_id: LoopId(1),
        from: Ticks::new(700),
        to: Ticks::new(710),
        expires: Mono::from_millis(9),
    }));
    let decision = DecisionRow {
        number: 4,
        part: -9,
        loop_id: LoopId(0),
        desired: Some(361.25),
        limited: Some(Ticks::new(722)),
        read_back: None,
        outcome: Outcome::Hold(Reason::Domain),
        failed: FailedChecks::from_bits(0x101),
        cut: Cut::Authority,
        mode: trimloop_core::mode::Mode::Auto,
        rung: Rung::FeedbackOnly,
    };
    for outcome in [
        Outcome::Write(u64::MAX),
        Outcome::Return(0),
        Outcome::WouldWrite,
        Outcome::Asked(3),
        Outcome::Hold(Reason::NoProposal),
        Outcome::Trip(TripReason::Operator),
    ] {
        actions.push(Action::Record(Record::Decision(DecisionRow { outcome, ..decision })));
    }
    let ledger = LedgerRow {
        write: 1,
        setpoint: SetpointId(2),
        desired: -0.0,
        limited: Ticks::new(-3),
        sent: Ticks::new(-3),
        issued: Mono::from_millis(5),
        acknowledged: Some(Mono::from_millis(6)),
        read_back: Some(Ticks::new(-3)),
        confirmed: None,
        fate: Fate::Refused(0x8074_0000),
    };
    for fate in [
        Fate::Sent,
        Fate::Acknowledged,
        Fate::Unknown,
        Fate::Confirmed,
        Fate::Proven,
        Fate::Unproven,
        Fate::Refused(0x8074_0000),
        Fate::NotSent,
        Fate::NotTaken,
        Fate::Mismatch,
    ] {
        actions.push(Action::Record(Record::Ledger(LedgerRow { fate, ..ledger })));
    }
    for record in [
        Record::Part(PartRow {
            part: 12,
            number: 3,
            began: Process::from_millis(1),
            ended: Process::from_millis(2),
            warm_up: true,
            mixed: false,
            gap: true,
        }),
        Record::Feature(FeatureRow {
            part: 12,
            feature: FeatureId(300),
            value: None,
            coverage: 0.5,
        }),
        Record::Score(ScoreRow {
            part: 12,
            model: ModelId(1),
            value: Some(0.9),
            low: 0.1,
            high: 1.1,
            in_domain: true,
            alarm: false,
        }),
        Record::Contribution(ContributionRow {
            part: 12,
            model: ModelId(1),
            feature: FeatureId(2),
            rank: 1,
            share: 0.5,
            z: -3.0,
        }),
        Record::Label(LabelRow {
            part: 12,
            characteristic: CharacteristicId(0),
            value: 19.4,
            used: true,
        }),
        Record::Check(CheckRow {
            decision: 4,
            check: Reason::Dwell,
            answer: Answer::Failed,
            measured: Some(12.5),
            limit: Some(20.0),
            margin: Some(-7.5),
            measure: Measure::Seconds,
            subject: None,
        }),
        Record::Check(CheckRow {
            decision: 4,
            check: Reason::Input,
            answer: Answer::NotAsked,
            measured: None,
            limit: None,
            margin: None,
            measure: Measure::State,
            subject: Some(300),
        }),
        Record::Input(InputRow {
            decision: 4,
            tag: TagId(9),
            feature: Some(FeatureId(300)),
            value: None,
            coverage: 0.25,
            quality: Quality::Suspect(Doubt::Frozen),
            age: Some(Span::from_millis(-1)),
        }),
        Record::Wish(WishRow {
            decision: 4,
            target: Some(19.42),
            bias: Some(-0.1),
            fed: None,
            gain: Some(0.0019),
            labels: 8,
            signature: Some(SignatureId(2)),
        }),
        Record::Forecast(ForecastRow {
            part: -3,
            model: ModelId(1),
            forecast: Forecast {
                value: 19.4,
                low: 19.3,
                high: 19.6,
                trend: Trend::Down,
                to_limit: Some(7.5),
                to_limit_range: Some((3.0, 12.0)),
            },
        }),
    ] {
        actions.push(Action::Record(record));
    }
    actions
}

/// Every kind of action comes back as it was, and its encoding has one digest.
#[test]
fn actions_come_back_as_they_were() {
    let actions = some_actions();
    let mut bytes = Vec::new();
    encode_actions(&actions, &mut bytes);
    let notes = decode_actions(&bytes).unwrap();
    assert_eq!(notes.len(), actions.len());
    for (note, action) in notes.iter().zip(&actions) {
        let same = match (note, action) {
            (Note::Heartbeat(p, a), Action::Heartbeat(q, b)) => (p, a) == (q, b),
            (Note::Ask(a), Action::Ask(b)) => a == b,
            (Note::Record(a), Action::Record(b)) => a == b,
            (Note::Event(a), Action::Event(b)) => a == b,
            _ => false,
        };
        assert!(same, "{note:?} is not {action:?}");
    }
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_ne!(digest(&bytes), digest(&other));
}

/// No kind is missing from a list: 255 would be written for it, and no reader takes that.
#[test]
fn every_kind_is_listed() {
    for (i, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(index_of(&Reason::ALL, reason)), i);
    }
    let words: std::collections::BTreeSet<_> = QUALITIES.map(Quality::word).into();
    assert_eq!(words.len(), QUALITIES.len());
    let words: std::collections::BTreeSet<_> = evidence::MEASURES.map(Measure::word).into();
    assert_eq!(words.len(), evidence::MEASURES.len());
    let words: std::collections::BTreeSet<_> = evidence::ANSWERS.map(Answer::word).into();
    assert_eq!(words.len(), evidence::ANSWERS.len());
    let words: std::collections::BTreeSet<_> = TRIPS.map(TripReason::word).into();
    assert_eq!(words.len(), TRIPS.len());
    let words: std::collections::BTreeSet<_> = REFUSALS.map(OrderRefusal::word).into();
    assert_eq!(words.len(), REFUSALS.len());
}

proptest! {
    /// Garbage is refused or read as something, never a panic.
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _notes = decode_actions(&bytes);
    }
}
