//! The service's side of the control socket.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};

use trimloop_core::mode::Mode;
use trimloop_core::plan::LoopId;
use trimloop_core::scan::Command;
use trimloop_core::time::Utc;
use trimloop_core::unit::Ticks;
use trimloop_recipe::codes::Code;

use super::message::{Answer, LoopAction, Request};
use crate::error::{
    MODEL_BARS, NO_AUDIT, NO_BACKFILL, NO_SERVICE, NO_SUCH_LOOP, NOT_PERMITTED, ORDER_REFUSED,
    REQUEST, SELECTION, WORK_REFUSED, chain,
};
use crate::learn::standing::Bar;
use crate::output::dto::{EventLine, LoopAnswer, LoopStatus, Status};
use crate::output::utc_text;
use crate::store::StoreSender;
use crate::work::DeskHandle;
use crate::work::message::WorkAsk;

/// File in the data folder that names the socket's place.
pub(super) const POINTER: &str = "control.path";
/// Clients served at the same time; more are turned away.
const CLIENTS_MAX: usize = 16;
/// Longest request.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// A client that says nothing for so long is hung up on.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is hung up on.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// How long an order may wait for the scan that takes it.
pub(super) const ORDER_WAIT: Duration = Duration::from_secs(5);

/// How often, and after which pause, a snapshot is looked at for what an order did.
const SETTLE_LOOKS: u32 = 20;
/// See [`SETTLE_LOOKS`].
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderOutcome {
    /// Carried out.
    Done,
    /// Refused, for this reason.
    Refused(String),
    /// No scan took it in time; it has expired.
    Expired,
}

/// What the socket needs of the running cell.
pub trait Port: Send + Sync + 'static {
    /// A snapshot.
    fn status(&self) -> Status;
    /// Queues a command; the number is its order.
    ///
    /// # Errors
    /// Why it was not queued.
    fn order(&self, command: Command) -> Result<u64, String>;
    /// Waits for what becomes of an order.
    fn wait(&self, order: u64, longest: Duration) -> OrderOutcome;
    /// What bars a loop from going above SHADOW now; `None` when nothing outside the cell does.
    fn bar(&self, of: LoopId) -> Option<Bar>;
    /// Has a span of time read from the history of a PLC, or of all; the names of those.
    ///
    /// # Errors
    /// Why nothing will be read.
    fn backfill(&self, plc: Option<&str>, from: Utc, to: Utc) -> Result<Vec<String>, String>;
    /// The work desk of the cell; `None` where none runs.
    fn work(&self) -> Option<DeskHandle> {
        None
    }
    /// Hands out events as they happen, and `None` at least every second, until `each` says stop
    /// or the service ends.
    fn watch(&self, each: &mut dyn FnMut(Option<EventLine>) -> bool);
}

/// How the socket is served.
#[derive(Debug)]
pub struct ServerOptions {
    /// Where.
    pub path: PathBuf,
    /// The service's data folder: its identity for clients. The socket's place is written there,
    /// so that a client with another environment finds it.
    pub data: PathBuf,
    /// For the audit; without it no order is taken.
    pub store: StoreSender,
    /// Who may raise authority: the user who runs the service.
    pub owner: Uid,
}

/// Why the socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another service does.
    #[error("another service listens on {}", .path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// The socket could not be made.
    #[error("cannot make the control socket {}", .path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// The served socket; dropping it stops and removes it.
#[derive(Debug)]
pub struct ControlServer {
    path: PathBuf,
    pointer: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    port: Arc<dyn Port>,
    store: StoreSender,
    owner: Uid,
    data: PathBuf,
    stop: Arc<AtomicBool>,
    clients: AtomicUsize,
}

