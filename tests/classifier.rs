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
    // By what is there and the means of the rest; its probabilities nobody knows.
    assert_eq!((&*column(&odd, "class")[0], &*column(&odd, "p_1")[0]), ("0", ""));

    let damaged = bench.0.join("a/model.tlm");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let error = bench.refused(&["score", "--model", "a", "--data", "fresh.csv"]);
    assert!(error.contains("TL0504"), "{error}");
}

/// A logistic classifier with a column by hand: the same layout of scores, contributions whose sum
/// orders the probabilities, both domains, the same bytes twice, and clear refusals.
#[test]
fn logistic_failures_of_a_machine() {
    let bench = Bench::new("logistic");
    bench.put("train.csv", &machine(1, 400));
    let train = |out: &str, more: &[&str]| {
        let base = ["train", "--kind", "classifier", "--learner", "logistic"];
        let args = [&base[..], &["--data", "train.csv", "--out", out], more].concat();
        args.iter().map(|x| (*x).to_owned()).collect::<Vec<String>>()
    };
    let run = |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        bench.text(&args)
    };
    let power = ["--label", "failure", "--feature", "power = speed * torque"];
    let card = run(train("a", &power));
    for part in ["Logistic regression", "overload is a flag", "Platt", "penalty", "power"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    run(train("b", &power));
    assert!(same(&bench.0.join("a/model.tlm"), &bench.0.join("b/model.tlm")));

    let fresh = machine(2, 200);
    bench.put("fresh.csv", &fresh);
    let scores = bench.text(&["score", "--model", "a", "--data", "fresh.csv"]);
    let titles = "time,class,p_0,p_1,domain,top1,top1_contribution,top2,";
    assert!(scores.starts_with(titles), "{scores:.120}");
    let truth = column(&fresh, "failure");
    let classes = column(&scores, "class");
    let right = classes.iter().zip(&truth).filter(|(a, b)| format!("{a}.0") == **b).count();
    assert!(right >= 190, "{right} of 200");
    // Four columns in all, so that every contribution is shown: to the class that is said.
    let number = |name: &str| -> Vec<f64> {
        column(&scores, name).iter().map(|cell| cell.parse().unwrap()).collect()
    };
    let shares: Vec<Vec<f64>> =
        (1..=4).map(|top| number(&format!("top{top}_contribution"))).collect();
    let mut order: Vec<(f64, f64)> = number("p_1")
        .iter()
        .enumerate()
        .map(|(row, p)| {
            let sign = if classes[row] == "1" { 1.0 } else { -1.0 };
            (sign * shares.iter().map(|share| share[row]).sum::<f64>(), *p)
        })
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(order.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    assert!(order[0].1 < 0.1 && order[199].1 > 0.9);

    // A gap, a grade that was never seen, a value beyond training.
    let title = "part,grade,speed [rpm],torque [Nm]\n";
    bench.put("odd.csv", &format!("{title}x,L,,40\ny,Z,1500,40\nz,L,9000,40\nw,M,1500,40\n"));
    let odd = bench.text(&["score", "--model", "a", "--data", "odd.csv"]);
    assert_eq!(column(&odd, "domain"), ["missing", "out", "out", "in"]);
    assert!(bench.text(&["show", "a"]).contains("Log-odds of 1"));

    let refused = |args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        bench.refused(&args)
    };
    let causes = refused(train("c", &["--label-from-file", "(tr)ain"]));
    assert!(causes.contains("every label is") || causes.contains("forest"), "{causes}");
    let kind = ["train", "--kind", "regression", "--learner", "logistic", "--label", "failure"];
    let kind = bench.refused(&[&kind[..], &["--data", "train.csv", "--out", "c"]].concat());
    assert!(kind.contains("TL0527") && kind.contains("ridge, pls"), "{kind}");
    bench.put("train.csv", "x,y\n1,a\n2,b\n3,a\n");
    assert!(refused(train("c", &["--label", "y"])).contains("too few"));
    bench.put("train.csv", "x,y\n1,a\n2,a\n3,a\n");
    assert!(refused(train("c", &["--label", "y"])).contains("every label is a"));
}

/// Three classes along a line, `b` of no use and `c` bound to `a`.
fn states(seed: u64, rows: usize, names: [&str; 3]) -> String {
    let mut state = seed;
    let mut text = "a [degC],b,c,state\n".to_owned();
    for _ in 0..rows {
        let [a, b, c, off] = [(); 4].map(|()| uniform(&mut state));
        let class = match a + 0.1 * (off - 0.5) {
            x if x < 0.3 => 0,
            x if x < 0.7 => 1,
            _ => 2,
        };
        let (a, b, c) = (200.0 + 20.0 * a, b, 3.0 * a + 0.1 * c);
        writeln!(text, "{a:.3},{b:.4},{c:.4},{}", names[class]).unwrap();
    }
    text
}

