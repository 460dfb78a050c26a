//! The Runtime API. A function's process requests invocations from it, and returns answers to it.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::plan::Plan;
use super::queue::{Answer, Invocation, Queue};

/// A process, and the state that its Runtime API needs.
#[derive(Debug)]
pub(super) struct Slot {
    plan: Arc<Plan>,
    process: Mutex<Process>,
    /// The deadline of the running invocation. `None` while no invocation runs.
    pub(super) ends: watch::Sender<Option<Instant>>,
    /// The time at which a process of the sandbox first requested an invocation.
    pub(super) ready: watch::Sender<Option<Instant>>,
    /// The durations of the sandbox's invocations.
    durations: Durations,
}

/// The durations of a sandbox's answered invocations, in the order of the answers.
pub(super) type Durations = Arc<Mutex<Vec<Duration>>>;

#[derive(Debug, Default)]
struct Process {
    id: Option<Pid>,
    is_dead: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    id: String,
    begun: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Slot {
    pub(super) fn new(
        plan: Arc<Plan>,
        ends: watch::Sender<Option<Instant>>,
        ready: watch::Sender<Option<Instant>>,
        durations: Durations,
    ) -> Self {
        Self { plan, process: Mutex::default(), ends, ready, durations }
    }

    /// Records the id of the process.
    pub(super) fn belongs_to(&self, id: Option<Pid>) {
        self.process().id = id;
    }

    /// Ends the invocation of a process that exited. Returns whether an invocation was running.
    pub(super) fn die(&self, answer: Answer) -> bool {
        let mut process = self.process();
        process.is_dead = true;
        let running = process.running.take();
        self.ends.send_replace(None);
        let was_busy = running.is_some();
        if let Some(running) = running {
            let _gone = running.answer.send(answer);
        }
        was_busy
    }

    /// Gives the process an invocation. If the process is dead, fails the invocation and returns false: the process's
    /// connection to the Runtime API may outlive the process.
    fn begin(&self, id: &str, answer: oneshot::Sender<Answer>) -> bool {
        let mut process = self.process();
        if process.is_dead {
            let _gone = answer.send(Answer::exited("the process ended before it took the invocation"));
            return false;
        }
        let begun = Instant::now();
        process.running = Some(Running { id: id.to_owned(), begun, answer });
        self.ends.send_replace(Some(begun + self.plan.timeout));
        true
    }

    /// Answers the invocation with this id, if the process is running it.
    fn end(&self, id: &str, answer: Answer) -> StatusCode {
        match self.process().running.take_if(|running| running.id == id) {
            Some(running) => {
                self.durations.lock().unwrap_or_else(PoisonError::into_inner).push(running.begun.elapsed());
                self.ends.send_replace(None);
                // The caller may have gone away.
                let _gone = running.answer.send(answer);
                StatusCode::ACCEPTED
            }
            None => StatusCode::GONE,
        }
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        if let Some(id) = process.id.filter(|_| self.plan.freezes && !process.is_dead) {
            // The process may have ended just now.
            let _gone = kill_process(id, signal);
        }
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    /// Returns Lambda's error for a process that exited.
    pub(super) fn exited(how: &str) -> Self {
        Self::error("Runtime.ExitError", &format!("Runtime exited with error: {how}"))
    }

    /// Returns Lambda's error for an invocation that timed out.
    pub(super) fn timed_out(after: Duration) -> Self {
        Self::error("Sandbox.Timedout", &format!("Task timed out after {:.2} seconds", after.as_secs_f64()))
    }

    fn error(error_type: &str, message: &str) -> Self {
        Self::Error(json!({ "errorType": error_type, "errorMessage": message }).to_string().into())
    }
}

type Api = State<(Arc<Queue>, Arc<Slot>)>;

/// Serves the Runtime API of one process.
pub(super) fn routes(queue: Arc<Queue>, slot: Arc<Slot>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(async || StatusCode::ACCEPTED))
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(std::future::pending::<StatusCode>))
        .layer(DefaultBodyLimit::disable())
        .with_state((queue, slot))
}

async fn next(State((queue, slot)): Api) -> Response {
    slot.ready.send_if_modified(|ready| ready.is_none().then(|| *ready = Some(Instant::now())).is_some());
    slot.signal(Signal::STOP);
    let Invocation { payload, answer } = queue.next().await;
    slot.signal(Signal::CONT);
    let id = Uuid::new_v4().to_string();
    if !slot.begin(&id, answer) {
        return StatusCode::GONE.into_response();
    }
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + slot.plan.timeout;
    let arn = format!("arn:aws:lambda:local:000000000000:function:{}", slot.plan.name);
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", arn),
    ];
    (headers, payload).into_response()
}

/// Registers the function's internal extension, which subscribes to no events.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>
async fn register(State((_, slot)): Api) -> Response {
    let body = json!({ "functionName": slot.plan.name, "functionVersion": "$LATEST", "handler": "bootstrap" });
    ([("lambda-extension-identifier", Uuid::new_v4().to_string())], body.to_string()).into_response()
}

async fn response(State((_, slot)): Api, Path(id): Path<String>, body: Bytes) -> StatusCode {
    slot.end(&id, Answer::Response(body))
}

async fn error(State((_, slot)): Api, Path(id): Path<String>, body: Bytes) -> StatusCode {
    slot.end(&id, Answer::Error(body))
}
