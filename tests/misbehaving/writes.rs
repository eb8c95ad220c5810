//! What becomes of writes.

use std::collections::{BTreeMap, BTreeSet};

use opcua::client::{ClientBuilder, IdentityToken, Session};
use opcua::types::{
    AttributeId, DataValue, EndpointDescription, NodeId, NumericRange, StatusCode, Variant,
    WriteValue,
};
use trimloop_core::event::What;
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Mode, Trip, TripReason};
use trimloop_core::record::{LedgerRow, Outcome};
use trimloop_core::tag::Quality;
use trimloop_simulator::nodes::NAMESPACE_URI;
use trimloop_simulator::{Fault, HandshakeSettings};

use crate::bench::Bench;

/// Rows of writes that were issued after a place.
fn of_later_writes(bench: &Bench, from: usize) -> Vec<LedgerRow> {
    let later: BTreeSet<u64> = bench.sent(from).iter().map(|row| row.write).collect();
    bench.rows(from).filter(|row| later.contains(&row.write)).collect()
}

/// Good is not done: a write that does not stick is never called confirmed. Twice in a row trips
/// the loop where it stands, and nothing more is written.
#[test]
fn pain_02_write_ignored() {
    let mut bench = Bench::in_auto();
    let (weight, _) = bench.weight();
    let from = bench.switch(Fault::WriteIgnored, true);
    let register = bench.press.report().setpoints;
    let tripped =
        |what: &What| matches!(what, What::Tripped(of, TripReason::NotTaken) if *of == weight);
    bench.until("the trip", |bench| bench.event(from, tripped));
    let rows = of_later_writes(&bench, from);
    assert!(rows.iter().all(|row| row.fate != Fate::Confirmed), "{rows:?}");
    assert!(rows.iter().filter(|row| row.fate == Fate::NotTaken).count() >= 2, "{rows:?}");
    assert_eq!(bench.press.report().setpoints[0].to_bits(), register[0].to_bits());
    bench.until("the latch", |bench| {
        bench.weight_loop().trip == Trip::Latched(TripReason::NotTaken)
    });
    // The write path is at fault: not even the way back is written.
    let attempts = bench.press.report().verdict.writes[0].attempts;
    let part = bench.press.part();
    bench.until("twenty parts", |bench| bench.press.part() >= part + 20);
    assert_eq!(bench.press.report().verdict.writes[0].attempts, attempts);
    let returns = bench.decisions(from).any(|row| matches!(row.outcome, Outcome::Return(_)));
    assert!(!returns, "a return was written");
    bench.no_violation();
    bench.end();
}

/// A write whose answer says that it timed out is unknown until its register was read, and no
/// other is issued meanwhile: it is carried out late, once, and found.
#[test]
fn pain_02_write_late() {
    let mut bench = Bench::in_auto();
    let from = bench.switch(Fault::WriteLate, true);
    bench.until("three writes found", |bench| {
        let found = of_later_writes(bench, from).into_iter();
        found.filter(|row| row.fate == Fate::Confirmed).count() >= 3
    });
    let rows = of_later_writes(&bench, from);
    let mut open = BTreeMap::new();
    let mut unknown = 0;
    for row in &rows {
        match row.fate {
            Fate::Sent => {
                let before = open.insert(row.setpoint, row.write);
                assert_eq!(before, None, "two writes to one register at a time: {rows:?}");
            }
            Fate::Unknown => unknown += 1,
            Fate::Confirmed | Fate::NotTaken | Fate::Mismatch => {
                open.remove(&row.setpoint);
            }
            _ => {}
        }
    }
    assert!(unknown >= 3, "{rows:?}");
    for row in rows.iter().filter(|row| row.fate == Fate::Confirmed) {
        let fates = bench.fates(row.write);
        let at = |fate| fates.iter().position(|other| *other == fate);
        assert!(at(Fate::Unknown) < at(Fate::Confirmed), "{fates:?}");
        assert!(!fates.contains(&Fate::Acknowledged), "{fates:?}");
    }
    assert!(bench.event(from, |what| matches!(what, What::WriteUnknown(_))));
    bench.switch(Fault::WriteLate, false);
    bench.more_writes(3);
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.no_violation();
    bench.end();
}

