//! Printing: results to stdout, everything else to stderr.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};

use trimloop_recipe::codes::Code;
use trimloop_recipe::diagnostic::{self, Color, Diagnostic};

use super::{ColorChoice, Exit, Format, Global};
use crate::clock::Clock;
use crate::output::utc_text;

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// One thing, with its code.
    Coded {
        /// Stable code.
        code: String,
        /// What, where and why.
        message: String,
        /// What next.
        help: String,
        /// Exit code.
        exit: u8,
    },
    /// Mistakes in files.
    Diagnostics(Vec<Diagnostic>, Exit),
}

impl Failure {
    /// A failure with the help of its code's page.
    pub fn new(code: &'static Code, message: impl Into<String>, exit: Exit) -> Self {
        let help = format!("see `trimloop explain {}`", code.code);
        Self::Coded { code: code.code.into(), message: message.into(), help, exit: exit as u8 }
    }

    /// The same with another advice.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        if let Self::Coded { help, .. } = &mut self {
            *help = text.into();
        }
        self
    }
}

/// How this run prints.
#[derive(Clone, Debug)]
pub struct Ui {
    format: Format,
    quiet: bool,
    verbose: u8,
    clock: Clock,
}

impl Ui {
    pub(super) fn new(global: &Global) -> Self {
        match global.color {
            ColorChoice::Auto => {}
            ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
            ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
        }
        Self {
            format: global.format,
            quiet: global.quiet,
            verbose: global.verbose,
            clock: Clock::start(),
        }
    }

    /// The clock of this process.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// How results are printed.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether the result is for a machine.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Jsonl)
    }

    /// Whether nothing but the result and errors is wanted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether progress bars make sense: people, a terminal, not quiet.
    #[must_use]
    pub fn has_bars(&self) -> bool {
        use std::io::IsTerminal;
        !self.is_json() && !self.quiet && std::io::stderr().is_terminal()
    }

    /// Colour of rendered diagnostics; the stream strips it where it is not wanted.
    #[must_use]
    pub fn color(&self) -> Color {
        Color::Always
    }

    /// Log filter: `-q` errors, `-v` debug, `-vv` trace, else `level`.
    #[must_use]
    pub fn log_level<'a>(&self, level: &'a str) -> &'a str {
        match (self.quiet, self.verbose) {
            (true, _) => "error",
            (false, 0) => level,
            (false, 1) => "debug",
            (false, _) => "trace",
        }
    }

    /// Sends logs of this process to stderr; those of the OPC UA stack only when more is wanted.
    pub fn start_logs(&self, level: &str) {
        let level = self.log_level(level);
        // The OPC UA stack calls a missing certificate an error even where none is used; what
        // people must know of the link, src/plc says itself.
        let filter = match level {
            "trace" => level.to_owned(),
            "debug" => "warn,trimloop=debug".to_owned(),
            level => format!("warn,opcua=off,trimloop={level}"),
        };
        let ansi = matches!(
            anstream::AutoStream::choice(&std::io::stderr()),
            anstream::ColorChoice::Always | anstream::ColorChoice::AlwaysAnsi
        );
        let started = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_ansi(ansi)
            .with_writer(std::io::stderr)
            .try_init();
        if started.is_err() {
            self.note("logs were started before");
        }
    }

    /// The head that every JSON object of ours begins with.
    #[must_use]
    pub fn head(&self, schema: &str, ok: bool) -> Value {
        json!({
            "schema": schema,
            "version": env!("CARGO_PKG_VERSION"),
            "generated": utc_text(self.clock.utc()),
            "ok": ok,
        })
    }

    /// The result: text for people, or one JSON object.
    pub fn result(&self, human: &str, json: &impl Serialize) {
        match self.format {
            Format::Human | Format::Csv => self.text(human),
            Format::Json => self.line(&serde_json::to_string_pretty(json)),
            Format::Jsonl => self.line(&serde_json::to_string(json)),
        }
    }

    /// One of several results: a line of text, or one JSON object a line.
    pub fn row(&self, human: &str, json: &impl Serialize) -> bool {
        match self.format {
            Format::Human | Format::Csv => try_print(&format!("{human}\n")),
            Format::Json | Format::Jsonl => match serde_json::to_string(json) {
                Ok(line) => try_print(&format!("{line}\n")),
                Err(_) => false,
            },
        }
    }

    /// Text to stdout, whatever the format: completions, schemas.
    pub fn text(&self, text: &str) {
        try_print(text);
    }

    fn line(&self, line: &serde_json::Result<String>) {
        match line {
            Ok(line) => {
                try_print(&format!("{line}\n"));
            }
            Err(error) => self.note(&format!("the result could not be written: {error}")),
        }
    }

    /// Progress for people, to stderr.
    pub fn note(&self, text: &str) {
        if !self.quiet && !self.is_json() {
            // Nobody to tell when stderr is closed.
            drop(writeln!(anstream::stderr(), "{text}"));
        }
    }

    /// What people must know though it worked, to stderr in every format.
    pub fn warn(&self, text: &str) {
        if !self.quiet {
            drop(writeln!(anstream::stderr(), "\x1b[1;33mwarning\x1b[0m: {text}"));
        }
    }

    /// Diagnostics to stderr, in every format: the JSON has them too.
    pub fn diagnostics(&self, found: &[Diagnostic]) {
        if !self.is_json() && !found.is_empty() {
            let text = diagnostic::render(found, self.color());
            drop(write!(anstream::stderr(), "{text}"));
        }
    }

    /// Prints a failure and gives its exit code.
    #[must_use]
    pub fn fail(&self, failure: &Failure) -> u8 {
        match failure {
            Failure::Coded { code, message, help, exit } => {
                if self.is_json() {
                    let mut object = self.head("trimloop.error/1", false);
                    object["error"] = json!({ "code": code, "message": message, "help": help });
                    self.result("", &object);
                } else {
                    drop(write!(anstream::stderr(), "{}", coded(code, message, help)));
                }
                *exit
            }
            Failure::Diagnostics(found, exit) => {
                self.diagnostics(found);
                if self.is_json() {
                    let mut object = self.head("trimloop.error/1", false);
                    object["diagnostics"] = found.iter().map(diagnostic_json).collect();
                    self.result("", &object);
                }
                *exit as u8
            }
        }
    }
}

fn coded(code: &str, message: &str, help: &str) -> String {
    format!("\x1b[1;31merror[{code}]\x1b[0m: {message}\nhelp: {help}\n")
}

/// A diagnostic for machines.
pub(super) fn diagnostic_json(diagnostic: &Diagnostic) -> Value {
    let (line, column) = diagnostic.position();
    json!({
        "code": diagnostic.code.code,
        "severity": diagnostic.severity.word(),
        "message": diagnostic.message,
        "file": diagnostic.source.file,
        "line": line,
        "column": column,
        "label": diagnostic.primary.text,
        "note": diagnostic.note,
        "help": diagnostic.help,
        "rendered": diagnostic.render(Color::Never),
    })
}

/// Prints to stdout; `false` when nobody reads any more.
fn try_print(text: &str) -> bool {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}
