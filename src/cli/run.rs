//! `trimloop run`: the service.

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, builder::FalseyValueParser};
use nix::sys::signal::{SigSet, Signal};
use tracing::debug;

use trimloop_core::time::Utc;
use trimloop_recipe::Bound;

use super::{Exit, Failure, Global, Ui, load};
use crate::control::{CellPort, ControlServer, ModelWatch, Port, ServerOptions, own_user};
use crate::error::{
    AUDIT_KEY, CHAIN_BROKEN, CMMS_SETTING, START_PLC, STORE_OPEN, WORK_SETTING, chain,
};
use crate::journal::{JournalHead, JournalWriter, keep_plan};
use crate::learn::standing::Supports;
use crate::output::Names;
use crate::realtime::RealtimePriority;
use crate::seal::{SealError, SealSettings, Sealer, fingerprint};
use crate::service::{CellHandle, CellSettings};
use crate::settings::Settings;
use crate::sink::{Pace, Sink, SinkOptions};
use crate::store::{Store, StoreOptions};
use crate::work::faults::{self, Place};
use crate::work::{self, Desk, DeskOptions, LOOK, plant};

const EXAMPLES: &str = "\
Examples:
  trimloop run                                The service of this folder or machine
  trimloop run --config my-cell               Of another folder
  TRIMLOOP_LOG__LEVEL=debug trimloop run      Settings can come from the environment

Every loop starts in SHADOW: it decides and records, and writes nothing until a person raises it
with `trimloop loop auto NAME --reason TEXT`. Ctrl-C or SIGTERM ends it.";

/// How to run.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// Only start, say what would run, and end
    #[arg(long, env = "TRIMLOOP_DRY_RUN", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    dry_run: bool,
}

/// The signals that end a run, held back from every thread that is started after.
pub(super) struct Signals {
    set: SigSet,
}

impl Signals {
    /// Holds them back; call before any thread is started.
    pub(super) fn block() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Waits for one; true when it came from the keyboard.
    pub(super) fn wait(&self) -> nix::Result<bool> {
        loop {
            match self.set.wait() {
                Ok(signal) => return Ok(signal == Signal::SIGINT),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits on a thread of its own.
    pub(super) fn into_receiver(self) -> std::io::Result<tokio::sync::oneshot::Receiver<()>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            if self.wait().is_err() || sender.send(()).is_err() {
                tracing::debug!("Nobody waits for a signal any more.");
            }
        })?;
        Ok(receiver)
    }
}

/// The PLCs of a recipe with their addresses, the leading one first.
fn shown(bound: &Bound) -> String {
    let each = bound.plcs.iter().map(|plc| format!("{} ({})", plc.name, plc.url));
    each.collect::<Vec<_>>().join(", ")
}

pub(super) fn run(ui: &Ui, global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    let settings = load::settings(global)?;
    let bound = load::bound(&settings)?;
    ui.diagnostics(&bound.warnings);
    if args.dry_run {
        let text = format!(
            "would run recipe {} r{} on {}, socket {}, data {}\n",
            bound.plan.name,
            bound.plan.revision,
            shown(&bound),
            settings.socket.display(),
            settings.data.display()
        );
        let mut object = ui.head("trimloop.plan/1", true);
        object["message"] = text.trim_end().into();
        ui.result(&text, &object);
        return Ok(Exit::Ok);
    }
    // Before any thread is started, so that none of them takes the signal.
    let signals = Signals::block().map_err(|error| internal(&error))?;
    ui.start_logs(&settings.log_level);
    let store = open_store(ui, &settings, &bound)?;
    let journal = open_journal(ui, &settings, &bound, &store)?;
    // One PLC is followed by one thread: handing its messages from thread to thread costs more than
    // decoding them.
    let realtime = settings.realtime;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(bound.plcs.len().clamp(1, 2))
        .thread_name("plc")
        .on_thread_start(move || {
            // Refused here, it is refused for the scan thread too, which tells it louder.
            if let Some(Err(refused)) = realtime.map(RealtimePriority::take) {
                debug!("{refused}");
            }
        })
        .enable_all()
        .build()
        .map_err(|error| internal(&error))?;
    let sealer = start_sealer(ui, &settings, &store, journal.tips())?;
    let plcs = bound.plcs.iter().map(|plc| format!("{} at {}", plc.name, plc.url));
    let plcs = plcs.collect::<Vec<_>>().join(", ");
    if let Some(connector) = &settings.cmms {
        // What does not fit its product is told before anything runs.
        work::system(connector, ui.clock())
            .map_err(|error| Failure::new(&CMMS_SETTING, error.to_string(), Exit::Usage))?;
    }
    let supports = Arc::new(Supports::of(&settings.models, &bound));
    let site = settings.influx.as_ref().map_or_else(String::new, |influx| influx.site.clone());
    let place = Place { site, cell: settings.name.clone() };
    // The desk's time is that of the machine.
    let setup = faults::setup(&bound, &place, (Utc::from_nanos(0), 1));
    if let Some(people) = &settings.work.people {
        // Later mistakes are told in the order; the first ones before anything runs.
        plant::people(people).map_err(|why| Failure::new(&WORK_SETTING, why, Exit::Usage))?;
    }
    let setup = plant::with(setup, &settings.work);
    let cell_settings = CellSettings {
        bound,
        journal: Some(journal),
        store: Some(store.sender()),
        client_name: settings.name.clone(),
        pki_dir: settings.data.join("pki"),
        secrets_dir: settings.plc_configs.clone(),
        realtime: settings.realtime,
    };
    let cell = CellHandle::start(cell_settings, runtime.handle())
        .map_err(|error| Failure::new(&START_PLC, chain(&error), Exit::Internal))?;
    store.sender().audit(0, "service", "start", &format!("recipe {}", cell.plan().name));
    let sink = start_sink(&settings, &cell, &store)?;
    let options = DeskOptions {
        data: settings.data.clone(),
        setup,
        clock: cell.clock(),
        look: LOOK,
        connector: settings.cmms.clone(),
        notices: cell.notices(),
        plant: settings.work.clone(),
        channels: settings.notify.clone(),
        cell: settings.name.clone(),
    };
    let work = Desk::start(options).map_err(|error| internal(&error))?;
    let port = CellPort::new(cell.clone(), store.sender(), &settings.name)
        .with_sink(sink.as_ref().map(Sink::view))
        .with_models(Arc::clone(&supports))
        .with_work(Some(work.handle()));
    let port: Arc<dyn Port> = Arc::new(port);
    let options = ServerOptions {
        path: settings.socket.clone(),
        data: settings.data.clone(),
        store: store.sender(),
        owner: own_user(),
    };
    let control = ControlServer::start(options, Arc::clone(&port))
        .map_err(|error| Failure::new(&STORE_OPEN, chain(&error), Exit::Unreachable))?;
    let models = ModelWatch::start(supports, port, store.sender(), cell.notices())
        .map_err(|error| internal(&error))?;
    ui.note(&format!(
        "{} runs recipe {} r{} on {plcs}, every loop in SHADOW; Ctrl-C ends it",
        settings.name,
        cell.plan().name,
        cell.plan().revision
    ));
    let from_keyboard = signals.wait().map_err(|error| internal(&error))?;
    tracing::info!("The service was asked to end.");
    drop(control);
    drop(models);
    cell.stop();
    drop(work);
    if let Some(sink) = sink {
        sink.stop();
    }
    if store.sender().audit_committed(0, "service", "stop", "signal").is_err() {
        tracing::error!("The stop could not be written to the audit trail.");
    }
    // Signs everything up to the stop; then the store commits what waits.
    drop(sealer);
    drop(store);
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(if from_keyboard { Exit::Interrupted } else { Exit::Ok })
}

