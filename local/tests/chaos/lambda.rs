//! Emulates Lambda for `consume`: the Invoke API, in front of sandboxes that the tests kill.

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
use local::lambda::{Answer, Invoker, Lambda, Plan, Sandbox};
use reqwest::Url;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A little more than Lambda's payload quota of 6 MiB.
const MOST_PAYLOAD_BYTES: usize = 7 * 1024 * 1024;

/// The outcomes of all invocations.
#[derive(Debug, Clone, Default)]
pub(crate) struct InvocationTally {
    pub(crate) succeeded: u64,
    /// The number of records that were applied for the first time.
    pub(crate) applied: u64,
    /// The number of redelivered records, which had been applied before.
    pub(crate) replayed: u64,
    /// The number of errors with each type and message.
    pub(crate) errors: BTreeMap<String, u64>,
}

impl InvocationTally {
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// The state of the Invoke API.
struct Service {
    consume: Invoker,
    tally: watch::Sender<InvocationTally>,
}

/// The function `consume`, which runs in several sandboxes behind the Invoke API.
pub(crate) struct Consume {
    pub(crate) url: Url,
    service: Arc<Service>,
    lambda: Lambda,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Consume {
    pub(crate) async fn start(plan: Plan, sandboxes: usize) -> Self {
        let lambda = Lambda::start(plan, sandboxes).await.unwrap();
        let service = Arc::new(Service { consume: lambda.invoker(), tally: watch::Sender::default() });
        let router = Router::new()
            .route("/2015-03-31/functions/consume/invocations", post(invoke))
            .layer(DefaultBodyLimit::max(MOST_PAYLOAD_BYTES))
            .with_state(Arc::clone(&service));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, router).into_future()));
        Self { url, service, lambda, _serving: serving }
    }

    pub(crate) fn tally(&self) -> watch::Receiver<InvocationTally> {
        self.service.tally.subscribe()
    }

    /// Waits until an invocation runs, sleeps for `delay`, then kills the invocation's sandbox. Returns whether an
    /// invocation was still running in that sandbox. `pick` selects among the busy sandboxes.
    pub(crate) async fn kill_one(&self, delay: Duration, pick: usize) -> bool {
        let sandboxes = self.lambda.sandboxes();
        let first = pick % sandboxes.len();
        let busy: Vec<&Sandbox> = sandboxes[first..].iter().chain(&sandboxes[..first]).collect();
        let ((), index, _) = select_all(busy.iter().map(|sandbox| Box::pin(sandbox.is_busy()))).await;
        tokio::time::sleep(delay).await;
        busy[index].kill().await
    }

    /// Stops all sandboxes. Fails if one of them ended on its own.
    pub(crate) async fn stop(self) {
        self.lambda.stop().await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
async fn invoke(State(service): State<Arc<Service>>, payload: Bytes) -> Response {
    match service.consume.invoke(payload).await {
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

/// The fields of `consume`'s summary that the test needs.
#[derive(Deserialize)]
struct Summary {
    records: u64,
    replayed: u64,
}

/// An error in the Runtime API's format.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_type: String,
    error_message: String,
}

impl InvocationTally {
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
