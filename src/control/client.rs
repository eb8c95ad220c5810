//! Asking the running service.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::{Answer, Request};
use super::server::POINTER;

/// Longest wait for an answer; an order waits up to 5 s for its scan.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing listens.
    #[error("no service answers on {}", .path.display())]
    Connect {
        /// Socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The service of another folder listens there.
    #[error("{0}")]
    Other(String),
    /// The line broke.
    #[error("the service on {} did not answer", .path.display())]
    Talk {
        /// Socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The answer was no answer.
    #[error("the service on {} answered something else (another version?)", .path.display())]
    Answer {
        /// Socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// An open line to the service.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Opens a line to the service whose data folder is `data`: where that folder says it
    /// listens, else on `socket`.
    ///
    /// # Errors
    /// [`ControlError::Connect`] when no service listens there, [`ControlError::Other`] when it is
    /// the service of another folder.
    pub fn of_service(data: &Path, socket: &Path) -> Result<Self, ControlError> {
        let told = std::fs::read(data.join(POINTER)).map(|bytes| OsString::from_vec(bytes).into());
        let told: Option<PathBuf> = told.ok();
        let mut client = Self::connect(told.as_deref().unwrap_or(socket))?;
        let source = |source| ControlError::Connect { path: socket.to_owned(), source };
        let data = data.canonicalize().map_err(source)?;
        match client.ask(&Request::Hello { data })? {
            Answer::Done { .. } => Ok(client),
            Answer::Failed { error, .. } => Err(ControlError::Other(error)),
        }
    }

    /// Opens a line to whoever listens on a socket.
    ///
    /// # Errors
    /// [`ControlError::Connect`] when no service listens there.
    pub fn connect(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Connect { path: path.to_owned(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream) })
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`ControlError`] when the line broke or the answer cannot be read.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ControlError> {
        self.send(request)?;
        self.next_line()?.ok_or_else(|| ControlError::Talk {
            path: self.path.clone(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        })
    }

    /// Asks for a stream and hands out its lines until the service ends or `each` says stop.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn follow(
        mut self,
        request: &Request,
        mut each: impl FnMut(Answer) -> bool,
    ) -> Result<(), ControlError> {
        let talk = |source| ControlError::Talk { path: self.path.clone(), source };
        self.stream.get_ref().set_read_timeout(None).map_err(talk)?;
        self.send(request)?;
        while let Some(answer) = self.next_line()? {
            if !each(answer) {
                break;
            }
        }
        Ok(())
    }

    fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        let mut line = serde_json::to_vec(request)
            .map_err(|source| ControlError::Answer { path: self.path.clone(), source })?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(|source| ControlError::Talk { path: self.path.clone(), source })
    }

    fn next_line(&mut self) -> Result<Option<Answer>, ControlError> {
        loop {
            let mut line = String::new();
            let read = self
                .stream
                .read_line(&mut line)
                .map_err(|source| ControlError::Talk { path: self.path.clone(), source })?;
            if read == 0 {
                return Ok(None);
            }
            // Empty lines are signs of life.
            if !line.trim().is_empty() {
                return serde_json::from_str(&line)
                    .map(Some)
                    .map_err(|source| ControlError::Answer { path: self.path.clone(), source });
            }
        }
    }
}
