//! What Lambda does for `consume`: takes invocations, hands each to a sandbox that is free, and answers for one that
//! died.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::future::select_all;
use reqwest::Url;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::sandbox::{self, Sandbox};

/// Lambda's quota of a payload, and some room.
const MOST_PAYLOAD_BYTES: usize = 7 * 1024 * 1024;

/// An invocation on its way to a sandbox.
pub(crate) struct Invocation {
    pub(crate) payload: Bytes,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// How an invocation ended: as the function answered, or with an error.
pub(crate) enum Answer {
    Response(Bytes),
    Error(Bytes),
}

/// What came of all invocations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    /// Records that were new.
    pub(crate) applied: u64,
    /// Records that had been applied before.
    pub(crate) replayed: u64,
    /// How often which error was answered.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// What sandboxes share.
pub(crate) struct Service {
    waiting: mpsc::UnboundedSender<Invocation>,
    taken: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    tally: watch::Sender<Tally>,
}

impl Service {
    /// The next invocation, once there is one.
    pub(crate) async fn next(&self) -> Invocation {
        self.taken.lock().await.recv().await.expect("we hold a sender ourselves")
    }
}

/// The function, running in several sandboxes.
pub(crate) struct Lambda {
    pub(crate) url: Url,
    service: Arc<Service>,
    sandboxes: Vec<Sandbox>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Lambda {
    /// Starts as many sandboxes as processes of `plan.binary`.
    pub(crate) async fn start(plan: sandbox::Plan, sandboxes: usize) -> Self {
        let (waiting, taken) = mpsc::unbounded_channel();
        let service = Arc::new(Service { waiting, taken: Mutex::new(taken), tally: watch::Sender::default() });
        let plan = Arc::new(plan);
        let sandboxes =
            (0..sandboxes).map(|number| Sandbox::start(number, Arc::clone(&plan), Arc::clone(&service))).collect();
        let router = Router::new()
            .route("/2015-03-31/functions/consume/invocations", post(invoke))
            .layer(DefaultBodyLimit::max(MOST_PAYLOAD_BYTES))
            .with_state(Arc::clone(&service));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        Self { url, service, sandboxes, _serving: serving }
    }

    pub(crate) fn tally(&self) -> watch::Receiver<Tally> {
        self.service.tally.subscribe()
    }

    /// Waits until an invocation runs, then some more, then kills the sandbox that it ran in. Answers whether that was
    /// in the midst of an invocation. `pick` decides between sandboxes that are busy at once.
    pub(crate) async fn kill_one(&self, delay: Duration, pick: usize) -> bool {
        let first = pick % self.sandboxes.len();
        let busy: Vec<&Sandbox> = self.sandboxes[first..].iter().chain(&self.sandboxes[..first]).collect();
        let ((), index, _) = select_all(busy.iter().map(|sandbox| Box::pin(sandbox.is_busy()))).await;
        tokio::time::sleep(delay).await;
        busy[index].kill().await
    }

    /// Stops all sandboxes; fails if one of them ever ended although nobody killed it.
    pub(crate) async fn stop(self) {
        for sandbox in self.sandboxes {
            sandbox.stop().await;
        }
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(State(service): State<Arc<Service>>, payload: Bytes) -> Response {
    let (answer, answered) = oneshot::channel();
    service.waiting.send(Invocation { payload, answer }).unwrap_or_else(|_| panic!("we hold the receiver"));
    match answered.await.expect("a sandbox answers for every invocation that it takes") {
        Answer::Response(body) => {
            service.tally.send_modify(|tally| tally.note_success(&body));
            body.into_response()
        }
        Answer::Error(body) => {
            service.tally.send_modify(|tally| tally.note_error(&body));
            ([("x-amz-function-error", "Unhandled")], body).into_response()
        }
    }
}

/// What we read of `consume`'s summary.
#[derive(Deserialize)]
struct Summary {
    records: u64,
    replayed: u64,
}

/// An error, as the Runtime API has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_type: String,
    error_message: String,
}

impl Tally {
    fn note_success(&mut self, body: &[u8]) {
        let summary: Summary = serde_json::from_slice(body).expect("a summary");
        self.succeeded += 1;
        self.applied += summary.records - summary.replayed;
        self.replayed += summary.replayed;
    }

    fn note_error(&mut self, body: &[u8]) {
        let error: FunctionError = serde_json::from_slice(body).expect("an error");
        *self.errors.entry(format!("{}: {}", error.error_type, error.error_message)).or_default() += 1;
    }
}
