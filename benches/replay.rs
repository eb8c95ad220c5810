//! How fast a journal is replayed: `cargo bench --bench replay`.
//!
//! The cell is the shipped press with so many further tags that 200 values change in every scan,
//! ten times a second; a part ends every 20 s. What is measured is all that `trimloop replay` does:
//! reading, checksum, hash chain, decoding, the step, encoding and comparing. Real time is 60 s: a
//! median of 60 ms is 1,000 times as fast. Goal: at least 1,000 times, better 5,000.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should stop")]

#[path = "support/press.rs"]
mod press;

use std::path::PathBuf;

use divan::Bencher;
use trimloop::journal::{JournalHead, JournalWriter};
use trimloop::replay::{ReplaySettings, replay};
use trimloop_core::cell::Cell;
use trimloop_core::scan::{Link, Scan};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Now, Utc};
use trimloop_recipe::Bound;

const TAGS: usize = 200;
/// 60 s at 10 Hz.
const SCANS: u64 = 600;
const SCANS_PER_PART: u64 = 200;
const BEGIN_MS: i64 = 1_767_225_600_000;

fn main() {
    divan::main();
}

/// The folder of a journal, removed at the end.
struct Journal(PathBuf);

impl Journal {
    fn record(bound: &Bound) -> Self {
        let path = std::env::temp_dir().join(format!("trimloop-bench-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        let head = JournalHead {
            recipe: bound.plan.name.clone(),
            revision: bound.plan.revision,
            plan_hash: bound.plan.hash,
            node: "bench".to_owned(),
            boot: 1,
            utc: Utc::from_millis(BEGIN_MS),
        };
        let mut journal = JournalWriter::open(&path, &head).expect("a journal");
        let mut cell = Cell::new(bound.plan.clone()).expect("a cell");
        let part = bound.plan.tags.iter().position(|tag| tag.name == "part_id");
        let clock = bound.plan.links[0].clock;
        let mut noise = 7_u64;
        for seq in 1..=SCANS {
            let ms = 100 * seq.cast_signed();
            let now = Now { mono: Mono::from_millis(ms), utc: Utc::from_millis(BEGIN_MS + ms) };
            let samples: Vec<Sample> = (0..bound.plan.tags.len())
                .rev()
                .take(TAGS)
                .chain(part)
                .map(|tag| {
                    noise ^= noise << 13;
                    noise ^= noise >> 7;
                    noise ^= noise << 17;
                    let id = TagId(u16::try_from(tag).expect("a small plan"));
                    let value = if part == Some(tag) {
                        Value::Int((seq / SCANS_PER_PART).cast_signed())
                    } else if clock == Some(id) {
                        Value::Int(BEGIN_MS + ms)
                    } else {
                        Value::Float(500.0 + (noise % 1000) as f64 / 100.0)
                    };
                    Sample {
                        tag: id,
                        value: Some(value),
                        status: Status::Good,
                        source_time: Some(now.utc),
                        server_time: Some(now.utc),
                        received: now.mono,
                    }
                })
                .collect();
            let links = [Link { up: true, epoch: 1, life: Some(now.mono) }];
            let scan =
                Scan { seq, now, links: &links, changes: &samples, acks: &[], commands: &[] };
            journal.append_scan(&scan).expect("a journal that takes it");
            let actions = cell.step(scan);
            journal.append_actions(seq, actions.as_slice()).expect("a journal that takes it");
        }
        Self(path)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// 60 s of 200 tags at 10 Hz: 600 scans, 120,600 samples.
#[divan::bench(sample_count = 50)]
fn replay_60_s_of_200_tags(bencher: Bencher) {
    let bound = press::with_further_tags(TAGS);
    let journal = Journal::record(&bound);
    let settings = ReplaySettings { project: Some(bound), ..ReplaySettings::default() };
    bencher.bench_local(|| {
        let report = replay(&journal.0, &settings, &mut |_, _| ()).expect("a journal");
        assert!(report.is_equal() && report.compared == SCANS, "{report:?}");
        report.samples
    });
}
