//! The local socket by which people switch faults of a running simulator: one request a line.
//!
//! | request | answer |
//! |---|---|
//! | `list` | a line `on NAME` for each fault that is on, then `ok` |
//! | `on NAME` | `ok` |
//! | `on NAME MS` | `ok`; it ends by itself after that wall time |
//! | `off NAME` | `ok` |
//!
//! Anything else is answered `error WHY`. The socket lies in a folder of the user's own, so nobody
//! else reaches it, and it reaches nothing but this simulator.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::catalogue::Fault;
use crate::server::Switchboard;
use crate::{Error, Result};

/// Longest request \[bytes].
const REQUEST_MAX: u64 = 256;
/// A client that says nothing for so long is hung up on.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Clients served at the same time; more wait.
const CLIENTS_MAX: usize = 8;

/// Where the simulator at a TCP port listens, below a folder.
#[must_use]
pub fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!("simulator-{port}.sock"))
}

/// The served socket; dropping it ends and removes it.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Control {
    /// Serves `simulator-PORT.sock` in `folder`, which is made for the user alone when it is not
    /// there. A socket that a killed simulator left behind is replaced: the port is ours.
    pub(crate) fn start(folder: &Path, port: u16, board: Switchboard) -> Result<Self> {
        let path = socket(folder, port);
        let failed = |source| Error::Control { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let task = tokio::spawn(serve(listener, board));
        Ok(Self { path, task })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // It may have been removed already.
        std::fs::remove_file(&self.path).ok();
    }
}

async fn serve(listener: UnixListener, board: Switchboard) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = clients.join_next(), if !clients.is_empty() => {}
            accepted = listener.accept(), if clients.len() < CLIENTS_MAX => {
                if let Ok((stream, _)) = accepted {
                    clients.spawn(talk(stream, board.clone()));
                }
            }
        }
    }
}

async fn talk(mut stream: UnixStream, board: Switchboard) {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let read = timeout(IDLE_MAX, (&mut reader).take(REQUEST_MAX).read_line(&mut line)).await;
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
        let answer = answer(line.trim(), &board).await;
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(line: &str, board: &Switchboard) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let fault = |name: &str| {
        Fault::named(name).ok_or_else(|| format!("error there is no fault \"{name}\"\n"))
    };
    let done = match words.as_slice() {
        ["list"] => {
            let on: String = board.faults().iter().map(|fault| format!("on {fault}\n")).collect();
            return format!("{on}ok\n");
        }
        ["on", name] => match fault(name) {
            Ok(fault) => board.switch(fault, true, None).await,
            Err(why) => return why,
        },
        ["on", name, ms] => match (fault(name), ms.parse()) {
            (Ok(fault), Ok(ms)) => board.switch(fault, true, Some(Duration::from_millis(ms))).await,
            (Err(why), _) => return why,
            (_, Err(_)) => return format!("error not a number of milliseconds: {ms}\n"),
        },
        ["off", name] => match fault(name) {
            Ok(fault) => board.switch(fault, false, None).await,
            Err(why) => return why,
        },
        _ => return "error not understood; known are list, on NAME [MS], off NAME\n".to_owned(),
    };
    match done {
        Ok(()) => "ok\n".to_owned(),
        Err(error) => format!("error {error}\n"),
    }
}
