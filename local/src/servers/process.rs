//! Runs a server as a child process and watches the server. Stops the server cleanly, even if this process is killed.

use std::future::pending;
use std::io;
use std::path::Path;
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
use super::log::Log;

/// A guard that waits for the word `done` on its standard input. If the input ends without this word, the parent has
/// died, perhaps by SIGKILL. The guard then stops the server and removes the server's temporary files. The guard runs
/// in its own process group, so that Ctrl-C in the terminal does not end the guard.
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

/// The signal that stops a server. The guard sends the same signal.
#[derive(Debug, Clone, Copy)]
pub(super) enum StopSignal {
    /// PostgreSQL's fast shutdown: clients are disconnected, nothing is lost.
    Interrupt,
    /// The usual signal for a clean shutdown.
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
    /// `None` once the process has ended.
    guard: Option<Guard>,
}

/// A child process that a task awaits.
#[derive(Debug, Clone)]
struct Process {
    name: &'static str,
    pid: Pid,
    stop_signal: StopSignal,
    log: Log,
    exited: watch::Receiver<Option<ExitStatus>>,
}

/// Tracks the dropped processes that are being stopped, and the commands that [`output`] runs.
static DROPPED: LazyLock<TaskTracker> = LazyLock::new(TaskTracker::new);

/// Waits for the servers that were dropped without being stopped. Returns once all of them have ended.
pub async fn wait_for_dropped_servers() {
    DROPPED.close();
    DROPPED.wait().await;
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
            .ok_or_else(|| spawned(io::Error::other("it ended immediately")))?;
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

    /// Waits until the process has ended. Returns its exit status and the end of its log.
    pub(super) async fn died(&self) -> ServerError {
        let status = self.process.exited().await;
        ServerError::Died { name: self.process.name, status, log: self.process.log.tail() }
    }

    /// Asks the process to stop, and kills it if it does not stop within `patience`. The caller may drop the future and
    /// call [`ServerProcess::kill9`] instead.
    pub(super) async fn stop(&mut self, patience: Duration) {
        self.process.end(self.process.stop_signal.signal(), patience).await;
        self.dismiss_guard().await;
    }

    /// Kills the process with SIGKILL, so that the process has no chance to clean up.
    pub(super) async fn kill9(&mut self) {
        self.process.end(Signal::KILL, DROPPED_PATIENCE).await;
        self.dismiss_guard().await;
    }

    async fn dismiss_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.dismiss().await;
        }
    }
}

impl Drop for ServerProcess {
    /// Stops the server if nothing has stopped it yet, for example because the future that waits for the server's start
    /// was dropped. Without a tokio runtime, the guard stops the server.
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let process = self.process.clone();
            let ending = async move {
                process.end(process.stop_signal.signal(), DROPPED_PATIENCE).await;
                guard.dismiss().await;
            };
            DROPPED.spawn_on(ending, &runtime);
        }
    }
}

impl Process {
    async fn exited(&self) -> ExitStatus {
        let mut exited = self.exited.clone();
        let status = exited.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        match status {
            Some(status) => status,
            // The runtime that watches the process is shutting down, so nobody waits for the result.
            None => pending().await,
        }
    }

    async fn end(&self, signal: Signal, patience: Duration) {
        self.signal(signal);
        if tokio::time::timeout(patience, self.exited()).await.is_err() {
            tracing::warn!("{} did not stop within {patience:?}, so it is being killed", self.name);
            self.signal(Signal::KILL);
            self.exited().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // Once the server's exit status has been collected, the kernel may give the server's process id to another
        // process.
        if self.exited.borrow().is_none() {
            // The process may have just ended. In that case, there is nothing left to do.
            let _gone = kill_process(self.pid, signal);
        }
    }
}

/// Runs a preparatory command to its end. Dropping the future kills the command and every process that it started.
/// [`wait_for_dropped_servers`] also waits until the command has ended.
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
    let output = DROPPED.spawn(child.wait_with_output()).await.map_err(io::Error::other)?;
    kill_if_dropped.0 = None;
    output
}

/// Kills a process group on drop. Contains `None` once the group has ended.
struct KillIfDropped(Option<Pid>);

impl Drop for KillIfDropped {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group may have just ended.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The time that a server may take to stop after it was dropped or killed.
const DROPPED_PATIENCE: Duration = Duration::from_secs(10);

/// The guard, which is a child process. If its parent is killed, the guard briefly outlives its parent.
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
            // The guard may already be gone.
            let _gone = tokio::io::AsyncWriteExt::write_all(&mut word, b"done\n").await;
        }
        let _status = self.process.wait().await;
    }
}
