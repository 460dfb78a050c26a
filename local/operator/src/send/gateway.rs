//! Sends requests over HTTP to the gateway (the address that serves Sluice's routes), and retries batches.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use shared::ledger::receipts::Status;

use crate::credentials::Credentials;

use super::answer::{Answer, Decision, EventStatus, Meaning};
use super::batch::RequestBatch;

/// Delays and time limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The delay before a request is first retried. Each further delay is twice as long, up to `longest_pause`.
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    /// The time after which a request is no longer retried.
    pub(super) repeat_for: Duration,
    /// The interval between lookups of events that wait for their parents.
    pub(super) look_every: Duration,
    /// `send` stops looking up waiting events if no event's status changes within this time.
    pub(super) waiting_for: Duration,
    /// `send` gives up on pending events if no event's status changes within this time.
    pub(super) pending_for: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            repeat_for: Duration::from_secs(120),
            look_every: Duration::from_secs(1),
            waiting_for: Duration::from_secs(10),
            pending_for: Duration::from_secs(300),
        }
    }
}

/// The time limit for an answer, in addition to the requested wait.
const ANSWER: Duration = Duration::from_secs(30);
/// The first and the longest `Prefer: wait`. After an answer in which no event is pending or waits for its parent, the
/// next request asks for the longest wait. If an event waits for its parent, the next request asks for one second:
/// while an event waits, the gateway does not answer before the requested time is up.
const FIRST_WAIT_SECONDS: u64 = 2;
const LONGEST_WAIT_SECONDS: u64 = 8;

/// Why the gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("{0}: https is not supported yet: `send` has no TLS. Give an http address")]
    Https(Url),
    #[error("{0} is not a valid address: give one such as http://127.0.0.1:9000")]
    Address(Url),
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[source] reqwest::Error),
    #[error("cannot connect to {url}: {cause}. Is `./local/up` running? Name another address with --to URL")]
    Unreachable { url: Url, cause: String },
    #[error("{url} answered: {says}")]
    Refuses { url: Url, says: String },
}

/// The result of posting a batch.
#[derive(Debug)]
pub(super) struct PostedBatch {
    pub(super) result: PostResult,
    /// The number of attempts.
    pub(super) attempts: u64,
    pub(super) first_sent: Instant,
    pub(super) answered: Instant,
}

#[derive(Debug)]
pub(super) enum PostResult {
    Decided(Decision),
    /// No attempt got a final answer, so it is unknown whether the events were accepted.
    Unanswered(String),
    /// The answer, such as `401` or `404`, shows that no batch can succeed.
    Hopeless(String),
}

/// A gateway at an address.
#[derive(Debug)]
pub(super) struct GatewayClient {
    client: reqwest::Client,
    base: Url,
    credentials: Option<Credentials>,
    /// The number of seconds that the gateway is asked to wait for a batch. With 0, the gateway does not wait.
    wait_seconds: AtomicU64,
    pub(super) patience: Patience,
}

impl GatewayClient {
    pub(super) fn new(base: Url, credentials: Option<Credentials>, patience: Patience) -> Result<Self, GatewayError> {
        match base.scheme() {
            "http" if base.has_host() => {}
            "https" => return Err(GatewayError::Https(base)),
            _ => return Err(GatewayError::Address(base)),
        }
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            // Servers close idle connections: `local/up` does so after 10 s. A request at that moment would fail, so
            // the client closes idle connections earlier.
            .pool_idle_timeout(Duration::from_secs(5))
            .build();
        let client = client.map_err(GatewayError::Client)?;
        let wait_seconds = AtomicU64::new(FIRST_WAIT_SECONDS);
        Ok(Self { client, base, credentials, wait_seconds, patience })
    }

    /// Makes the gateway answer as soon as it has accepted a batch, without waiting for the events to land. The next
    /// request can then follow sooner, but each event's receipt has to be looked up.
    pub(super) fn without_waiting(mut self) -> Self {
        self.wait_seconds = AtomicU64::new(0);
        self
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    fn with_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.credentials {
            Some(Credentials { name, password }) => request.basic_auth(name, Some(password)),
            None => request,
        }
    }

    /// Checks that the gateway is reachable and has the stream.
    pub(super) async fn check(&self, stream: &str) -> Result<(), GatewayError> {
        let request = self.with_credentials(self.client.get(self.url(&["streams", stream]))).timeout(ANSWER);
        let url = self.base.clone();
        match request.send().await {
            Err(error) => Err(GatewayError::Unreachable { url, cause: cause(&error) }),
            // Only permanent errors count here. Temporary errors are retried when events are sent.
            Ok(answer) if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS => {
                let status = answer.status();
                let problem: Answer = answer.json().await.unwrap_or_default();
                let (Meaning::Hopeless(says) | Meaning::Retry(says)) = problem.meaning(status, 0) else {
                    return Err(GatewayError::Refuses { url, says: status.to_string() });
                };
                Err(GatewayError::Refuses { url, says })
            }
            Ok(_) => Ok(()),
        }
    }