impl ControlServer {
    /// Makes the socket and serves it. A socket that a killed service left behind is replaced.
    ///
    /// # Errors
    /// [`ServerError`] when another service listens there or the socket cannot be made.
    pub fn start(options: ServerOptions, port: Arc<dyn Port>) -> Result<Self, ServerError> {
        let path = options.path;
        let failed = |source| ServerError::Bind { path: path.clone(), source };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        if UnixStream::connect(&path).is_ok() {
            return Err(ServerError::InUse { path });
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let mode = std::fs::Permissions::from_mode(0o660);
        std::fs::set_permissions(&path, mode).map_err(failed)?;
        let data = options.data.canonicalize().map_err(failed)?;
        let place = path.canonicalize().map_err(failed)?;
        let pointer = data.join(POINTER);
        std::fs::write(&pointer, place.as_os_str().as_bytes()).map_err(failed)?;
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            port,
            store: options.store,
            owner: options.owner,
            data,
            stop: Arc::clone(&stop),
            clients: AtomicUsize::new(0),
        });
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || accept(&listener, &shared))
            .map_err(failed)?;
        Ok(Self { path, pointer, stop, thread: Some(thread) })
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept call.
        drop(UnixStream::connect(&self.path));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("The control socket's thread ended by itself.");
        }
        for file in [&self.path, &self.pointer] {
            if let Err(error) = std::fs::remove_file(file) {
                tracing::warn!(%error, file = %file.display(), "A file could not be removed.");
            }
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
            shared.clients.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let of_client = Arc::clone(shared);
        let spawned =
            std::thread::Builder::new().name("control-client".to_owned()).spawn(move || {
                if let Err(error) = serve(stream, &of_client) {
                    tracing::debug!(%error, "A control client hung up.");
                }
                of_client.clients.fetch_sub(1, Ordering::AcqRel);
            });
        if let Err(error) = spawned {
            shared.clients.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!(%error, "A control client could not be served.");
        }
    }
}

fn serve(stream: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let peer = getsockopt(&stream, PeerCredentials)?;
    let uid = Uid::from_raw(peer.uid());
    stream.set_read_timeout(Some(IDLE_MAX))?;
    stream.set_write_timeout(Some(WRITE_MAX))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if (&mut reader).take(REQUEST_BYTES_MAX).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let request = match serde_json::from_str::<Request>(&line) {
            Ok(request) => request,
            Err(error) => {
                send(&mut writer, &failed(&REQUEST, format!("not understood: {error}"), 2))?;
                return Ok(());
            }
        };
        if request == Request::Events {
            return follow(&mut writer, shared);
        }
        if let Request::Hello { data } = &request
            && *data != shared.data
        {
            let error = format!(
                "the service here is that of {}, not of {}",
                shared.data.display(),
                data.display()
            );
            return send(&mut writer, &failed(&NO_SERVICE, error, 4));
        }
        if request == Request::Status {
            // Thousands of tags: written as it is told, and not put together as one tree before.
            send_done(&mut writer, &shared.port.status())?;
        } else {
            send(&mut writer, &answer(shared, uid, request))?;
        }
    }
}

fn send(writer: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    writer.write_all(&line)
}

/// [`Answer::Done`] with `result`, without a copy of it.
fn send_done<T: serde::Serialize>(writer: &mut impl Write, result: &T) -> std::io::Result<()> {
    #[derive(serde::Serialize)]
    struct Done<'a, T> {
        result: &'a T,
    }
    let mut buffered = BufWriter::new(writer);
    serde_json::to_writer(&mut buffered, &Done { result })?;
    buffered.write_all(b"\n")?;
    buffered.flush()
}

fn follow(writer: &mut UnixStream, shared: &Shared) -> std::io::Result<()> {
    let mut result = Ok(());
    shared.port.watch(&mut |event| {
        result = match event {
            // An empty line finds out whether the client is still there.
            None => writer.write_all(b"\n"),
            Some(event) => send_done(writer, &event),
        };
        result.is_ok() && !shared.stop.load(Ordering::Acquire)
    });
    result
}

/// What to do about a refused order.
fn refusal_help(why: &str, name: &str) -> String {
    match why {
        "tripped" => format!("find the cause, then: trimloop loop reset {name} --reason \"…\""),
        "above_recipe" => "the recipe's `mode` of this loop is the highest it may have".to_owned(),
        "held" => "it takes a live PLC link and a readable setpoint; `trimloop status` says what \
                   is missing"
            .to_owned(),
        "not_latched" => "there is no latched trip to reset; see `trimloop status`".to_owned(),
        _ => "`trimloop status` shows the proposal that is open now, if there is one".to_owned(),
    }
}

fn failed(code: &'static Code, error: String, exit: u8) -> Answer {
    let help = code.right.replace("\n        ", " ");
    Answer::Failed { code: code.code.to_owned(), error, help, exit }
}

