//! Tables that are the same on every run, and the command in a folder of its own.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A folder that is gone at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trimloop-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// The command here; the line is cut at spaces.
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trimloop"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TRIMLOOP_") {
                command.env_remove(name);
            }
        }
        command.current_dir(&self.0).args(line.split(' ')).env("NO_COLOR", "1");
        command.env("XDG_RUNTIME_DIR", &self.0).output().unwrap()
    }

    /// What it prints when it works.
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", err(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its JSON object, whatever the exit code.
    pub fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --format json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// Exit code and message when it does not work.
    pub fn fails(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        let text = err(&output);
        assert!(output.stdout.is_empty(), "{line} printed a result and failed: {text}");
        (output.status.code().unwrap(), text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Noise of a seed: SplitMix64, twelve of them summed to a bell.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// Titles of [`process`].
pub const TITLES: [&str; 7] = [
    "time",
    "melt [degC]",
    "mould [degC]",
    "fill [bar]",
    "hold [bar]",
    "cushion [mm]",
    "weight [g]",
];

/// Rows of a press: two hidden drifts with memory move five signals, and the weight follows fill and
/// melt; from row `fault` on the cushion leaves its place. Cells as text, the time first.
pub fn process(seed: u64, start: i64, n: usize, fault: Option<usize>) -> Vec<Vec<String>> {
    let mut noise = Noise::new(seed);
    let (mut viscosity, mut heat) = (0.0, 0.0);
    (0..n)
        .map(|row| {
            viscosity = 0.7 * viscosity + 0.7 * noise.normal();
            heat = 0.7 * heat + 0.7 * noise.normal();
            let melt = 220.0 + 2.0 * heat + 0.3 * noise.normal();
            let mould = 60.0 + heat + 0.3 * noise.normal();
            let fill = 600.0 + 20.0 * viscosity - 5.0 * heat + 3.0 * noise.normal();
            let hold = 400.0 + 10.0 * viscosity + 3.0 * noise.normal();
            let broken = fault.is_some_and(|from| row >= from);
            let cushion =
                5.0 + 0.3 * viscosity + 0.1 * noise.normal() + if broken { 3.0 } else { 0.0 };
            let weight =
                19.5 + 0.004 * (fill - 600.0) - 0.02 * (melt - 220.0) + 0.02 * noise.normal();
            let at = start + 20 * i64::try_from(row).unwrap();
            let time = chrono::DateTime::from_timestamp(at, 0).unwrap();
            let mut cells = vec![time.format("%Y-%m-%dT%H:%M:%SZ").to_string()];
            let values = [melt, mould, fill, hold, cushion, weight];
            cells.extend(values.map(|x| format!("{x:.4}")));
            cells
        })
        .collect()
}

/// Rows with titles as CSV.
pub fn csv(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = titles.join(",") + "\n";
    for row in rows {
        text.push_str(&(row.join(",") + "\n"));
    }
    text
}

/// Monday, 2026-11-02T00:00:00Z.
pub const BEGIN: i64 = 1_793_577_600;