    /// Returns the names of existing entities: the values of `column` in the first page of `/{table}`.
    pub(super) async fn names(&self, table: &str, column: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Value>,
        }
        let mut url = self.url(&[table]);
        url.set_query(Some("limit=1000"));
        let page = async {
            let answer = self.with_credentials(self.client.get(url)).timeout(ANSWER).send().await?;
            answer.error_for_status()?.json::<Page>().await
        };
        let items = page.await.map(|page| page.items).unwrap_or_default();
        items.iter().filter_map(|item| item.get(column)?.as_str()).map(str::to_owned).collect()
    }

    /// Posts a batch, and retries until an answer says which events were accepted, or that no batch can succeed, or
    /// until [`Patience::repeat_for`] has passed. Passes the reason
    /// to `again` before each retry.
    pub(super) async fn post(&self, stream: &str, batch: &RequestBatch, again: impl Fn(&str)) -> PostedBatch {
        let first_sent = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (meaning, retry_after) = self.try_post(stream, batch).await;
            let posted = |result| PostedBatch { result, attempts, first_sent, answered: Instant::now() };
            match meaning {
                Meaning::Decided(decision) => {
                    self.learn(&decision);
                    return posted(PostResult::Decided(decision));
                }
                Meaning::Hopeless(says) => return posted(PostResult::Hopeless(says)),
                Meaning::Retry(says) => {
                    let pause = self.pause(attempts, retry_after);
                    if first_sent.elapsed() + pause > self.patience.repeat_for {
                        return posted(PostResult::Unanswered(says));
                    }
                    again(&says);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn try_post(&self, stream: &str, batch: &RequestBatch) -> (Meaning, Option<Duration>) {
        let wait = self.wait_seconds.load(Ordering::Relaxed);
        let request = self
            .with_credentials(self.client.post(self.url(&["events", stream])))
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", &batch.idempotency_key)
            .header(
                "prefer",
                if wait == 0 { "handling=lenient".to_owned() } else { format!("wait={wait}, handling=lenient") },
            )
            .timeout(ANSWER + Duration::from_secs(wait))
            .body(batch.body.clone());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return (Meaning::Retry(cause(&error)), None),
        };
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        match answer.bytes().await {
            Err(error) => (Meaning::Retry(cause(&error)), None),
            Ok(body) => match serde_json::from_slice::<Answer>(&body) {
                Ok(answer) => (answer.meaning(status, batch.origins.len()), retry_after),
                Err(error) if status.is_success() => {
                    (Meaning::Retry(format!("{status} with an unexpected body: {error}")), retry_after)
                }
                // The body may be a proxy's error page.
                Err(_) => (Answer::default().meaning(status, batch.origins.len()), retry_after),
            },
        }
    }

    fn pause(&self, attempts: u64, retry_after: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(u32::try_from(attempts - 1).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        let pause = self.patience.first_pause.saturating_mul(doubled).min(self.patience.longest_pause);
        // Spreads out the retries of requests that failed at the same time.
        let pause = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        pause.max(retry_after.unwrap_or_default())
    }

    /// Shortens the wait if events are still pending or waiting, and otherwise restores the longest wait.
    fn learn(&self, decision: &Decision) {
        let is = |status| decision.receipts.iter().any(|receipt| receipt.status() == Some(status));
        let wait = self.wait_seconds.load(Ordering::Relaxed);
        let next = match (is(Status::Pending), is(Status::Waiting)) {
            (_, true) => 1,
            // The gateway also ends the wait when it finds a rejected event. Other events may be pending only because
            // the wait ended early, so their status is no reason to ask for a shorter wait.
            (true, false) if !is(Status::Rejected) => (wait / 2).max(1),
            (true, false) => wait,
            (false, false) => LONGEST_WAIT_SECONDS,
        };
        if wait > 0 {
            self.wait_seconds.store(next, Ordering::Relaxed);
        }
    }

    /// Returns the outcomes of accepted events, in the order of `ids`. Each id is `TOPIC/PARTITION/OFFSET`. An error
    /// says why the outcomes are unknown.
    pub(super) async fn event_statuses(&self, ids: &[String]) -> Result<Vec<EventStatus>, String> {
        #[derive(Deserialize)]
        struct Statuses {
            items: Vec<EventStatus>,
        }
        let mut url = self.url(&["receipts"]);
        url.query_pairs_mut().append_pair("ids", &ids.join(","));
        let answer = self.with_credentials(self.client.get(url)).timeout(ANSWER).send().await;
        let answer = answer.map_err(|error| cause(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(status.to_string());
        }
        let Statuses { items } = answer.json().await.map_err(|error| cause(&error))?;
        if items.len() == ids.len() { Ok(items) } else { Err(format!("{status} without some of the receipts")) }
    }
}

/// Returns an error's innermost cause, because the outer causes repeat the address.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