/// Three classes by logistic regression: scores laid out as those of a forest, probabilities that
/// sum to 1, contributions that favour the class that is said, a domain that knows relations, a class
/// for a row with a gap, and the same bytes twice.
#[test]
fn logistic_of_three_classes() {
    let bench = Bench::new("states");
    bench.put("train.csv", &states(1, 360, ["cold", "good", "hot"]));
    let base = ["train", "--kind", "classifier", "--learner", "logistic", "--label", "state"];
    let train =
        |out: &str| bench.text(&[&base[..], &["--data", "train.csv", "--out", out]].concat());
    let card = train("a");
    for part in ["against the mean of the others", "one slope for all", "Reliability, held out"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    train("b");
    assert!(same(&bench.0.join("a/model.tlm"), &bench.0.join("b/model.tlm")));

    let fresh = states(2, 300, ["cold", "good", "hot"]);
    bench.put("fresh.csv", &fresh);
    let scores = bench.text(&["score", "--model", "a", "--data", "fresh.csv"]);
    let titles = "time,class,p_cold,p_good,p_hot,domain,top1,top1_contribution,top2,";
    assert!(scores.starts_with(titles), "{scores:.120}");
    let (truth, classes) = (column(&fresh, "state"), column(&scores, "class"));
    let right = classes.iter().zip(&truth).filter(|(a, b)| a == b).count();
    assert!(right >= 270, "{right} of 300");
    let number = |name: &str| -> Vec<f64> {
        column(&scores, name).iter().map(|cell| cell.parse().unwrap()).collect()
    };
    let p = ["p_cold", "p_good", "p_hot"].map(number);
    for (row, class) in classes.iter().enumerate() {
        let of = [p[0][row], p[1][row], p[2][row]];
        assert!((of.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let best = (0..3).max_by(|i, j| of[*i].total_cmp(&of[*j])).unwrap();
        assert_eq!(["cold", "good", "hot"][best], class);
    }
    // What is cold for sure is so by `a` or what is bound to it, and it speaks for that.
    let (tops, shares) = (column(&scores, "top1"), number("top1_contribution"));
    for row in (0..300).filter(|row| p[0][*row].max(p[2][*row]) > 0.9) {
        assert!(tops[row] != "b" && shares[row] > 0.0, "{row}");
    }
    let inside = column(&scores, "domain").iter().filter(|domain| *domain == "in").count();
    assert!(inside >= 285, "{inside}");

    bench.put("odd.csv", "a,b,c\n201,0.5,2.9\n230,0.5,2\n,0.5,0.05\n210,0.5,1.5\n");
    let odd = bench.text(&["score", "--model", "a", "--data", "odd.csv"]);
    assert_eq!(column(&odd, "domain"), ["out", "out", "missing", "in"]);
    assert!(column(&odd, "class").iter().all(|class| ["cold", "good", "hot"].contains(&&**class)));
    assert!(column(&odd, "p_cold")[2].is_empty());
    assert!(bench.text(&["show", "a"]).contains("logistic"));
}

/// `01` stays `01`, in probabilities, against labels of another table and when tables are joined; of a
/// column of numbers `1.0` is 1.
#[test]
fn labels_stay_as_written() {
    let bench = Bench::new("spelling");
    let base = ["train", "--kind", "classifier", "--learner", "logistic", "--label", "state"];
    for (names, titles) in [
        (["01", "2", "10"], "time,class,p_01,p_2,p_10,domain"),
        (["1.0", "2.0", "3.0"], "time,class,p_1,p_2,p_3,domain"),
        (["1", "x", "2.0"], "time,class,p_1,p_2.0,p_x,domain"),
    ] {
        let out = names.concat();
        bench.put("train.csv", &states(1, 200, names));
        bench.text(&[&base[..], &["--data", "train.csv", "--out", &out]].concat());
        bench.put("fresh.csv", &states(2, 60, names));
        let scores = bench.text(&["score", "--model", &out, "--data", "fresh.csv"]);
        assert!(scores.starts_with(titles), "{scores:.120}");
        let said = column(&scores, "class");
        let spelt: Vec<&str> = if names[0] == "1.0" { vec!["1", "2", "3"] } else { names.to_vec() };
        assert!(said.iter().all(|class| spelt.contains(&class.as_str())), "{said:?}");
    }
    bench.put("parts.csv", "part,x\n007,1\n8,2.50\n");
    bench.put("labels.csv", "part,grade\n7,01\n8,2\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
    let join = ["data", "join", "--data", "parts.csv", "--labels", "labels.csv", "--by", "part"];
    let output = command.current_dir(&bench.0).args(join).args(["--out", "joined.csv"]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let joined = std::fs::read_to_string(bench.0.join("joined.csv")).unwrap();
    assert!(joined.contains("007,1,01") && joined.contains("8,2.5,2"), "{joined}");
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