/// A refusal is told with its status. Nothing is sent again by itself, and nothing trips.
#[test]
fn write_refused() {
    let mut bench = Bench::in_auto();
    let start = bench.mark();
    let before = bench.counted();
    let from = bench.switch(Fault::WriteRefused, true);
    let busy = StatusCode::BadResourceUnavailable.bits();
    bench.until("three refusals", |bench| {
        let refused = |what: &What| matches!(what, What::WriteRefused(_, code) if *code == busy);
        bench.events(from).filter(refused).count() >= 3
    });
    bench.switch(Fault::WriteRefused, false);
    bench.more_writes(3);
    // One attempt for each write that was issued: no resend.
    bench.until("every write's answer", |bench| {
        let open = |row: &LedgerRow| bench.fates(row.write).len() < 2;
        !bench.sent(from).iter().any(open)
    });
    let attempts = bench.counted().attempts - before.attempts;
    assert!(attempts >= 6, "{attempts}");
    // One may have been under way when the counting began.
    assert!(attempts <= bench.sent(start).len() as u64 + 1, "a write was sent twice");
    let rows = of_later_writes(&bench, from);
    assert!(rows.iter().any(|row| row.fate == Fate::Refused(busy)), "{rows:?}");
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.no_violation();
    bench.end();
}

/// The register stands part of the way: that is adopted, not called confirmed.
fn taken_in_part(bench: &mut Bench, fault: Fault) -> usize {
    let from = bench.switch(fault, true);
    bench.until("three writes taken in part", |bench| {
        let rows = of_later_writes(bench, from).into_iter();
        rows.filter(|row| row.fate == Fate::Mismatch).count() >= 3
    });
    let rows = of_later_writes(bench, from);
    assert!(rows.iter().all(|row| row.fate != Fate::Confirmed), "{rows:?}");
    for row in rows.iter().filter(|row| row.fate == Fate::Mismatch) {
        assert!(row.read_back.is_some_and(|stands| stands != row.sent), "{row:?}");
        assert!(bench.fates(row.write).contains(&Fate::Acknowledged), "Good was answered");
    }
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    // Adopted: nobody is said to have moved it.
    let foreign = bench.event(from, |what| matches!(what, What::ExternalChange(..)));
    assert!(!foreign, "our own move was taken for somebody else's");
    from
}

/// A PLC that moves half the way is followed.
#[test]
fn write_shortened() {
    let mut bench = Bench::in_auto();
    taken_in_part(&mut bench, Fault::WriteShortened);
    bench.switch(Fault::WriteShortened, false);
    bench.more_writes(3);
    bench.no_violation();
    bench.end();
}

/// One that says so (`Good_Clamped`) is followed as well, and people are told, once.
#[test]
fn write_clamped() {
    let mut bench = Bench::in_auto();
    taken_in_part(&mut bench, Fault::WriteClamped);
    let told = |bench: &Bench| {
        let notices = bench.cell.status().notices.into_iter();
        notices.filter(|notice| notice.code == "write_clamped").collect::<Vec<_>>()
    };
    let notices = told(&bench);
    let of_hold: Vec<_> = notices.iter().filter(|n| n.subject == "hold_pressure_sp").collect();
    assert_eq!(of_hold.len(), 1, "{notices:?}");
    assert!(of_hold[0].sentence.contains("takes less than it is asked for"), "{notices:?}");
    bench.switch(Fault::WriteClamped, false);
    bench.more_writes(3);
    bench.no_violation();
    bench.end();
}

/// A server that takes any type gets the register's own all the same. Another client shows that it
/// would take anything; its move is somebody else's.
#[test]
fn pain_03_wrong_type_accepted() {
    let mut bench = Bench::in_auto();
    let (_, hold) = bench.weight();
    let refused = bench.runtime.block_on(other_client(
        &bench.press.url(),
        NAMESPACE_URI,
        Variant::Int32(361),
    ));
    assert_eq!(refused, StatusCode::BadTypeMismatch);
    let from = bench.switch(Fault::WrongTypeAccepted, true);
    bench.more_writes(5);
    assert_eq!(bench.counted().wrong_type, 1, "one was refused, none of ours is wrong");
    let taken = bench.runtime.block_on(other_client(
        &bench.press.url(),
        NAMESPACE_URI,
        Variant::Int32(351),
    ));
    assert_eq!(taken, StatusCode::Good);
    bench.until("somebody else's change", |bench| {
        bench.event(from, |what| matches!(what, What::ExternalChange(of, _) if *of == hold))
    });
    assert_eq!(bench.counted().wrong_type, 2, "those of the other client");
    bench.until("the operator's due", |bench| bench.weight_loop().in_force == Mode::Advisory);
    bench.end();
}