fn done<T: serde::Serialize>(result: &T) -> Answer {
    match serde_json::to_value(result) {
        Ok(result) => Answer::Done { result },
        Err(error) => failed(&REQUEST, format!("the answer could not be written: {error}"), 70),
    }
}

fn answer(shared: &Shared, uid: Uid, request: Request) -> Answer {
    match request {
        Request::Hello { .. } => Answer::Done { result: serde_json::Value::Null },
        // Served by `serve` and `follow`.
        Request::Status | Request::Events => {
            failed(&REQUEST, "it must be a request of its own".into(), 2)
        }
        Request::Backfill { plc, from, to } => backfill(shared, uid, plc.as_deref(), (from, to)),
        Request::Work { ask, reason } => work(shared, uid, &ask, &reason),
        Request::Note { what, reason } => note(shared, uid, &what, &reason),
        Request::Loop { loop_name, action, reason, proposal, dry_run } => {
            let order = LoopOrder { loop_name, action, reason, proposal, dry_run };
            match give(shared, uid, &order) {
                Ok(answer) => done(&answer),
                Err(answer) => *answer,
            }
        }
    }
}

/// Notes a gap. It moves nothing in the PLC, so whoever reaches the socket may; it is audited.
fn backfill(shared: &Shared, uid: Uid, plc: Option<&str>, (from, to): (i64, i64)) -> Answer {
    let (from, to) = (Utc::from_nanos(from), Utc::from_nanos(to));
    if to <= from {
        return failed(&SELECTION, "the end is not after the begin".into(), 2);
    }
    let plcs = match shared.port.backfill(plc, from, to) {
        Ok(plcs) => plcs.join(", "),
        Err(error) => return failed(&NO_BACKFILL, error, 1),
    };
    let (from, to) = (utc_text(from), utc_text(to));
    let message = format!(
        "{from} to {to} will be read from the history of {plcs}; `trimloop status` shows it, and an \
         event says what came of it"
    );
    shared.store.audit(0, &actor(uid), "backfill", &format!("{plcs}: {from} to {to}"));
    done(&serde_json::json!({
        "schema": "trimloop.backfill/1",
        "version": env!("CARGO_PKG_VERSION"),
        "ok": true,
        "plcs": plcs,
        "from": from,
        "to": to,
        "message": message,
    }))
}

/// Longest text of a note [bytes].
const NOTE_MAX: usize = 1024;

/// Keeps what somebody did beside the service; it changes nothing here.
fn note(shared: &Shared, uid: Uid, what: &str, reason: &str) -> Answer {
    if what.is_empty() || what.len() > NOTE_MAX || reason.len() > NOTE_MAX {
        return failed(&REQUEST, format!("a note has 1 to {NOTE_MAX} bytes"), 2);
    }
    match shared.store.audit_committed(0, &actor(uid), what, reason) {
        Ok(_) => Answer::Done { result: serde_json::Value::Null },
        Err(error) => failed(&NO_AUDIT, chain(&error), 4),
    }
}

/// Asks the work desk. It moves nothing in the PLC, so whoever reaches the socket may; it is audited
/// before it is done, and after.
fn work(shared: &Shared, uid: Uid, ask: &WorkAsk, reason: &str) -> Answer {
    if reason.trim().is_empty() || reason.len() > NOTE_MAX {
        return failed(&REQUEST, format!("it needs a reason, at most {NOTE_MAX} bytes"), 2);
    }
    let Some(desk) = shared.port.work() else {
        return failed(&WORK_REFUSED, "this service has no work desk".into(), 4);
    };
    let checked = match ask.checked(desk.names()) {
        Ok(checked) => checked,
        Err(error) => return failed(&WORK_REFUSED, error, 2),
    };
    let (who, said) = (actor(uid), ask.said());
    if let Err(error) = shared.store.audit_committed(0, &who, &said, reason) {
        return failed(&NO_AUDIT, chain(&error), 4);
    }
    let became = desk.ask(checked, &who);
    let (Ok(text) | Err(text)) = &became;
    shared.store.audit(0, &who, &format!("{said}: {text}"), reason);
    match became {
        Err(error) => failed(&WORK_REFUSED, format!("{said}: {error}"), 1),
        Ok(text) => done(&serde_json::json!({
            "schema": "trimloop.work-ask/1",
            "version": env!("CARGO_PKG_VERSION"),
            "ok": true,
            "asked": said,
            "message": format!("{said}: {text}"),
        })),
    }
}