/// The sink of `[influx]`, if there is that table.
fn start_sink(
    settings: &Settings,
    cell: &CellHandle,
    store: &Store,
) -> Result<Option<Sink>, Failure> {
    let Some(influx) = &settings.influx else { return Ok(None) };
    let options = SinkOptions {
        settings: influx.clone(),
        data: settings.data.clone(),
        store: store.sender(),
        notices: cell.notices(),
        clock: cell.clock(),
        pace: Pace::default(),
    };
    Sink::start(options).map(Some).map_err(|error| internal(&error))
}

fn internal(error: &dyn std::error::Error) -> Failure {
    Failure::new(&START_PLC, chain(error), Exit::Internal)
}

fn open_store(ui: &Ui, settings: &Settings, bound: &Bound) -> Result<Store, Failure> {
    let options = StoreOptions {
        dir: settings.data.clone(),
        names: Names::of(&bound.plan),
        clock: ui.clock(),
        node: settings.name.clone(),
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
    };
    let store = Store::open_within(&options, settings.history)
        .map_err(|error| Failure::new(&STORE_OPEN, chain(&error), Exit::Unreachable))?;
    for notice in store.notices() {
        store.sender().audit(0, "service", "history set aside", notice);
    }
    Ok(store)
}

fn start_sealer(
    ui: &Ui,
    settings: &Settings,
    store: &Store,
    journal: crate::journal::Tips,
) -> Result<Sealer, Failure> {
    let sealer = Sealer::start(SealSettings {
        data: settings.data.clone(),
        store: store.sender(),
        journal,
        clock: ui.clock(),
    });
    let sealer = sealer.map_err(|error| {
        let code = match error {
            SealError::Damaged { .. } => &CHAIN_BROKEN,
            _ => &AUDIT_KEY,
        };
        Failure::new(code, chain(&error), Exit::Unreachable)
    })?;
    if sealer.is_new_key() {
        let print = fingerprint(sealer.key());
        store.sender().audit(0, "service", "audit key made", &print);
        ui.note(&format!(
            "a key was made that signs the records, {print}; keep `trimloop audit key` elsewhere"
        ));
    }
    if let Some(lost) = sealer.lost() {
        store.sender().audit(0, "service", "records missing at start", lost);
        ui.warn(&format!(
            "{lost}: somebody removed records, or restored older ones; `trimloop audit verify \
             --copy` with a copy of heads.log kept elsewhere tells more"
        ));
    }
    Ok(sealer)
}

fn open_journal(
    ui: &Ui,
    settings: &Settings,
    bound: &Bound,
    store: &Store,
) -> Result<JournalWriter, Failure> {
    let head = JournalHead {
        recipe: bound.plan.name.clone(),
        revision: bound.plan.revision,
        plan_hash: bound.plan.hash,
        node: settings.name.clone(),
        boot: store.boot(),
        utc: ui.clock().utc(),
    };
    let folder = settings.data.join("journal");
    let journal = JournalWriter::open(&folder, &head)
        .map_err(|error| Failure::new(&STORE_OPEN, chain(&error), Exit::Unreachable))?;
    keep_plan(&folder, bound)
        .map_err(|error| Failure::new(&STORE_OPEN, chain(&error), Exit::Unreachable))?;
    if let Some(aside) = journal.set_aside() {
        store.sender().audit(0, "service", "journal tail set aside", &aside.to_string());
    }
    Ok(journal)
}
