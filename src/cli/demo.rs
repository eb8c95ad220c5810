//! `trimloop demo`: the simulated cell with and without correction, over real OPC UA.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use trimloop_core::event::What;
use trimloop_core::guard::Cut;
use trimloop_core::ledger::Fate;
use trimloop_core::record::{LedgerRow, Outcome, Record};
use trimloop_simulator::Report;

use super::{Exit, Failure, Ui};
use crate::demo::{self, DemoReport, DemoSettings, Progress};
use crate::dispatch::Seen;
use crate::error::{SIMULATOR, chain};
use crate::output::{Names, event_text};

const EXAMPLES: &str = "\
Examples:
  trimloop demo
  trimloop demo --headless --parts 3000 --seed 7 --format json
  trimloop demo --headless --scenario wear --seed 3";

/// One write in so many is shown.
const SHOW_EVERY: u64 = 20;

/// What to show.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DemoArgs {
    /// No live view: only the result
    #[arg(long, env = "TRIMLOOP_HEADLESS", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    pub headless: bool,
    /// Parts per arm
    #[arg(long, env = "TRIMLOOP_PARTS", hide_env = true, default_value_t = 3000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub parts: u64,
    /// Seed of all disturbances
    #[arg(long, env = "TRIMLOOP_SEED", hide_env = true, default_value_t = 7, value_name = "N")]
    pub seed: u64,
    /// Scenario to play
    #[arg(
        long,
        env = "TRIMLOOP_SCENARIO",
        hide_env = true,
        default_value = "nominal",
        value_name = "NAME"
    )]
    pub scenario: String,
    /// Wall time of one part [ms]
    #[arg(long, env = "TRIMLOOP_PACE", hide_env = true, default_value_t = 25, value_name = "MS", value_parser = clap::value_parser!(u64).range(5..=60_000))]
    pub pace: u64,
    /// Keep journal and history in this folder [default: a temporary one, removed at the end]
    #[arg(long, env = "TRIMLOOP_DATA", hide_env = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Runs both arms.
pub(super) fn run(ui: &Ui, args: &DemoArgs) -> Result<Exit, Failure> {
    let failed =
        |error: &dyn std::error::Error| Failure::new(&SIMULATOR, chain(error), Exit::Internal);
    ui.start_logs("warn");
    let folder = Folder::make(args.data.clone()).map_err(|error| failed(&error))?;
    let settings = DemoSettings {
        scenario: super::simulate::scenario(&args.scenario)?,
        seed: args.seed,
        parts: args.parts,
        pace: Duration::from_millis(args.pace),
        data: folder.path.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| failed(&error))?;
    let mut view = View::new(ui, args);
    let report =
        demo::play(&settings, &runtime, |news| view.tell(&news)).map_err(|error| failed(&error))?;
    view.end();
    let mut object = ui.head("trimloop.demo/1", true);
    let body = serde_json::to_value(&report).map_err(|error| failed(&error))?;
    if let (Some(object), Some(body)) = (object.as_object_mut(), body.as_object()) {
        object.extend(body.clone());
    }
    ui.result(&summary(&report), &object);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(Exit::Ok)
}

/// The run's folder; a temporary one goes when the demo ends.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn make(asked: Option<PathBuf>) -> std::io::Result<Self> {
        let temporary = asked.is_none();
        let path = asked.unwrap_or_else(|| {
            std::env::temp_dir().join(format!("trimloop-demo-{}", std::process::id()))
        });
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, temporary })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, folder = %self.path.display(), "The demo's folder stays.");
        }
    }
}

/// What people see while it runs.
struct View<'a> {
    ui: &'a Ui,
    live: bool,
    bar: Option<ProgressBar>,
    /// Writes confirmed.
    shown: u64,
    next_line: u64,
    /// Contributions of the newest part.
    because: Vec<String>,
    /// Write that waits for its read-back, and its reasons.
    pending: Option<(u64, String)>,
}

