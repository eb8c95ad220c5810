//! Classifiers through the command line: what is learnt, what is left out, what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own, removed at the end.
struct Bench(PathBuf);

impl Drop for Bench {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Bench {
    fn new(name: &str) -> Self {
        let name = format!("trimloop-classifier-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn model(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
        command.current_dir(&self.0).arg("model").args(args).output().unwrap()
    }

    /// Standard output of a run that must end well.
    fn text(&self, args: &[&str]) -> String {
        let output = self.model(args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a run that must be refused.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.model(args);
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Uniform in 0 to 1 (`SplitMix64`).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / 4_294_967_296.0
}

/// A machine that fails above a power, with the modes of failure beside the failure, names of parts
/// and a grade in words.
fn machine(seed: u64, rows: usize) -> String {
    let mut state = seed;
    let mut text = "part,grade,speed [rpm],torque [Nm],failure,overload,jam\n".to_owned();
    for row in 0..rows {
        let (a, b, c) = (uniform(&mut state), uniform(&mut state), uniform(&mut state));
        let (speed, torque) = (1000.0 + 1000.0 * a, 20.0 + 40.0 * b);
        let grade = ["L", "M", "H"][row % 3];
        let (overload, jam) = (speed * torque > 80_000.0, c < 0.02);
        let bit = |on: bool| i32::from(on);
        let failure = bit(overload || jam);
        let (overload, jam) = (bit(overload), bit(jam));
        writeln!(
            text,
            "P{seed}{row:05},{grade},{speed:.1},{torque:.2},{failure}.0,{overload},{jam}"
        )
        .unwrap();
    }
    text
}

fn column(text: &str, name: &str) -> Vec<String> {
    let mut lines = text.lines();
    let place = lines.next().unwrap().split(',').position(|title| title == name).expect(name);
    lines.map(|line| line.split(',').nth(place).unwrap().to_owned()).collect()
}

fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// The power is found, the modes of failure are not used, names are left out, words are coded; the
/// same run gives the same bytes; scores have a row for each row and never a panic.
#[test]
fn failures_of_a_machine() {
    let bench = Bench::new("machine");
    bench.put("train.csv", &machine(1, 400));
    let label = ["--kind", "classifier", "--label", "failure", "--data", "train.csv", "--out"];
    let card = bench.text(&[&["train"][..], &label, &["a"]].concat());
    assert!(card.contains("speed * torque"), "{card}");
    for left_out in ["part holds", "overload is a flag", "jam is a flag"] {
        assert!(card.contains(left_out), "{left_out}: {card}");
    }
    bench.text(&[&["train"][..], &label, &["b"]].concat());
    assert!(same(&bench.0.join("a/model.tlm"), &bench.0.join("b/model.tlm")));

    let fresh = machine(2, 200);
    bench.put("fresh.csv", &fresh);
    let score = |data: &str| bench.text(&["score", "--model", "a", "--data", data]);
    let scores = score("fresh.csv");
    let truth = column(&fresh, "failure");
    let classes = column(&scores, "class");
    let right = classes.iter().zip(&truth).filter(|(a, b)| format!("{a}.0") == **b).count();
    assert!(right >= 190, "{right} of 200");
    for (class, p) in classes.iter().zip(column(&scores, "p_1")) {
        assert_eq!(class == "1", p.parse::<f64>().unwrap() > 0.5);
    }

    // A gap, a grade that was never seen, a value beyond training.
    let title = "part,grade,speed [rpm],torque [Nm]\n";
    bench.put("odd.csv", &format!("{title}x,L,,40\ny,Z,1500,40\nz,L,9000,40\nw,M,1500,40\n"));
    let odd = score("odd.csv");
    assert_eq!(column(&odd, "domain"), ["missing", "out", "out", "in"]);
    assert_eq!(column(&odd, "class")[0], "");

    let damaged = bench.0.join("a/model.tlm");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let error = bench.refused(&["score", "--model", "a", "--data", "fresh.csv"]);
    assert!(error.contains("TL0504"), "{error}");
}

/// Columns by hand, and mistakes in them; labels that cannot be learnt from.
#[test]
fn what_cannot_be_learnt() {
    let bench = Bench::new("mistakes");
    bench.put("train.csv", &machine(3, 60));
    let of = |data: &str, label: &str, more: &[&str]| {
        let args =
            ["train", "--kind", "classifier", "--label", label, "--data", data, "--out", "m"];
        let args: Vec<String> = args.iter().chain(more).map(|x| (*x).to_owned()).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        bench.refused(&args)
    };
    for (data, label, more, part) in [
        ("train.csv", "failure", &["--feature", "p = speed ^ torque"][..], "two columns"),
        ("train.csv", "failure", &["--feature", "p = sped * torque"], "sped"),
        ("train.csv", "failed", &[], "failed"),
        ("train.csv", "part", &[], "has 1 row, 2 at least"),
    ] {
        let error = of(data, label, more);
        assert!(error.contains(part), "{label} {more:?}: {error}");
    }
    bench.put("three.csv", "x,y\n1,a\n2,b\n3,a\n");
    assert!(of("three.csv", "y", &[]).contains("too few"));
    bench.put("one.csv", "x,y\n1,a\n2,a\n3,a\n");
    assert!(of("one.csv", "y", &[]).contains("every label is a"));
}

/// Runs of a process with one cause each: the cause of a fresh run, and a file without one.
#[test]
fn causes_of_runs() {
    let bench = Bench::new("causes");
    let run = |seed: u64, cause: usize, from: usize, rows: usize| {
        let mut state = seed;
        let mut text = "time,flow,level\n".to_owned();
        for row in 0..rows {
            let noise = |state: &mut u64| (0..4).map(|_| uniform(state) - 0.5).sum::<f64>();
            let (mut flow, mut level) = (noise(&mut state), noise(&mut state));
            match cause {
                1 if row >= from => flow += 1.5,
                2 if row >= from => level *= 4.0,
                _ => {}
            }
            writeln!(text, "{row},{flow:.4},{level:.4}").unwrap();
        }
        text
    };
    bench.put("fault_01.csv", &run(1, 1, 0, 200));
    bench.put("fault_02.csv", &run(2, 2, 0, 200));
    bench.put("calm.csv", &run(3, 0, 0, 200));
    let pattern = r"fault_(\d+)";
    let files = ["fault_01.csv", "fault_02.csv", "calm.csv"];
    let train = ["train", "--kind", "classifier", "--label-from-file", pattern, "--out", "m"];
    bench.text(&[&train[..], &["--data"], &files].concat());
    bench.put("one.csv", &run(11, 1, 60, 100));
    bench.put("two.csv", &run(12, 2, 60, 100));
    let scores = bench.text(&["score", "--model", "m", "--data", "one.csv", "two.csv"]);
    let causes = column(&scores, "cause");
    assert_eq!(causes.len(), 200);
    assert_eq!((causes[59].as_str(), causes[99].as_str()), ("none", "1"));
    assert_eq!((causes[159].as_str(), causes[199].as_str()), ("none", "2"));
    let none = ["train", "--kind", "classifier", "--label-from-file", "x(y)", "--out", "n"];
    let error = bench.refused(&[&none[..], &["--data"], &files].concat());
    assert!(error.contains("none of the files"), "{error}");
}