struct LoopOrder {
    loop_name: String,
    action: LoopAction,
    reason: String,
    proposal: Option<u64>,
    dry_run: bool,
}

fn give(shared: &Shared, uid: Uid, order: &LoopOrder) -> Result<LoopAnswer, Box<Answer>> {
    let fail = |code, error: String, exit| Box::new(failed(code, error, exit));
    if order.reason.trim().is_empty() {
        return Err(fail(&REQUEST, "an order needs a reason".into(), 2));
    }
    let status = shared.port.status();
    let name = &order.loop_name;
    let found = status.loops.iter().enumerate().find(|(_, l)| l.name == *name);
    let Some((index, of_loop)) = found else {
        let names: Vec<&str> = status.loops.iter().map(|l| l.name.as_str()).collect();
        let error = format!("there is no loop \"{name}\"; there are: {}", names.join(", "));
        return Err(fail(&NO_SUCH_LOOP, error, 2));
    };
    let who = actor(uid);
    if order.action.raises_authority() && uid != shared.owner {
        let error = format!(
            "{who} may not raise {name} to {}; that takes {}",
            order.action.word().to_uppercase(),
            actor(shared.owner)
        );
        tracing::warn!(actor = %who, loop_name = %name, "An order was not permitted.");
        shared.store.audit(0, &who, &format!("not permitted: {}", said(order)), &order.reason);
        return Err(fail(&NOT_PERMITTED, error, 5));
    }
    let id = LoopId(u16::try_from(index).unwrap_or(u16::MAX));
    barred(shared, id, &who, order)?;
    let command = command(id, order, of_loop).map_err(|error| fail(&ORDER_REFUSED, error, 1))?;
    let mut answer = LoopAnswer {
        schema: "trimloop.loop/1".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        generated: status.generated.clone(),
        ok: true,
        loop_name: name.clone(),
        action: order.action.word().into(),
        before: of_loop.mode.clone(),
        after: of_loop.mode.clone(),
        ..LoopAnswer::default()
    };
    if order.dry_run {
        answer.schema = "trimloop.plan/1".into();
        answer.message = format!("would queue: {} for {name}; nothing was ordered", said(order));
        return Ok(answer);
    }
    // On disk before it is queued: no audit, no order. But what takes authority away is carried
    // out even when the disk is full.
    let audited = shared.store.audit_committed(0, &who, &said(order), &order.reason);
    if let Err(error) = audited {
        if order.action.gives_authority() {
            return Err(fail(&NO_AUDIT, chain(&error), 4));
        }
        tracing::error!(actor = %who, order = %said(order), reason = %order.reason,
            "An order could not be audited; it is carried out, because it only takes authority away.");
    }
    let number = shared.port.order(command).map_err(|error| fail(&ORDER_REFUSED, error, 4))?;
    let outcome = shared.port.wait(number, ORDER_WAIT);
    let became = became(&outcome);
    shared.store.audit(number, &who, &format!("{}: {became}", said(order)), &order.reason);
    if outcome != OrderOutcome::Done {
        let error = format!("{}: {became}", said(order));
        let mut answer = fail(&ORDER_REFUSED, error, 1);
        if let (Answer::Failed { help, .. }, OrderOutcome::Refused(why)) =
            (answer.as_mut(), &outcome)
        {
            *help = refusal_help(why, name);
        }
        return Err(answer);
    }
    let after = settled(shared, name, order.action);
    if let Some(of_loop) = after.loops.iter().find(|l| l.name == *name) {
        answer.after.clone_from(&of_loop.mode);
    }
    answer.generated = after.generated;
    answer.order = number;
    answer.message = message(&status.cell, name, &answer, order.action, of_loop);
    Ok(answer)
}

/// An order that would have a loop act, though a model that it rests on is not in force.
fn barred(shared: &Shared, id: LoopId, who: &str, order: &LoopOrder) -> Result<(), Box<Answer>> {
    let acts = order.action.raises_authority() || order.action == LoopAction::Approve;
    let Some(bar) = acts.then(|| shared.port.bar(id)).flatten() else { return Ok(()) };
    shared.store.audit(0, who, &format!("{}: refused: {}", said(order), bar.why), &order.reason);
    Err(Box::new(Answer::Failed {
        code: MODEL_BARS.code.to_owned(),
        error: format!("{} stays in SHADOW: {}", order.loop_name, bar.why),
        help: bar.way,
        exit: 1,
    }))
}

