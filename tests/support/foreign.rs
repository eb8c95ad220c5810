//! OPC UA servers on foreign stacks, for the wire tests.
//!
//! - A *kind* is one stack: asyncua (Python) or node-opcua (JavaScript). The programs and their
//!   protocol are in `tests/foreign/`.
//! - The *environment* of a kind, its interpreter with the pinned packages, is made once under
//!   `<target dir>/foreign/`, whichever test process comes first, and again when the pins or the
//!   interpreter change.
//! - A *skip* is why a test cannot run here. It is reported past the capture of test output.
//!
//! Waiting is for events with a deadline, never for time to pass. Waits block the thread: an
//! async test needs a multi-threaded runtime or `spawn_blocking`.
//!
//! ```ignore
//! #[path = "support/foreign.rs"]
//! mod foreign;
//!
//! #[test]
//! fn reads_a_tag() {
//!     let name = "reads_a_tag";
//!     let Some(server) = or_skip(name, ForeignServer::start(Kind::Asyncua, 0)) else { return };
//!     server.ask(json!({"cmd": "add", "tags": [{"id": "T", "type": "Double"}]}));
//! }
//! ```
#![allow(dead_code, reason = "each test binary uses a part; `expect` fails in one that uses all")]
#![expect(clippy::panic, reason = "a failed expectation about a server fails its test")]

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// Set to `1`: a missing interpreter or registry fails the test instead of skipping it.
const REQUIRE: &str = "TRIMLOOP_REQUIRE_FOREIGN";
/// The folder with reference data; unset skips the tests that read it.
const REFERENCE_DATA: &str = "TRIMLOOP_REFERENCE_DATA";
/// From spawn to `ready`: 2 to 3 s measured on an idle 2-core machine.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
/// From a command to its answer; adding 1,000 tags took 0.8 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Lines of standard error kept for the message of a failed test.
const STDERR_LINES_MAX: usize = 40;

/// A stack that trimloop does not share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Python, `asyncua_server.py`.
    Asyncua,
    /// JavaScript, `node_opcua_server.mjs`.
    NodeOpcua,
}

impl Kind {
    /// Every kind, for tests that run against all.
    pub const ALL: [Self; 2] = [Self::Asyncua, Self::NodeOpcua];

    /// The name in messages and in the `ready` event.
    pub fn name(self) -> &'static str {
        match self {
            Self::Asyncua => "asyncua",
            Self::NodeOpcua => "node-opcua",
        }
    }

    /// The server's command line up to its arguments, or why it cannot run here.
    fn command(self) -> Result<Command, Skip> {
        static PYTHON: OnceLock<Result<PathBuf, Skip>> = OnceLock::new();
        static NPM: OnceLock<Result<PathBuf, Skip>> = OnceLock::new();
        match self {
            Self::Asyncua => {
                let python = PYTHON.get_or_init(python_environment).clone()?;
                let mut command = Command::new(python);
                command.arg(sources().join("asyncua_server.py"));
                Ok(command)
            }
            Self::NodeOpcua => {
                let packages = NPM.get_or_init(npm_environment).clone()?;
                let mut command = Command::new("node");
                command.arg(sources().join("node_opcua_server.mjs")).env("NODE_PATH", packages);
                Ok(command)
            }
        }
    }
}

/// Why a test cannot run here.
#[derive(Clone, Debug)]
pub enum Skip {
    /// An interpreter or a package registry is missing: fails when foreign servers are required.
    Tools(String),
    /// Reference data are missing: never a failure.
    Data(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tools(reason) | Self::Data(reason) => f.write_str(reason),
        }
    }
}

/// The value, or `None` after reporting `skipped: <test>: <reason>`: the test then returns.
///
/// # Panics
/// With `TRIMLOOP_REQUIRE_FOREIGN=1`, when it is a tool that is missing.
pub fn or_skip<T>(test: &str, result: Result<T, Skip>) -> Option<T> {
    let skip = match result {
        Ok(value) => return Some(value),
        Err(skip) => skip,
    };
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
    let fails = required && matches!(skip, Skip::Tools(_));
    assert!(!fails, "{test}: {skip} ({REQUIRE}=1)");
    // The handle itself: what `eprintln!` prints is shown for failed tests only.
    let line = format!("skipped: {test}: {skip}\n");
    io::stderr().write_all(line.as_bytes()).unwrap_or_default();
    None
}

