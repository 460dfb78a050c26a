//! A server as a child process: watched, stopped in good order, and never left behind.

use std::fs::{self, File, OpenOptions};
use std::future::pending;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::ServerError;
use super::data_folder::Subfolder;

/// Waits until its standard input ends. If that happens without a word, whoever started the server died, even by
/// SIGKILL: then it stops the server and removes its temporary files. In a group of its own, so that a Ctrl-C on the
/// terminal does not reach it.
const GUARD: &str = r#"
trap '' HUP INT TERM
read -r word && exit 0
kill -s "$2" "$1" 2>/dev/null
tenths=0
while kill -0 "$1" 2>/dev/null && [ "$tenths" -lt 100 ]; do sleep 0.1; tenths=$((tenths + 1)); done
kill -s KILL "$1" 2>/dev/null
if [ -n "$3" ]; then rm -rf "$3"; rmdir "$(dirname "$3")" 2>/dev/null; fi
exit 0
"#;

/// What the guard needs to know, and how a server is asked to stop.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopSignal {
    /// PostgreSQL's fast shutdown: clients are disconnected, nothing is lost.
    Interrupt,
    /// What most servers take for an orderly stop.
    Terminate,
}

impl StopSignal {
    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
        }
    }
}

/// A running child process.
#[derive(Debug)]
pub(super) struct ServerProcess {
    process: Process,
    /// None once the process has ended.
    guard: Option<Guard>,
}

/// A child process that a task waits for.
#[derive(Debug, Clone)]
struct Process {
    name: &'static str,
    pid: Pid,
    stop_signal: StopSignal,
    log: Log,
    exited: watch::Receiver<Option<ExitStatus>>,
}

/// Processes that were let go of and are being stopped.
static LET_GO: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits until every server that was dropped without being stopped has ended, too.
pub async fn all_let_go_have_ended() {
    LET_GO.close();
    LET_GO.wait().await;
}

impl ServerProcess {
    /// Starts `command` with its output in `log`.
    pub(super) fn spawn(
        name: &'static str,
        mut command: Command,
        log: Log,
        stop_signal: StopSignal,
        folder: &Subfolder,
    ) -> Result<Self, ServerError> {
        let spawned = |source| ServerError::Spawn { name, source };
        let output = log.append().map_err(spawned)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(spawned)?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(spawned)?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| spawned(io::Error::other("it ended at once")))?;
        let guard = Guard::start(pid, stop_signal, folder).map_err(spawned)?;
        let (exit, exited) = watch::channel(None);
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                exit.send_replace(Some(status));
            }
        });
        let process = Process { name, pid, stop_signal, log, exited };
        Ok(Self { process, guard: Some(guard) })
    }

    /// Answers, with what the log says, once the process has ended.
    pub(super) async fn died(&self) -> ServerError {
        let status = self.process.exited().await;
        ServerError::Died { name: self.process.name, status, log: self.process.log.tail() }
    }

    /// Asks the process to stop, and kills it if it has not done so within `patience`. May be given up, and followed
    /// by [`ServerProcess::kill9`].
    pub(super) async fn stop(&mut self, patience: Duration) {
        self.process.end(self.process.stop_signal.signal(), patience).await;
        self.dismiss_guard().await;
    }

    /// `kill -9`: the process gets no chance to do anything.
    pub(super) async fn kill9(&mut self) {
        self.process.end(Signal::KILL, LET_GO_PATIENCE).await;
        self.dismiss_guard().await;
    }

    async fn dismiss_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.dismiss().await;
        }
    }
}

impl Drop for ServerProcess {
    /// Whoever waited for the server to come up was cancelled. Without a runtime, the guard stops it.
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let process = self.process.clone();
            let ending = async move {
                process.end(process.stop_signal.signal(), LET_GO_PATIENCE).await;
                guard.dismiss().await;
            };
            LET_GO.spawn_on(ending, &runtime);
        }
    }
}

impl Process {
    async fn exited(&self) -> ExitStatus {
        let mut exited = self.exited.clone();
        let status = exited.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        match status {
            Some(status) => status,
            // The runtime that watches the process is going away; nobody is left to be told.
            None => pending().await,
        }
    }

    async fn end(&self, signal: Signal, patience: Duration) {
        self.signal(signal);
        if tokio::time::timeout(patience, self.exited()).await.is_err() {
            tracing::warn!("{} did not stop within {patience:?} and is killed", self.name);
            self.signal(Signal::KILL);
            self.exited().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // Reaped: its number may belong to another process by now.
        if self.exited.borrow().is_none() {
            // It may have ended this very moment: then there is nothing to do.
            let _gone = kill_process(self.pid, signal);
        }
    }
}

/// Runs a command that prepares something to its end. Dropping the future kills it and whatever it has started;
/// [`all_let_go_have_ended`] waits for that, too.
pub(super) async fn output(mut command: Command) -> io::Result<Output> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut kill_if_dropped = KillIfDropped(group);
    let output = LET_GO.spawn(child.wait_with_output()).await.map_err(io::Error::other)?;
    kill_if_dropped.0 = None;
    output
}

/// A process group, until it has ended.
struct KillIfDropped(Option<Pid>);

impl Drop for KillIfDropped {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended this very moment.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How long a server may take to stop that nobody waits for.
const LET_GO_PATIENCE: Duration = Duration::from_secs(10);

/// The process that outlives us for a moment if we are killed.
#[derive(Debug)]
struct Guard {
    process: Child,
    word: Option<ChildStdin>,
}

impl Guard {
    fn start(server: Pid, stop_signal: StopSignal, folder: &Subfolder) -> io::Result<Self> {
        let removed: &Path = if folder.is_temporary { &folder.path } else { Path::new("") };
        let mut process = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(server.to_string())
            .arg(stop_signal.name())
            .arg(removed)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let word = process.stdin.take();
        Ok(Self { process, word })
    }

    async fn dismiss(mut self) {
        if let Some(mut word) = self.word.take() {
            // If it is gone already, so much the better.
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut word, b"done\n").await;
        }
        let _status = self.process.wait().await;
    }
}

/// A server's log file.
#[derive(Debug, Clone)]
pub(super) struct Log {
    path: PathBuf,
    is_kept: bool,
}

impl Log {
    pub(super) fn in_folder(folder: &Subfolder) -> Self {
        Self { path: folder.path.join("server.log"), is_kept: !folder.is_temporary }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn append(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.path)
    }

    /// Where the log ends now: [`Log::since`] reads what comes after.
    pub(super) fn end(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// What was written after `position`, the last 64 KiB at most.
    pub(super) fn since(&self, position: u64) -> String {
        const MOST_BYTES: u64 = 64 * 1024;
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(position.max(self.end().saturating_sub(MOST_BYTES))))?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            Ok(text)
        };
        String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
    }

    /// Its last lines, and where it is if it stays.
    pub(super) fn tail(&self) -> LogTail {
        const MOST_LINES: usize = 8;
        let text = self.since(0);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        LogTail {
            last_lines: lines[lines.len().saturating_sub(MOST_LINES)..].iter().map(|line| (*line).to_owned()).collect(),
            path: self.is_kept.then(|| self.path.clone()),
        }
    }
}

/// The end of a server's log.
#[derive(Debug)]
pub struct LogTail {
    /// The last lines.
    pub last_lines: Vec<String>,
    /// Where the whole log is, if it is not removed with the temporary folder.
    pub path: Option<PathBuf>,
}