/// What became of an order, for the audit trail.
pub(super) fn became(outcome: &OrderOutcome) -> String {
    match outcome {
        OrderOutcome::Done => "done".to_owned(),
        OrderOutcome::Refused(why) => format!("refused: {}", why.replace('_', " ")),
        OrderOutcome::Expired => "expired: no scan took it".to_owned(),
    }
}

/// The status that shows what an order did: snapshots are put up every 50 ms only.
fn settled(shared: &Shared, name: &str, action: LoopAction) -> Status {
    let wanted = match action {
        LoopAction::Manual | LoopAction::Hold | LoopAction::Shadow | LoopAction::Reset => "shadow",
        LoopAction::Advisory => "advisory",
        LoopAction::Auto => "auto",
        LoopAction::Off => "off",
        LoopAction::Approve | LoopAction::Deny => return shared.port.status(),
    };
    for _look in 0..SETTLE_LOOKS {
        let status = shared.port.status();
        if status.loops.iter().any(|l| l.name == name && l.asked == wanted) {
            return status;
        }
        std::thread::park_timeout(SETTLE_PAUSE);
    }
    shared.port.status()
}

fn message(
    cell: &str,
    name: &str,
    answer: &LoopAnswer,
    action: LoopAction,
    of_loop: &LoopStatus,
) -> String {
    let (before, after) = (answer.before.to_uppercase(), answer.after.to_uppercase());
    let decimals = usize::from(of_loop.decimals);
    let stays = of_loop.read_back.map_or(String::new(), |x| {
        format!(", last setpoint {x:.decimals$} {} stays", of_loop.unit)
    });
    let text = match action {
        LoopAction::Approve | LoopAction::Deny => format!("proposal {}", action.word()),
        LoopAction::Manual => format!("{before} -> MANUAL{stays}"),
        LoopAction::Auto if after != "AUTO" => format!("asked for AUTO, in force {after}"),
        LoopAction::Advisory if after != "ADVISORY" => {
            format!("asked for ADVISORY, in force {after}")
        }
        _ => format!("{before} -> {after}"),
    };
    format!("{cell} {name}: {text}. order #{}", answer.order)
}

fn said(order: &LoopOrder) -> String {
    let proposal = order.proposal.map_or(String::new(), |id| format!(" proposal {id}"));
    format!("loop {} {}{proposal}", order.action.word(), order.loop_name)
}

fn command(id: LoopId, order: &LoopOrder, of_loop: &LoopStatus) -> Result<Command, String> {
    let proposal = || {
        let open = of_loop.proposal.as_ref().ok_or("no proposal waits for a decision")?;
        if order.proposal.is_some_and(|asked| asked != open.id) {
            return Err(format!("proposal {} is the open one", open.id));
        }
        Ok(open)
    };
    Ok(match order.action {
        LoopAction::Manual => Command::TakeManual(id),
        LoopAction::Hold | LoopAction::Shadow => Command::SetMode(id, Mode::Shadow),
        LoopAction::Advisory => Command::SetMode(id, Mode::Advisory),
        LoopAction::Auto => Command::SetMode(id, Mode::Auto),
        LoopAction::Off => Command::SetMode(id, Mode::Off),
        LoopAction::Reset => Command::Reset(id),
        LoopAction::Deny => Command::Deny { proposal: proposal()?.id },
        LoopAction::Approve => {
            let open = proposal()?;
            Command::Approve { proposal: open.id, expected: Ticks::new(open.from_ticks) }
        }
    })
}

/// `uid:1000 (anna)`.
/// A user as the audit trail names him: `uid:1000 (anna)`.
#[must_use]
pub fn actor(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("uid:{uid} ({})", user.name),
        _ => format!("uid:{uid}"),
    }
}

/// The user who runs this process.
#[must_use]
pub fn own_user() -> Uid {
    Uid::effective()
}

/// Whether something listens on `path`.
#[must_use]
pub fn listens(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
