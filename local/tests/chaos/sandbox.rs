//! One sandbox: a process of the function, one invocation at a time, and the Runtime API that it talks to
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>). A process that dies is started anew.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::lambda::{Answer, Invocation, Service};

/// As template.yaml has it.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What runs in a sandbox.
pub(crate) struct Plan {
    pub(crate) binary: PathBuf,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where logs go.
    pub(crate) folder: PathBuf,
}

pub(crate) struct Sandbox {
    busy: watch::Receiver<bool>,
    kills: mpsc::Sender<oneshot::Sender<bool>>,
    supervisor: JoinHandle<()>,
}

impl Sandbox {
    pub(crate) fn start(number: usize, plan: Arc<Plan>, service: Arc<Service>) -> Self {
        let log = plan.folder.join(format!("consume-{number}.log"));
        let (kills, to_kill) = mpsc::channel(1);
        let (busy, is_busy) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(plan, log, service, to_kill, busy));
        Self { busy: is_busy, kills, supervisor }
    }

    /// Waits until an invocation runs in it.
    pub(crate) async fn is_busy(&self) {
        let mut busy = self.busy.clone();
        busy.wait_for(|busy| *busy).await.expect("the sandbox runs");
    }

    /// `kill -9`. Answers, once the process has ended, whether an invocation ran in it.
    pub(crate) async fn kill(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.kills.send(answer).await.expect("the sandbox runs");
        answered.await.expect("the sandbox runs")
    }

    /// Ends it; fails if its process ended although nobody killed it.
    pub(crate) async fn stop(self) {
        drop(self.kills);
        self.supervisor.await.unwrap();
    }
}

async fn supervise(
    plan: Arc<Plan>,
    log: PathBuf,
    service: Arc<Service>,
    mut kills: mpsc::Receiver<oneshot::Sender<bool>>,
    busy: watch::Sender<bool>,
) {
    loop {
        let slot = Arc::new(Slot { state: Mutex::default(), busy: busy.clone() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut process = spawn(&plan, &log, &listener.local_addr().unwrap().to_string());
        let router = runtime_api(Arc::clone(&service), Arc::clone(&slot));
        let _serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        let killed = tokio::select! {
            status = process.wait() => {
                let status = status.unwrap();
                slot.die(status);
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                panic!("consume ended although nobody killed it: {status}\n{log}");
            }
            killed = kills.recv() => killed,
        };
        process.start_kill().unwrap();
        let was_busy = slot.die(process.wait().await.unwrap());
        match killed {
            Some(answer) => answer.send(was_busy).unwrap_or_default(),
            None => return,
        }
    }
}

fn spawn(plan: &Plan, log: &PathBuf, runtime_api: &str) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Command::new(&plan.binary)
        .env_remove("CONTRACTS_DIR")
        .env("RUST_LOG", "warn")
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "consume")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
        .envs(plan.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The invocation that a process has.
struct Slot {
    state: Mutex<SlotState>,
    busy: watch::Sender<bool>,
}

#[derive(Default)]
struct SlotState {
    is_dead: bool,
    running: Option<(String, oneshot::Sender<Answer>)>,
}

impl Slot {
    /// Gives the process an invocation, unless it is dead: a connection may outlive it.
    fn begin(&self, id: &str, answer: oneshot::Sender<Answer>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_dead {
            exited(answer, "before it took the invocation");
            return false;
        }
        state.running = Some((id.to_owned(), answer));
        self.busy.send_replace(true);
        true
    }

    /// Answers the invocation, if the process has it.
    fn end(&self, id: &str, answer: Answer) -> StatusCode {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.running.take_if(|(running, _)| running == id) {
            Some((_, to)) => {
                self.busy.send_replace(false);
                // Whoever invoked it may have gone.
                let _gone = to.send(answer);
                StatusCode::ACCEPTED
            }
            None => StatusCode::GONE,
        }
    }

    /// Answers for a process that has died. Says whether it had an invocation.
    fn die(&self, status: ExitStatus) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_dead = true;
        let running = state.running.take();
        self.busy.send_replace(false);
        let was_busy = running.is_some();
        if let Some((_, answer)) = running {
            exited(answer, &status.to_string());
        }
        was_busy
    }
}

/// As Lambda says it.
fn exited(answer: oneshot::Sender<Answer>, how: &str) {
    let error =
        json!({ "errorType": "Runtime.ExitError", "errorMessage": format!("Runtime exited with error: {how}") });
    let _gone = answer.send(Answer::Error(error.to_string().into()));
}

type Api = State<(Arc<Service>, Arc<Slot>)>;

fn runtime_api(service: Arc<Service>, slot: Arc<Slot>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(async || StatusCode::ACCEPTED))
        .layer(DefaultBodyLimit::disable())
        .with_state((service, slot))
}

async fn next(State((service, slot)): Api) -> Response {
    let Invocation { payload, answer } = service.next().await;
    let id = uuid::Uuid::new_v4().to_string();
    if !slot.begin(&id, answer) {
        return StatusCode::GONE.into_response();
    }
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + TIMEOUT;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:local:000000000000:function:consume".to_owned()),
    ];
    (headers, payload).into_response()
}

async fn response(State((_, slot)): Api, Path(id): Path<String>, body: Bytes) -> StatusCode {
    slot.end(&id, Answer::Response(body))
}

async fn error(State((_, slot)): Api, Path(id): Path<String>, body: Bytes) -> StatusCode {
    slot.end(&id, Answer::Error(body))
}
