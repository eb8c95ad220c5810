//! Tests of the journal as a whole: what is appended is what is read, whatever happens between.

use std::path::{Path, PathBuf};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::super::actions::tests::some_actions;
use super::super::codec::tests::scan;
use super::super::codec::{OwnedScan, encode_scan};
use super::super::reader::{Item, verify};
use super::*;

/// A directory of its own under the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("trimloop-journal-{name}-{}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn head() -> JournalHead {
    JournalHead {
        recipe: "housing-lid".to_owned(),
        revision: 3,
        plan_hash: [7; 32],
        node: "cell-1".to_owned(),
        boot: 5,
        utc: trimloop_core::time::Utc::from_millis(1_700_000_000_000),
    }
}

fn scans(count: usize) -> Vec<OwnedScan> {
    let mut runner = TestRunner::deterministic();
    (0..count as u64)
        .map(|seq| OwnedScan { seq, ..scan().new_tree(&mut runner).unwrap().current() })
        .collect()
}

fn write(dir: &Path, scans: &[OwnedScan], bytes_max: u64) {
    let mut writer = JournalWriter::open_sized(dir, &head(), bytes_max).unwrap();
    for scan in scans {
        writer.append_scan(&scan.as_scan()).unwrap();
        writer.append_actions(scan.seq, &some_actions()).unwrap();
    }
}

/// All scans of all files; panics on damage.
fn read(dir: &Path) -> Vec<OwnedScan> {
    let mut scans = Vec::new();
    for (_, path) in files(dir).unwrap() {
        let mut reader = Reader::open(&path).unwrap();
        while let Some(entry) = reader.next_entry().unwrap() {
            match entry.item {
                Item::Head(found) => assert_eq!(found, head()),
                Item::Scan(scan) => scans.push(scan),
                Item::Actions { seq, notes, .. } => {
                    assert_eq!(seq, scans.last().unwrap().seq);
                    assert_eq!(notes.len(), some_actions().len());
                }
            }
        }
    }
    scans
}

/// Scans survive rotation and restarts in order, and the chain runs through all files.
#[test]
fn what_is_appended_is_read_across_files_and_starts() {
    let scratch = Scratch::new("files");
    let all = scans(60);
    write(&scratch.0, &all[..25], 8_000);
    write(&scratch.0, &all[25..], 8_000);
    assert_eq!(read(&scratch.0), all);
    let seen = verify(&scratch.0).unwrap().unwrap();
    assert!(seen.files > 4, "{seen:?}");
    assert_eq!((seen.scans, seen.records), (60, 120 + seen.files));
}

/// Files of an older format stay where they are and the chain goes on from them; what they hold is
/// refused with a sentence that says why.
#[test]
fn an_older_format_stays_and_is_not_read() {
    let scratch = Scratch::new("older");
    let all = scans(6);
    write(&scratch.0, &all[..3], FILE_BYTES_MAX);
    let path = files(&scratch.0).unwrap().remove(0).1;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[15] = 1;
    std::fs::write(&path, &bytes).unwrap();
    let writer = JournalWriter::open(&scratch.0, &head()).unwrap();
    assert!(writer.set_aside().is_none(), "{:?}", writer.set_aside());
    drop(writer);
    write(&scratch.0, &all[3..], FILE_BYTES_MAX);
    assert!(verify(&scratch.0).unwrap().is_ok(), "one chain through both");
    let refused = Reader::open(&path).unwrap().next_entry().unwrap_err();
    assert_eq!((refused.record, refused.offset), (0, 0));
    assert!(refused.to_string().contains("an older journal format"), "{refused}");
    let newest = files(&scratch.0).unwrap().pop().unwrap().1;
    assert!(Reader::open(&newest).unwrap().next_entry().unwrap().is_some());
}

/// Every single bit of a journal counts: flipping it is found, and in the record where it is.
#[test]
fn one_changed_bit_is_found_and_located() {
    let scratch = Scratch::new("bit");
    write(&scratch.0, &scans(4), FILE_BYTES_MAX);
    let path = files(&scratch.0).unwrap().remove(0).1;
    let good = std::fs::read(&path).unwrap();
    let mut starts = vec![0_u64];
    let mut reader = Reader::open(&path).unwrap();
    while reader.next_record().unwrap().is_some() {
        starts.push(reader.offset());
    }
    for bit in (0..good.len() * 8).step_by(11) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bad).unwrap();
        let damage = verify(&scratch.0).unwrap().unwrap_err();
        let expected = starts.iter().rposition(|start| *start <= bit as u64 / 8).unwrap();
        assert_eq!(damage.record, expected as u64, "bit {bit}: {damage}");
        assert_eq!(damage.offset, starts[expected], "bit {bit}: {damage}");
    }
}

