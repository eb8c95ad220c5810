//! Tests of the signed heads: what is whole passes, and every kind of change is found and placed.

use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;
use trimloop_core::ledger::Fate;
use trimloop_core::plan::SetpointId;
use trimloop_core::record::{LedgerRow, Record};
use trimloop_core::scan::{Link, Scan};
use trimloop_core::time::{Mono, Now, Utc};
use trimloop_core::unit::{Grid, Ticks};

use super::*;
use crate::journal::{JournalHead, JournalWriter};
use crate::output::{Names, SetpointName};
use crate::store::{Store, StoreOptions};

const T0: i64 = 1_795_341_600_000;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-seal-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn state(&self) -> Connection {
        Connection::open(self.0.join("state.db")).unwrap()
    }

    fn verified(&self) -> VerifyReport {
        verify(&self.0, None, None, &mut |_| ()).unwrap()
    }

    /// The one finding, as `chain place what`.
    fn finding(&self) -> String {
        let report = self.verified();
        let [finding] = report.findings.as_slice() else { panic!("{report:?}") };
        format!("{} {} {}", finding.chain, finding.place, finding.what)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn row(write: u64, fate: Fate) -> Record {
    Record::Ledger(LedgerRow {
        write,
        setpoint: SetpointId(0),
        desired: -0.0,
        limited: Ticks::new(720),
        sent: Ticks::new(720),
        issued: Mono::from_millis(5),
        acknowledged: Some(Mono::from_millis(6)),
        read_back: None,
        confirmed: None,
        fate,
    })
}

/// One start of a service: four audit entries, six ledger rows, ten scans; signed at its end. What
/// was missing at its begin.
fn start(scratch: &Scratch) -> Option<String> {
    start_for(scratch, 1)
}

/// The same with so many milliseconds between two scans.
fn start_for(scratch: &Scratch, step: i64) -> Option<String> {
    let setpoint =
        SetpointName { name: "p".into(), unit: "bar".into(), grid: Grid::new(5, 1).unwrap() };
    let clock = Clock::start();
    let store = Store::open(&StoreOptions {
        dir: scratch.0.clone(),
        names: Names { setpoints: vec![setpoint], ..Names::default() },
        clock,
        node: "test".into(),
        recipe: "lid".into(),
        revision: 1,
        plan_hash: [7; 32],
    })
    .unwrap();
    let head = JournalHead { boot: store.boot(), ..JournalHead::default() };
    let mut journal = JournalWriter::open(&scratch.0.join("journal"), &head).unwrap();
    let sender = store.sender();
    let sealer = Sealer::start(SealSettings {
        data: scratch.0.clone(),
        store: sender.clone(),
        journal: journal.tips(),
        clock,
    })
    .unwrap();
    for seq in 1..=10 {
        let at = seq * step;
        let now = Now { mono: Mono::from_millis(at), utc: Utc::from_millis(T0 + at) };
        let (links, seq) = (&[Link::default()], seq.unsigned_abs());
        let scan = Scan { seq, now, links, changes: &[], acks: &[], commands: &[] };
        journal.append_scan(&scan).unwrap();
        journal.append_actions(seq, &[]).unwrap();
    }
    for write in 1..=3 {
        sender.record(Utc::from_millis(T0), row(write, Fate::Sent));
        sender.record(Utc::from_millis(T0), row(write, Fate::Refused(0x8074_0000)));
    }
    for entry in 1..=4 {
        sender.audit(entry, "uid:0 (root)", "loop auto weight", "trial");
    }
    sender.barrier().unwrap();
    sealer.lost().map(str::to_owned)
}

/// Two starts are whole, each signed at its end, and nothing is behind the last head.
#[test]
fn what_is_whole_passes() {
    let scratch = Scratch::new("whole");
    start(&scratch);
    start(&scratch);
    let report = scratch.verified();
    assert_eq!(report.findings, []);
    assert_eq!((report.audit.entries, report.ledger.entries, report.heads), (8, 12, 2));
    assert_eq!((report.audit.unsigned, report.ledger.unsigned, report.journal.unsigned), (0, 0, 0));
    assert_eq!(report.journal.entries, 2 * 21);
    assert_eq!(report.keys.len(), 1);
    let key = std::fs::metadata(scratch.0.join("keys/audit.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    // The key kept elsewhere, and a copy of the heads.
    let copy = scratch.0.join("copy.log");
    std::fs::copy(scratch.0.join(HEADS), &copy).unwrap();
    let key = public_key(&scratch.0).unwrap();
    let report = verify(&scratch.0, Some(key), Some(&copy), &mut |_| ()).unwrap();
    assert_eq!((report.findings, report.notes), (vec![], vec![]));
}

/// A changed, removed or rewritten row is found with its number; so is a tail that was cut off.
#[test]
fn changed_rows_are_found() {
    for (sql, expected) in [
        (
            "UPDATE audit SET reason = 'other' WHERE seq = 3",
            "audit entry 3 was changed after it was written",
        ),
        ("DELETE FROM audit WHERE seq = 2", "audit entry 3 follows a gap in the numbers"),
        (
            "DELETE FROM audit WHERE seq >= 3",
            "audit entry 3 is missing: head 1 signed 4 entries, and there are 2",
        ),
        (
            "UPDATE ledger SET sent = 361.0 WHERE id = 5",
            "ledger entry 5 was changed after it was written",
        ),
        (
            "UPDATE ledger SET sent = 'abc' WHERE id = 3",
            "ledger entry 3 was changed after it was written",
        ),
        (
            "UPDATE ledger SET status = NULL WHERE id = 2",
            "ledger entry 2 was changed after it was written",
        ),
        (
            "DELETE FROM ledger WHERE id = 6",
            "ledger entry 6 is missing: head 1 signed 6 entries, and there are 5",
        ),
    ] {
        let scratch = Scratch::new("rows");
        start(&scratch);
        scratch.state().execute_batch(sql).unwrap();
        assert_eq!(scratch.finding(), expected);
    }
}

/// A chain that was made anew, hashes and all, contradicts its signed head.
#[test]
fn a_chain_made_anew_is_found() {
    let (scratch, other) = (Scratch::new("anew"), Scratch::new("anew-other"));
    start(&scratch);
    start(&other);
    // Whole by itself, with all the same numbers, but written at another time.
    std::fs::copy(other.0.join("state.db"), scratch.0.join("state.db")).unwrap();
    let wal = scratch.0.join("state.db-wal");
    drop(std::fs::remove_file(wal));
    let finding = scratch.finding();
    assert!(finding.starts_with("audit entry 4 is not the one that head 1 signed"), "{finding}");
}

/// The journal: a changed bit, a tail cut off at a record's end, a file that is gone.
#[test]
fn a_changed_journal_is_found() {
    let scratch = Scratch::new("journal");
    start(&scratch);
    let file = scratch.0.join("journal/journal-00000001.tlj");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    assert!(scratch.finding().contains("does not fit"), "{}", scratch.finding());
    // Cut behind its last record but one: whole by itself.
    let mut ends = Vec::new();
    std::fs::write(&file, &good).unwrap();
    crate::journal::verify_with(&scratch.0.join("journal"), &mut |tip| ends.push(tip.bytes))
        .unwrap()
        .unwrap();
    let cut = usize::try_from(ends[ends.len() - 2]).unwrap();
    std::fs::write(&file, &good[..cut]).unwrap();
    assert!(scratch.finding().contains("is missing: head 1 signed"), "{}", scratch.finding());
    std::fs::remove_dir_all(scratch.0.join("journal")).unwrap();
    assert!(scratch.finding().ends_with("is gone; head 1 knew it"), "{}", scratch.finding());
}

/// Heads: changed, removed, of another key, cut off with their rows.
#[test]
fn changed_heads_are_found() {
    let scratch = Scratch::new("heads");
    start(&scratch);
    start(&scratch);
    let path = scratch.0.join(HEADS);
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.replacen("audit=4:", "audit=3:", 1)).unwrap();
    assert_eq!(scratch.finding(), "heads line 1 of heads.log does not fit its signature");
    let second = good.lines().nth(1).unwrap();
    std::fs::write(&path, format!("{second}\n")).unwrap();
    assert_eq!(scratch.finding(), "heads line 1 of heads.log does not follow the line before it");
    std::fs::write(&path, &good).unwrap();
    let other = Scratch::new("heads-other");
    start(&other);
    let key = public_key(&other.0).unwrap();
    let report = verify(&scratch.0, Some(key), None, &mut |_| ()).unwrap();
    assert!(report.findings[0].what.contains("not by the one expected"), "{report:?}");
    // Rows and heads cut off together are whole by themselves; a copy kept elsewhere knows better.
    let copy = scratch.0.join("copy.log");
    std::fs::write(&copy, &good).unwrap();
    std::fs::write(&path, format!("{}\n", good.lines().next().unwrap())).unwrap();
    scratch.state().execute_batch("DELETE FROM audit WHERE seq > 4").unwrap();
    assert_eq!(scratch.verified().findings, []);
    let report = verify(&scratch.0, None, Some(&copy), &mut |_| ()).unwrap();
    assert_eq!(report.findings[0].place, "head 2");
}

/// Without its heads a folder that signs is not whole, but for its first minutes; a copy that is not
/// there proves nothing; and a start says that records are missing.
#[test]
fn heads_that_are_gone_are_found() {
    let scratch = Scratch::new("gone");
    assert_eq!(start(&scratch), None);
    assert_eq!(start(&scratch), None);
    let missing = verify(&scratch.0, None, Some(Path::new("no-such.log")), &mut |_| ());
    assert!(missing.unwrap_err().to_string().contains("no-such.log"));
    let heads = std::fs::read(scratch.0.join(HEADS)).unwrap();
    std::fs::remove_file(scratch.0.join(HEADS)).unwrap();
    assert_eq!(scratch.verified().findings, []);
    scratch.state().execute_batch("UPDATE boot SET utc = utc - 3600000000000").unwrap();
    assert!(scratch.finding().starts_with("heads heads.log are gone"), "{}", scratch.finding());
    assert_eq!(start(&scratch).as_deref(), Some("the signed heads (heads.log) are gone"));
    std::fs::write(scratch.0.join(HEADS), heads).unwrap();
    scratch.state().execute_batch("DELETE FROM ledger WHERE id > 10").unwrap();
    let lost = start(&scratch).unwrap();
    assert_eq!(lost, "the write ledger had 12 entries when it was signed, and has 10");
}

/// Heads, ledger and audit trail cut back to the same head look whole to one another; the journal
/// goes on.
#[test]
fn a_tail_cut_with_its_heads_is_found() {
    let scratch = Scratch::new("tail");
    start(&scratch);
    let (heads, tips) = (std::fs::read(scratch.0.join(HEADS)).unwrap(), scratch.verified());
    // A quarter of an hour, longer than a service leaves its journal unsigned.
    start_for(&scratch, 100_000);
    assert_eq!(scratch.verified().findings, []);
    std::fs::write(scratch.0.join(HEADS), heads).unwrap();
    let cut = format!(
        "DELETE FROM ledger WHERE id > {}; DELETE FROM audit WHERE seq > {}",
        tips.ledger.entries, tips.audit.entries
    );
    scratch.state().execute_batch(&cut).unwrap();
    let found = scratch.finding();
    assert!(found.starts_with("heads heads.log the journal goes on for 15 min"), "{found}");
    // And without any head at all.
    std::fs::write(scratch.0.join(HEADS), "").unwrap();
    scratch.state().execute_batch("DELETE FROM ledger; DELETE FROM boot WHERE boot > 1").unwrap();
    let found = scratch.finding();
    assert!(found.contains("the journal goes on for 15 min"), "{found}");
}

/// A head that a power cut tore is no finding, and the next start goes on behind the last whole one.
#[test]
fn a_torn_head_is_removed() {
    let scratch = Scratch::new("torn");
    start(&scratch);
    start(&scratch);
    let path = scratch.0.join(HEADS);
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &good[..good.len() - 20]).unwrap();
    let report = scratch.verified();
    assert_eq!((report.findings.len(), report.heads, report.notes.len()), (0, 1, 2));
    start(&scratch);
    let report = scratch.verified();
    assert_eq!((report.findings, report.heads), (vec![], 2));
}

/// A key that others may read signs nothing.
#[test]
fn a_key_that_others_may_read_is_refused() {
    let scratch = Scratch::new("key");
    let (key, new) = AuditKey::open(&scratch.0).unwrap();
    assert!(new);
    let (again, new) = AuditKey::open(&scratch.0).unwrap();
    assert_eq!((key.public(), new), (again.public(), false));
    assert_eq!(public_key(&scratch.0).unwrap(), key.public());
    let path = scratch.0.join("keys/audit.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(AuditKey::open(&scratch.0), Err(KeyError::Open { mode: 0o640, .. })));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "trimloop-ed25519-private 00").unwrap();
    assert!(matches!(AuditKey::open(&scratch.0), Err(KeyError::NotAKey { .. })));
}
