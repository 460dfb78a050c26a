//! A sandbox: a process of the function, and the process's Runtime API. After [`Sandbox::kill`] and after an invocation
//! that timed out, the sandbox starts a new process.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::plan::{LambdaError, Plan};
use super::queue::{Answer, Queue};
use super::runtime_api::{self, Durations, Slot};

/// A sandbox. Dropping it kills its process.
#[derive(Debug)]
pub struct Sandbox {
    ends: watch::Receiver<Option<Instant>>,
    ready: watch::Receiver<Option<Instant>>,
    spawned: Instant,
    first_process: Option<u32>,
    durations: Durations,
    log: PathBuf,
    kills: mpsc::Sender<oneshot::Sender<bool>>,
    supervisor: JoinHandle<Result<(), LambdaError>>,
}

impl Sandbox {
    pub(super) async fn start(number: usize, plan: Arc<Plan>, queue: Arc<Queue>) -> Result<Self, LambdaError> {
        let log = plan.folder.join(format!("{}-{number}.log", plan.name));
        let (kills, to_kill) = mpsc::channel(1);
        let (ends, ends_at) = watch::channel(None);
        let (ready, ready_at) = watch::channel(None);
        let durations = Durations::default();
        let supervision = Supervision { plan, queue, log: log.clone(), ends, ready, durations: Arc::clone(&durations) };
        let first = supervision.spawn().await?;
        let (spawned, first_process) = (first.spawned, first.process.id());
        let supervisor = tokio::spawn(supervision.run(first, to_kill));
        Ok(Self { ends: ends_at, ready: ready_at, spawned, first_process, durations, log, kills, supervisor })
    }

    /// Waits until an invocation runs in the sandbox.
    pub async fn is_busy(&self) {
        let mut ends = self.ends.clone();
        let _ended = ends.wait_for(Option::is_some).await;
    }

    /// Returns the time from the first process's start to its first request for an invocation. Returns `None` if the
    /// process never requested an invocation.
    pub async fn ready_after(&self) -> Option<Duration> {
        let mut ready = self.ready.clone();
        let ready = *ready.wait_for(Option::is_some).await.ok()?;
        ready.map(|ready| ready - self.spawned)
    }

    /// Returns the durations of the sandbox's invocations, in the order of the answers. A duration is the time from an
    /// invocation's start to its answer. Lambda bills this time. Unanswered invocations are left out.
    pub fn durations(&self) -> Vec<Duration> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the id of the sandbox's first process.
    pub fn first_process(&self) -> Option<u32> {
        self.first_process
    }

    /// Returns what the sandbox's processes wrote to standard output and standard error.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Kills the process with SIGKILL, and waits until it has ended. Returns whether an invocation was running.
    pub async fn kill(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let _ended_before = self.kills.send(answer).await;
        answered.await.unwrap_or(false)
    }

    /// Stops the sandbox.
    ///
    /// # Errors
    /// The process ended on its own earlier.
    pub async fn stop(self) -> Result<(), LambdaError> {
        drop(self.kills);
        self.supervisor.await.unwrap_or(Ok(()))
    }

    /// Waits until the process ends on its own, and returns how it ended.
    pub async fn ended(&mut self) -> LambdaError {
        match (&mut self.supervisor).await {
            Ok(Err(error)) => error,
            // Nothing can stop the supervisor while this handle exists.
            Ok(Ok(())) | Err(_) => std::future::pending().await,
        }
    }
}

struct Supervision {
    plan: Arc<Plan>,
    queue: Arc<Queue>,
    log: PathBuf,
    ends: watch::Sender<Option<Instant>>,
    ready: watch::Sender<Option<Instant>>,
    durations: Durations,
}

/// A process and its Runtime API.
struct Running {
    process: Child,
    spawned: Instant,
    slot: Arc<Slot>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Supervision {
    async fn run(self, first: Running, mut kills: mpsc::Receiver<oneshot::Sender<bool>>) -> Result<(), LambdaError> {
        let mut running = first;
        let mut ends = self.ends.subscribe();
        loop {
            let failed = |source| LambdaError::Start { name: self.plan.name, source };
            let (killed, answer) = tokio::select! {
                status = running.process.wait() => {
                    let status = status.map_err(failed)?;
                    running.slot.die(Answer::exited(&status.to_string()));
                    return Err(LambdaError::Ended { name: self.plan.name, status, log: read(&self.log) });
                }
                killed = kills.recv() => (Some(killed), Answer::exited("signal: killed")),
                () = overdue(&mut ends) => (None, Answer::timed_out(self.plan.timeout)),
            };
            running.process.kill().await.map_err(failed)?;
            let was_busy = running.slot.die(answer);
            match killed {
                Some(Some(answer)) => answer.send(was_busy).unwrap_or_default(),
                Some(None) => return Ok(()),
                None => {}
            }
            running = self.spawn().await?;
        }
    }

    async fn spawn(&self) -> Result<Running, LambdaError> {
        let failed = |source| LambdaError::Start { name: self.plan.name, source };
        let (ends, ready, durations) = (self.ends.clone(), self.ready.clone(), Arc::clone(&self.durations));
        let slot = Arc::new(Slot::new(Arc::clone(&self.plan), ends, ready, durations));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?.to_string();
        let router = runtime_api::routes(Arc::clone(&self.queue), Arc::clone(&slot));
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        let spawned = Instant::now();
        let process = spawn(&self.plan, &self.log, &address).map_err(failed)?;
        slot.belongs_to(process.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        Ok(Running { process, spawned, slot, _serving: serving })
    }
}

/// Starts the process. Sets only those of Lambda's environment variables that the functions read.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
fn spawn(plan: &Plan, log: &Path, runtime_api: &str) -> std::io::Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    Command::new(&plan.binary)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", plan.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
        .envs(plan.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
}

/// Waits until the running invocation exceeds its timeout.
async fn overdue(ends: &mut watch::Receiver<Option<Instant>>) {
    loop {
        let at = *ends.borrow_and_update();
        let changed = async {
            // The wait cannot fail, because the supervisor holds the sender.
            let _held = ends.changed().await;
        };
        match at {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at.into()) => return,
                () = changed => {}
            },
            None => changed.await,
        }
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
