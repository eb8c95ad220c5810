//! Runs the Structured Text as compiled by matiec, where it is installed.
//!
//! `TRIMLOOP_IEC2C` names the `iec2c` program; its `lib` folder must be beside it. No package
//! registry has it, so CI runs without; see `plc-configs/blocks/README.md`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::st::Value;

/// The compiler, if there is one.
pub fn compiler() -> Option<PathBuf> {
    std::env::var_os("TRIMLOOP_IEC2C").map(PathBuf::from)
}

/// One block, compiled; its folder is removed at the end.
pub struct Compiled {
    dir: PathBuf,
    outputs: Vec<(&'static str, Value)>,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Compiled {
    /// Compiles `block` of `sources`; `inputs` and `outputs` name its members and their types.
    pub fn new(
        compiler: &Path,
        sources: &str,
        block: &str,
        inputs: &[(&'static str, Value)],
        outputs: &[(&'static str, Value)],
    ) -> Self {
        let name = format!("trimloop-matiec-{}-{block}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let lib = compiler.parent().expect("a folder").join("lib");
        let whole = format!("{sources}{CONFIGURATION}");
        std::fs::write(dir.join("all.st"), whole).expect("a file");
        let done = |command: &mut Command| {
            let out = command.current_dir(&dir).output().expect("a program that starts");
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        };
        done(Command::new(compiler).arg("-I").arg(&lib).arg("all.st"));
        std::fs::write(dir.join("main.c"), driver(block, inputs, outputs)).expect("a file");
        let include = format!("-I{}", lib.join("C").display());
        // As PLCs compute: no contraction of products and sums.
        let flags = ["-w", "-O1", "-ffp-contract=off", &include, "-I.", "main.c", "-o", "main"];
        done(Command::new("cc").args(flags));
        Self { dir, outputs: outputs.to_vec() }
    }

    /// Runs the block from its first call over rows of inputs; gives rows of outputs.
    pub fn run(&self, rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
        let mut child = Command::new(self.dir.join("main"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the compiled block");
        let mut text = String::new();
        for row in rows {
            for value in row {
                write!(text, "{} ", word(*value)).expect("text");
            }
            text.push('\n');
        }
        let mut stdin = child.stdin.take().expect("an input");
        let feed = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let out = child.wait_with_output().expect("an end");
        feed.join().expect("a thread").expect("all rows taken");
        assert!(out.status.success());
        let text = String::from_utf8(out.stdout).expect("text");
        let row = |line: &str| {
            let back = |(word, (_, like)): (&str, &(&str, Value))| {
                let bits: u64 = word.parse().expect("a number");
                match like {
                    Value::Bool(_) => Value::Bool(bits != 0),
                    Value::Uint(_) => Value::Uint(bits),
                    Value::Real(_) => Value::Real(f64::from_bits(bits)),
                }
            };
            line.split_whitespace().zip(&self.outputs).map(back).collect()
        };
        text.lines().map(row).collect()
    }
}

const CONFIGURATION: &str = "
CONFIGURATION C
RESOURCE R0 ON PLC
TASK T(INTERVAL := T#10ms, PRIORITY := 0);
PROGRAM I WITH T : TL_Harness;
END_RESOURCE
END_CONFIGURATION
";

fn word(value: Value) -> u64 {
    match value {
        Value::Bool(b) => u64::from(b),
        Value::Uint(n) => n,
        Value::Real(x) => x.to_bits(),
    }
}

fn driver(block: &str, inputs: &[(&str, Value)], outputs: &[(&str, Value)]) -> String {
    let block = block.to_ascii_uppercase();
    let mut c = String::from(
        "#include <stdio.h>\n#include <string.h>\n#include \"POUS.h\"\n#include \"POUS.c\"\n\
         TIME __CURRENT_TIME;\nBOOL __DEBUG;\n",
    );
    write!(
        c,
        "int main(void) {{ static {block} b; unsigned long long w;\n{block}_init__(&b, 0);\n"
    )
    .expect("text");
    c.push_str("for (;;) {\n");
    for (name, like) in inputs {
        let name = name.to_ascii_uppercase();
        c.push_str("if (scanf(\"%llu\", &w) != 1) return 0;\n");
        let set = match like {
            Value::Real(_) => format!("memcpy(&b.{name}.value, &w, 8);\n"),
            _ => format!("b.{name}.value = w;\n"),
        };
        c.push_str(&set);
    }
    writeln!(c, "{block}_body__(&b);").expect("text");
    for (name, like) in outputs {
        let name = name.to_ascii_uppercase();
        let get = match like {
            Value::Real(_) => format!("memcpy(&w, &b.{name}.value, 8);\n"),
            _ => format!("w = b.{name}.value;\n"),
        };
        c.push_str(&get);
        c.push_str("printf(\"%llu \", w);\n");
    }
    c.push_str("printf(\"\\n\");\n} }\n");
    c
}