/// The path of one file of reference data.
///
/// # Errors
/// [`Skip::Data`] when `TRIMLOOP_REFERENCE_DATA` is not set or has no such file.
pub fn reference_data(file: &str) -> Result<PathBuf, Skip> {
    let Some(folder) = std::env::var_os(REFERENCE_DATA) else {
        return Err(Skip::Data(format!("{REFERENCE_DATA} is not set")));
    };
    let path = Path::new(&folder).join(file);
    if path.is_file() {
        Ok(path)
    } else {
        Err(Skip::Data(format!("{REFERENCE_DATA} has no file {file}")))
    }
}

/// A running server, killed when dropped.
pub struct ForeignServer {
    kind: Kind,
    child: Child,
    stdin: Mutex<Option<ChildStdin>>,
    inbox: Arc<(Mutex<Inbox>, Condvar)>,
    stderr: Arc<Mutex<VecDeque<String>>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    next_ref: AtomicU64,
    scratch: PathBuf,
    ready: Value,
}

/// What a server told and no one took yet.
#[derive(Default)]
struct Inbox {
    events: VecDeque<Value>,
    /// Standard output is at its end: no event follows.
    ended: bool,
}

impl ForeignServer {
    /// Starts a server on `port`, 0 for any free one, and waits until it listens.
    ///
    /// # Errors
    /// [`Skip::Tools`] when the environment cannot be made here.
    ///
    /// # Panics
    /// When the server does not come up.
    pub fn start(kind: Kind, port: u16) -> Result<Self, Skip> {
        Self::start_with(kind, port, &[])
    }