impl<'a> View<'a> {
    fn new(ui: &'a Ui, args: &DemoArgs) -> Self {
        let bar = ui.has_bars().then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} parts  {msg}");
            let bar = ProgressBar::new(args.parts);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self {
            ui,
            live: !args.headless && !ui.is_json(),
            bar,
            shown: 0,
            next_line: 500,
            because: Vec::new(),
            pending: None,
        }
    }

    fn tell(&mut self, news: &Progress<'_>) {
        match news {
            Progress::Started { urls, names } => self.started(urls, names),
            Progress::Seen(seen, names) if self.live => self.seen(seen, names),
            Progress::Seen(..) => {}
            Progress::Work(sentence) if self.live => self.line(sentence),
            Progress::Work(_) => {}
            Progress::Parts { off, on } => self.parts(off, on),
        }
    }

    fn started(&mut self, urls: &[String; 2], names: &Names) {
        if !self.live {
            return;
        }
        let loops: Vec<&str> = names.loops.iter().map(|l| l.name.as_str()).collect();
        self.line(&format!(
            " ok press without correction  {}  loops in SHADOW\n \
             ok press with correction     {}  loops {} in AUTO\n\
             Both see the same lots, weather and wear. Simulated; trimloop is not a safety system.\n",
            urls[0],
            urls[1],
            loops.join(" and ")
        ));
    }

    /// Events, and every so many writes with their reasons, so that a person can follow.
    fn seen(&mut self, seen: &Seen, names: &Names) {
        match seen {
            Seen::Event(_, event) => {
                // A monitor goes over its limit about once in a hundred parts: not worth a line.
                let small = matches!(
                    event.what,
                    What::TagQuality(..)
                        | What::OrderDone(_)
                        | What::Alarm(..)
                        | What::Domain(..)
                        | What::Interlock(_, true)
                        | What::Binding(_, true)
                );
                if !small {
                    let sentence = event_text(&event.what, names).sentence;
                    self.line(&format!("part {:>5}  {sentence}", event.part));
                }
            }
            Seen::Record(_, record) => self.record(record, names),
            Seen::Ask(..) => {}
        }
    }

    fn record(&mut self, record: &Record, names: &Names) {
        match record {
            Record::Part(_) => self.because.clear(),
            Record::Contribution(row) => {
                let feature = names.features.get(usize::from(row.feature.0));
                let feature = feature.map_or("?", |f| f.name.as_str());
                self.because.push(format!("{feature} {:+.1} sd", row.z));
            }
            Record::Decision(row) => {
                if let Outcome::Write(write) = row.outcome {
                    let cut = if row.cut == Cut::Nothing {
                        String::new()
                    } else {
                        format!(", cut by {}", row.cut.word())
                    };
                    let because = std::mem::take(&mut self.because).join(", ");
                    self.pending = Some((write, format!("{because}{cut}")));
                }
            }
            Record::Ledger(row) if row.fate == Fate::Confirmed => self.confirmed(row, names),
            _ => {}
        }
    }

    fn confirmed(&mut self, row: &LedgerRow, names: &Names) {
        self.shown += 1;
        let Some((write, because)) = self.pending.take() else { return };
        let Some(confirmed) = row.confirmed.filter(|_| write == row.write) else { return };
        if self.shown % SHOW_EVERY != 1 {
            return;
        }
        let setpoint = row.setpoint.index();
        self.line(&format!(
            "             because {because}: {} wants {:.1}, wrote {}, read back in {:.1} ms",
            names.setpoint_name(setpoint),
            row.desired,
            names.setpoint_text(setpoint, row.sent),
            (confirmed - row.issued).as_secs_f64() * 1e3,
        ));
    }

    fn parts(&mut self, off: &Report, on: &Report) {
        let rates = format!(
            "scrap {:.2} % off, {:.2} % on",
            100.0 * off.verdict.scrap_rate(),
            100.0 * on.verdict.scrap_rate()
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(on.verdict.parts);
                bar.set_message(rates);
            }
            // Without a terminal, a line now and then.
            None if self.live && on.verdict.parts >= self.next_line => {
                self.next_line += 500;
                self.line(&format!("part {:>5}  {rates}", on.verdict.parts));
            }
            None => {}
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => self.ui.note(text),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn summary(report: &DemoReport) -> String {
    let (off, on) = (&report.loop_off, &report.loop_on);
    let percent = |rate: f64| 100.0 * rate;
    let causes = |arm: &demo::Arm| {
        let list: Vec<String> = arm.scrap.iter().map(|(c, n)| format!("{n} {c}")).collect();
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    };
    let mut text = format!(
        "\nScenario {}, seed {}, {} parts each (simulated)\n  \
         loop off   scrap {:5.2} %   {}\n  \
         loop on    scrap {:5.2} %   {}\n  \
         floor      scrap {:5.2} %   perfect knowledge of each next part\n  \
         writes     {}, {} violations by the press's own judge\n  \
         latency    change to verified write p50 {:.1} ms, p99 {:.1} ms\n",
        report.scenario,
        report.seed,
        on.arm.parts,
        percent(off.scrap_rate),
        causes(off),
        percent(on.arm.scrap_rate),
        causes(&on.arm),
        percent(report.scrap_floor),
        on.writes,
        report.violations.total(),
        report.latency_ms.p50,
        report.latency_ms.p99,
    );
    for order in &report.orders {
        let done = order.done_at.map_or(String::new(), |part| format!(", new ring at {part}"));
        let closed = order.closed.as_deref().unwrap_or("open");
        text.push_str(&format!(
            "  work       {} {} at part {}{done}, {closed}\n",
            order.key, order.title, order.ordered_at
        ));
    }
    for end in &report.loops {
        let trip = end.trip.map_or(String::new(), |reason| format!(", tripped: {reason}"));
        text.push_str(&format!("  loop {:<9} {}, rung {}{trip}\n", end.name, end.mode, end.rung));
    }
    text
}