/// A whole, well-formed record taken out, doubled or exchanged breaks the chain.
#[test]
fn a_moved_record_breaks_the_chain() {
    let scratch = Scratch::new("moved");
    write(&scratch.0, &scans(4), FILE_BYTES_MAX);
    let path = files(&scratch.0).unwrap().remove(0).1;
    let good = std::fs::read(&path).unwrap();
    let mut ends = Vec::new();
    let mut reader = Reader::open(&path).unwrap();
    while reader.next_record().unwrap().is_some() {
        ends.push(usize::try_from(reader.offset()).unwrap());
    }
    let (a, b) = (ends[1], ends[2]);
    let without = [&good[..a], &good[b..]].concat();
    let doubled = [&good[..b], &good[a..b], &good[b..]].concat();
    for bad in [without, doubled] {
        std::fs::write(&path, bad).unwrap();
        let damage = verify(&scratch.0).unwrap().unwrap_err();
        assert_eq!(damage.what, "does not fit the hash chain");
    }
}

/// Cut anywhere, the journal keeps every whole record, sets the rest aside and goes on.
#[test]
fn a_torn_tail_is_set_aside_and_the_chain_goes_on() {
    let scratch = Scratch::new("torn");
    let all = scans(6);
    write(&scratch.0, &all[..3], FILE_BYTES_MAX);
    let path = files(&scratch.0).unwrap().remove(0).1;
    let good = std::fs::read(&path).unwrap();
    for cut in (0..good.len()).step_by(97) {
        std::fs::remove_dir_all(&scratch.0).unwrap();
        std::fs::create_dir_all(&scratch.0).unwrap();
        std::fs::write(&path, &good[..cut]).unwrap();
        let writer = JournalWriter::open(&scratch.0, &head()).unwrap();
        let aside = writer.set_aside().cloned();
        drop(writer);
        write(&scratch.0, &all[3..], FILE_BYTES_MAX);
        let kept = aside.map_or(0, |aside| {
            assert!(aside.to_string().contains(".damaged-1"), "{aside}");
            let bytes = std::fs::read(&aside.kept).unwrap();
            assert_eq!(bytes, good[..cut][cut - bytes.len()..]);
            bytes.len()
        });
        let scans = read(&scratch.0);
        assert_eq!(scans[scans.len() - 3..], all[3..]);
        assert_eq!(scans[..scans.len() - 3], all[..scans.len() - 3]);
        assert!(verify(&scratch.0).unwrap().is_ok(), "cut at {cut}, {kept} set aside");
    }
}

/// Two writers never share a directory.
#[test]
fn a_second_writer_is_refused() {
    let scratch = Scratch::new("lock");
    let first = JournalWriter::open(&scratch.0, &head()).unwrap();
    let second = JournalWriter::open(&scratch.0, &head());
    assert!(matches!(second, Err(JournalError::InUse { .. })), "{second:?}");
    drop(first);
    JournalWriter::open(&scratch.0, &head()).unwrap();
}

/// After one failed append nothing is taken any more, so that nothing is written to the PLC.
#[test]
fn a_failed_append_poisons() {
    let scratch = Scratch::new("poison");
    let mut writer = JournalWriter::open(&scratch.0, &head()).unwrap();
    let scan = &scans(1)[0];
    writer.append_scan(&scan.as_scan()).unwrap();
    // A file opened for reading refuses every write, as a full disk would.
    writer.file = Arc::new(File::open(&writer.path).unwrap());
    assert!(matches!(writer.append_scan(&scan.as_scan()), Err(JournalError::Append { .. })));
    assert!(writer.poisoned());
    assert!(matches!(writer.append_actions(0, &[]), Err(JournalError::Poisoned)));
    assert!(matches!(writer.sync(), Err(JournalError::Poisoned)));
}

/// The buffers are large enough for usual scans: their capacity does not change.
#[test]
fn appending_does_not_grow_the_buffers() {
    let scratch = Scratch::new("buffers");
    let mut writer = JournalWriter::open(&scratch.0, &head()).unwrap();
    for scan in scans(200) {
        writer.append_scan(&scan.as_scan()).unwrap();
        writer.append_actions(scan.seq, &some_actions()).unwrap();
    }
    assert_eq!((writer.buffer.capacity(), writer.body.capacity()), (BUFFER_BYTES, BUFFER_BYTES));
    let mut bytes = Vec::new();
    encode_scan(&scans(1)[0].as_scan(), &mut bytes);
    assert!(bytes.len() < 4096);
}