    /// Like [`Self::start`], with more arguments, such as `["--publish-min-ms", "100"]`.
    ///
    /// # Errors
    /// [`Skip::Tools`] when the environment cannot be made here.
    ///
    /// # Panics
    /// When the server does not come up.
    pub fn start_with(kind: Kind, port: u16, arguments: &[&str]) -> Result<Self, Skip> {
        let mut command = kind.command()?;
        let scratch = new_scratch();
        command.arg("--port").arg(port.to_string()).arg("--scratch").arg(&scratch).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("cannot start {}: {error}", kind.name()),
        };
        let inbox = Arc::new((Mutex::new(Inbox::default()), Condvar::new()));
        let stderr = Arc::new(Mutex::new(VecDeque::new()));
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            let inbox = Arc::clone(&inbox);
            readers.push(thread::spawn(move || {
                read_events(BufReader::new(pipe), &inbox);
            }));
        }
        if let Some(pipe) = child.stderr.take() {
            let lines = Arc::clone(&stderr);
            readers.push(thread::spawn(move || {
                keep_last_lines(BufReader::new(pipe), &lines);
            }));
        }
        let mut server = Self {
            kind,
            stdin: Mutex::new(child.stdin.take()),
            child,
            inbox,
            stderr,
            readers: Mutex::new(readers),
            next_ref: AtomicU64::new(1),
            scratch,
            ready: Value::Null,
        };
        server.ready = server.wait_event("ready", READY_TIMEOUT);
        Ok(server)
    }

    /// The stack of this server.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The endpoint, `opc.tcp://127.0.0.1:PORT/..`.
    pub fn url(&self) -> &str {
        self.ready["url"].as_str().unwrap_or_default()
    }

    /// The TCP port, to start a successor on.
    pub fn port(&self) -> u16 {
        self.ready["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or_default()
    }

    /// The index of `urn:trimloop:foreign`; a client should ask for it by URI.
    pub fn namespace_index(&self) -> u16 {
        let index = self.ready["namespace_index"].as_u64();
        index.and_then(|index| index.try_into().ok()).unwrap_or_default()
    }

    /// The process id, for signals other than the kill.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a command and does not wait for its answer.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn send(&self, command: &Value) {
        let mut stdin = locked(&self.stdin);
        let line = format!("{command}\n");
        let sent = match stdin.as_mut() {
            Some(pipe) => pipe.write_all(line.as_bytes()).and_then(|()| pipe.flush()),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        };
        if let Err(error) = sent {
            drop(stdin);
            panic!("cannot send {command} to {}: {error}{}", self.kind.name(), self.last_words());
        }
    }

    /// Sends a command (an object) and returns its answer, the event `ok` or `values`.
    ///
    /// # Panics
    /// When the answer is an error or does not come within 20 s.
    pub fn ask(&self, mut command: Value) -> Value {
        let reference = self.next_ref.fetch_add(1, Ordering::Relaxed);
        command["ref"] = json!(reference);
        self.send(&command);
        let answer = self.wait_for(&format!("answer to {command}"), ANSWER_TIMEOUT, |event| {
            event["ref"] == reference
        });
        let failed = answer["event"] == "error";
        assert!(!failed, "{} answered {command} with {answer}", self.kind.name());
        answer
    }

    /// Takes the oldest event of this name, told already or yet to come.
    ///
    /// Other events stay for later waits.
    ///
    /// # Panics
    /// When none comes in time, the server ends, or it tells an error while this waits for
    /// something else.
    pub fn wait_event(&self, name: &str, timeout: Duration) -> Value {
        self.wait_for(&format!("event {name:?}"), timeout, |event| event["event"] == name)
    }

    /// Takes the oldest event that `wanted` accepts; `what` names it in the failure message.
    ///
    /// # Panics
    /// As [`Self::wait_event`].
    pub fn wait_for(
        &self,
        what: &str,
        timeout: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        let (inbox, changed) = &*self.inbox;
        // Where the first event is that ends the wait.
        let mut place = None;
        let mut search = |inbox: &mut Inbox| {
            let is_end = |event: &Value| wanted(event) || event["event"] == "error";
            place = inbox.events.iter().position(is_end);
            place.is_none() && !inbox.ended
        };
        let outcome = changed.wait_timeout_while(locked(inbox), timeout, &mut search);
        let (mut inbox, _) = outcome.unwrap_or_else(PoisonError::into_inner);
        let found = place.and_then(|place| inbox.events.remove(place));
        let over = inbox.ended;
        let others: Vec<String> =
            inbox.events.iter().rev().take(20).map(|event| event["event"].to_string()).collect();
        drop(inbox);
        match found {
            Some(event) if wanted(&event) => event,
            Some(error) => panic!("{} waiting for {what}: {error}", self.kind.name()),
            None => {
                let why = if over { "ended" } else { "was silent" };
                panic!(
                    "{} {why} while waiting {timeout:?} for {what}; other events: {others:?}{}",
                    self.kind.name(),
                    self.last_words(),
                );
            }
        }
    }

    /// Takes every event of this name told so far, oldest first.
    pub fn take_events(&self, name: &str) -> Vec<Value> {
        let mut inbox = locked(&self.inbox.0);
        let all = std::mem::take(&mut inbox.events);
        let (taken, kept): (VecDeque<_>, _) =
            all.into_iter().partition(|event| event["event"] == name);
        inbox.events = kept;
        taken.into()
    }

    /// Ends the server with SIGKILL and waits until it is gone: connections break, the port is
    /// free. Events told before can still be taken.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        self.child.kill().unwrap_or_default();
        self.reap();
    }

    /// Ends the server by its own means, sessions closed.
    ///
    /// # Panics
    /// When it ends with an error.
    pub fn quit(mut self) {
        self.ask(json!({"cmd": "quit"}));
        let status = self.reap();
        let clean = status.is_some_and(|status| status.success());
        assert!(clean, "{} quit with {status:?}{}", self.kind.name(), self.last_words());
    }

    /// Waits for the end of the process and of its pipes.
    fn reap(&mut self) -> Option<std::process::ExitStatus> {
        // Closing standard input ends a server that was not killed.
        locked(&self.stdin).take();
        let status = self.child.wait().ok();
        self.join_readers();
        fs::remove_dir_all(&self.scratch).unwrap_or_default();
        status
    }

    fn join_readers(&self) {
        for reader in locked(&self.readers).drain(..) {
            reader.join().unwrap_or_default();
        }
    }

    /// The end of standard error, for failure messages.
    fn last_words(&self) -> String {
        if locked(&self.inbox.0).ended {
            // All of it: the server is ending, so both pipes are.
            self.join_readers();
        }
        let lines = locked(&self.stderr);
        let text: Vec<&str> = lines.iter().map(String::as_str).collect();
        if text.is_empty() { String::new() } else { format!("; it said:\n{}", text.join("\n")) }
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A poisoned lock only means that another thread of the test failed first.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fills the inbox. It has no bound: a full one would stall the server.
fn read_events(pipe: impl BufRead, inbox: &(Mutex<Inbox>, Condvar)) {
    for line in pipe.lines().map_while(Result::ok) {
        let event = serde_json::from_str(&line)
            .unwrap_or_else(|_| json!({"event": "error", "message": "no JSON", "line": line}));
        locked(&inbox.0).events.push_back(event);
        inbox.1.notify_all();
    }
    locked(&inbox.0).ended = true;
    inbox.1.notify_all();
}

fn keep_last_lines(pipe: impl BufRead, lines: &Mutex<VecDeque<String>>) {
    for line in pipe.lines().map_while(Result::ok) {
        let mut lines = locked(lines);
        if lines.len() == STDERR_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// The folder of the server programs and their pins.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("foreign")
}

/// `<target dir>/foreign`. Cargo names only the folder `tmp` beside it.
pub fn environments() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("foreign")
}

/// A path for one server's own files; node-opcua makes the folder.
pub fn new_scratch() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    environments().join("scratch").join(format!("{}-{number}", std::process::id()))
}