/// Writes the hold pressure of a namespace as another client would, in whatever type.
pub async fn other_client(url: &str, namespace: &str, value: Variant) -> StatusCode {
    let mut client = ClientBuilder::new()
        .application_name("other")
        .application_uri("urn:trimloop:other")
        .pki_dir(std::env::temp_dir().join("trimloop-test-client-pki"))
        .session_retry_limit(0)
        .client()
        .unwrap();
    let endpoint = EndpointDescription::from(url);
    let (session, event_loop) = client
        .connect_to_matching_endpoint(endpoint, IdentityToken::new_anonymous())
        .await
        .unwrap();
    let events = event_loop.spawn();
    session.wait_for_connection().await;
    let status = write(&session, namespace, value).await;
    session.disconnect().await.unwrap();
    events.await.unwrap();
    status
}

async fn write(session: &Session, namespace: &str, value: Variant) -> StatusCode {
    let namespace = session.get_namespace_index(namespace).await.unwrap();
    let write = WriteValue {
        node_id: NodeId::new(namespace, "Press4.HoldPressureSP"),
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
        value: DataValue { value: Some(value), ..DataValue::default() },
    };
    session.write(&[write]).await.unwrap()[0]
}

/// Of a request to a guard block some values are refused: it is not released, and told.
#[test]
fn batch_partial() {
    let guarded = |settings: &mut trimloop::service::CellSettings| {
        let project =
            trimloop_recipe::Project::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
        let mut project = project.unwrap();
        let (config, found) = trimloop_recipe::check_plc_config("press-4.toml", &guarded());
        project.plc_configs = vec![config.unwrap_or_else(|| panic!("{found:?}"))];
        settings.bound = project.bind(project.recipe("housing-lid").unwrap()).unwrap();
    };
    let blocks = Some(HandshakeSettings::default());
    let mut bench = Bench::with(|settings| settings.handshake = blocks, guarded);
    bench.auto();
    let from = bench.switch(Fault::BatchPartial, true);
    let busy = StatusCode::BadResourceUnavailable.bits();
    bench.until("three refusals", |bench| {
        let refused = |what: &What| matches!(what, What::WriteRefused(_, code) if *code == busy);
        bench.events(from).filter(refused).count() >= 3
    });
    let rows = of_later_writes(&bench, from);
    let done = |row: &LedgerRow| matches!(row.fate, Fate::Acknowledged | Fate::Confirmed);
    assert!(!rows.iter().any(done), "{rows:?}");
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.switch(Fault::BatchPartial, false);
    bench.more_writes(3);
    assert_eq!(bench.quality("hold_pressure_sp"), Some(Quality::Good));
    bench.no_violation();
    bench.end();
}

/// The shipped PLC config, rewritten for a PLC that has the handshake blocks.
fn guarded() -> String {
    let mut text = include_str!("../../plc-configs/press-4.toml").to_owned();
    let blocks = "[owner]\nblock = \"press:s=Press4.Owner\"\nslot = \"A\"\n\n\
                  [guard.hold_pressure_sp]\nblock = \"press:s=Press4.HoldPressureGuard\"\n\n\
                  [guard.cool_time_sp]\nblock = \"press:s=Press4.CoolTimeGuard\"\n\n[link]";
    for (direct, behind) in [
        ("[link]", blocks),
        ("Press4.HeartbeatIn", "Press4.Owner.A_Heartbeat"),
        ("Press4.HeartbeatOut", "Press4.Owner.A_Echo"),
        (
            "Press4.HoldPressureSP\"\ntype     = \"Double\"\nwritable = true",
            "Press4.HoldPressureGuard.VOut\"\ntype = \"Double\"",
        ),
        (
            "Press4.CoolTimeSP\"\ntype     = \"Double\"\nwritable = true",
            "Press4.CoolTimeGuard.VOut\"\ntype = \"Double\"",
        ),
    ] {
        assert!(text.contains(direct), "{direct}");
        text = text.replacen(direct, behind, 1);
    }
    text
}