/// The interpreter of a virtual environment with the packages of `requirements.txt`.
fn python_environment() -> Result<PathBuf, Skip> {
    python_with("python", "requirements.txt")
}

/// A Python with the packages of a list beside the servers, in an environment of that name.
///
/// # Errors
/// [`Skip::Tools`] when Python or its registry is missing.
pub fn python_with(name: &str, requirements: &str) -> Result<PathBuf, Skip> {
    let version = run(Command::new("python3").arg("--version"))?;
    let requirements = sources().join(requirements);
    let pins = read(&requirements)?;
    let folder = environments().join(name);
    let python = folder.join("bin").join("python");
    make_once(&folder, &format!("{version}{pins}"), || {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        pip.args(["--retries", "2", "--requirement"]).arg(&requirements);
        run(&mut pip)
    })?;
    Ok(python)
}

/// The `node_modules` with the packages of `package-lock.json`.
fn npm_environment() -> Result<PathBuf, Skip> {
    let version = run(Command::new("node").arg("--version"))?;
    let folder = environments().join("npm");
    let manifest = read(&sources().join("package.json"))?;
    let lock = read(&sources().join("package-lock.json"))?;
    make_once(&folder, &format!("{version}{manifest}{lock}"), || {
        write(&folder.join("package.json"), &manifest)?;
        write(&folder.join("package-lock.json"), &lock)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--engine-strict"]);
        npm.args(["--no-audit", "--no-fund"]);
        // Without a registry this fails after 6 s; with the usual pauses it took 70.
        npm.args(["--loglevel", "error", "--logs-max", "0"]);
        npm.args(["--fetch-retries", "2", "--fetch-retry-mintimeout", "1000"]);
        npm.args(["--fetch-retry-maxtimeout", "5000"]).current_dir(&folder);
        run(&mut npm)
    })?;
    Ok(folder.join("node_modules"))
}

/// Makes `folder` anew unless its stamp says it was made from the same `pins`.
///
/// The lock file beside it keeps other test processes out meanwhile; the system frees it when a
/// process dies. The stamp is written last and holds the pins themselves: no hash to clash.
pub fn make_once(
    folder: &Path,
    pins: &str,
    make: impl FnOnce() -> Result<String, Skip>,
) -> Result<(), Skip> {
    let failed =
        |error: io::Error| Skip::Tools(format!("cannot make {}: {error}", folder.display()));
    fs::create_dir_all(environments()).map_err(failed)?;
    let lock = File::create(folder.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let stamp = folder.join("made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == pins) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    make()?;
    fs::write(&stamp, pins).map_err(failed)
}

/// Runs a command to its end; a failure is a skip with its first and last words: npm says
/// why it failed first, pip last.
pub fn run(command: &mut Command) -> Result<String, Skip> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Skip::Tools(format!("{program} does not run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let (first, last) = (lines.next().unwrap_or_default(), lines.next_back().unwrap_or_default());
    Err(Skip::Tools(format!("{program} failed, {}: {first} / {last}", output.status)))
}

fn read(path: &Path) -> Result<String, Skip> {
    fs::read_to_string(path)
        .map_err(|error| Skip::Tools(format!("cannot read {}: {error}", path.display())))
}

fn write(path: &Path, text: &str) -> Result<(), Skip> {
    fs::write(path, text)
        .map_err(|error| Skip::Tools(format!("cannot write {}: {error}", path.display())))
}
