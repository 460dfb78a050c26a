//! The gateway over HTTP, with the patience that it takes.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::credentials::Credentials;

use super::answer::{Answer, Decision, Fate, Meaning, Status};
use super::batch::Batch;

/// How long and how often things are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// The pause before a request is repeated; it doubles up to the longest.
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
    /// After this, a request is not repeated any more.
    pub(super) repeat_for: Duration,
    /// How often is looked at events that wait for their parents.
    pub(super) look_every: Duration,
    /// When no waiting event has moved for this long, it is left at that.
    pub(super) waiting_for: Duration,
    /// When no event at all has been decided for this long, the rest is given up.
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

/// How long an answer may take beyond the time it was asked to wait.
const ANSWER: Duration = Duration::from_secs(30);
/// What `Prefer: wait` asks for at first, and once batches are decided within that time. A batch with events that wait
/// for their parents is answered only when its time is up: then less is asked for.
const FIRST_WAIT_SECONDS: u64 = 2;
const LONGEST_WAIT_SECONDS: u64 = 8;

/// Why the gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("{0}: https is not supported yet: `send` has no TLS. Give an http address")]
    Https(Url),
    #[error("{0} is not an address such as http://127.0.0.1:9000")]
    Address(Url),
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[source] reqwest::Error),
    #[error("nothing answers at {url}: {cause}. Is `./local/up` running?")]
    Unreachable { url: Url, cause: String },
    #[error("{url} refuses: {says}")]
    Refuses { url: Url, says: String },
}

/// What came of posting a batch.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) outcome: Outcome,
    /// How often it was sent.
    pub(super) attempts: u64,
    pub(super) first_sent: Instant,
    pub(super) answered: Instant,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Decided(Decision),
    /// No answer but ones that ask to try again: whether the events were taken is not known.
    Unanswered(String),
    /// No batch will fare better.
    Hopeless(String),
}

/// A gateway at an address.
#[derive(Debug)]
pub(super) struct Gateway {
    client: reqwest::Client,
    base: Url,
    credentials: Option<Credentials>,
    /// 0: no batch is waited for.
    wait_seconds: AtomicU64,
    pub(super) patience: Patience,
}

impl Gateway {
    pub(super) fn new(base: Url, credentials: Option<Credentials>, patience: Patience) -> Result<Self, GatewayError> {
        match base.scheme() {
            "http" if base.has_host() => {}
            "https" => return Err(GatewayError::Https(base)),
            _ => return Err(GatewayError::Address(base)),
        }
        let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build();
        let client = client.map_err(GatewayError::Client)?;
        let wait_seconds = AtomicU64::new(FIRST_WAIT_SECONDS);
        Ok(Self { client, base, credentials, wait_seconds, patience })
    }

    /// Has batches answered when they are accepted, not when they are decided: then requests follow faster, but each
    /// event's receipt has to be asked about.
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

    /// Whether the gateway is there and has the stream.
    pub(super) async fn check(&self, stream: &str) -> Result<(), GatewayError> {
        let request = self.with_credentials(self.client.get(self.url(&["streams", stream]))).timeout(ANSWER);
        let url = self.base.clone();
        match request.send().await {
            Err(error) => Err(GatewayError::Unreachable { url, cause: cause(&error) }),
            // What may pass is waited for when events are sent.
            Ok(answer) if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS => {
                let status = answer.status();
                let problem: Answer = answer.json().await.unwrap_or_default();
                let (Meaning::Hopeless(says) | Meaning::Again(says)) = problem.meaning(status, 0) else {
                    return Err(GatewayError::Refuses { url, says: status.to_string() });
                };
                Err(GatewayError::Refuses { url, says })
            }
            Ok(_) => Ok(()),
        }
    }

    /// The names of entities that there are, up to a page of them: `column` of the items listed at `/{table}`.
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

    /// Posts a batch until it is decided, or patience is at its end. `again` is told why, before a batch is sent again.
    pub(super) async fn post(&self, stream: &str, batch: &Batch, again: impl Fn(&str)) -> Posted {
        let first_sent = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (meaning, retry_after) = self.try_post(stream, batch).await;
            let posted = |outcome| Posted { outcome, attempts, first_sent, answered: Instant::now() };
            match meaning {
                Meaning::Decided(decision) => {
                    self.learn(&decision);
                    return posted(Outcome::Decided(decision));
                }
                Meaning::Hopeless(says) => return posted(Outcome::Hopeless(says)),
                Meaning::Again(says) => {
                    let pause = self.pause(attempts, retry_after);
                    if first_sent.elapsed() + pause > self.patience.repeat_for {
                        return posted(Outcome::Unanswered(says));
                    }
                    again(&says);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    async fn try_post(&self, stream: &str, batch: &Batch) -> (Meaning, Option<Duration>) {
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
            Err(error) => return (Meaning::Again(cause(&error)), None),
        };
        let status = answer.status();
        let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = retry_after.map(Duration::from_secs);
        match answer.bytes().await {
            Err(error) => (Meaning::Again(cause(&error)), None),
            Ok(body) => match serde_json::from_slice::<Answer>(&body) {
                Ok(answer) => (answer.meaning(status, batch.origins.len()), retry_after),
                Err(error) if status.is_success() => {
                    (Meaning::Again(format!("{status} with a body that is no answer: {error}")), retry_after)
                }
                // Such as a proxy's page.
                Err(_) => (Answer::default().meaning(status, batch.origins.len()), retry_after),
            },
        }
    }

    fn pause(&self, attempts: u64, retry_after: Option<Duration>) -> Duration {
        let doubled = 1_u32.checked_shl(u32::try_from(attempts - 1).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        let pause = self.patience.first_pause.saturating_mul(doubled).min(self.patience.longest_pause);
        // Requests that failed together do not come back together.
        let pause = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        pause.max(retry_after.unwrap_or_default())
    }

    /// Asks for shorter waits while events are not decided in time, and for the longest again when they are.
    fn learn(&self, decision: &Decision) {
        let is = |status| decision.receipts.iter().any(|receipt| receipt.status() == Some(status));
        let wait = self.wait_seconds.load(Ordering::Relaxed);
        let next = match (is(Status::Pending), is(Status::Waiting)) {
            (_, true) => 1,
            // A rejection ends the wait too: then pending ones say nothing of the time.
            (true, false) if !is(Status::Rejected) => (wait / 2).max(1),
            (true, false) => wait,
            (false, false) => LONGEST_WAIT_SECONDS,
        };
        if wait > 0 {
            self.wait_seconds.store(next, Ordering::Relaxed);
        }
    }

    /// What became of an accepted event. An error says why that is not known.
    pub(super) async fn fate(&self, topic: &str, partition: i32, offset: i64) -> Result<Fate, String> {
        let url = self.url(&["receipts", topic, &partition.to_string(), &offset.to_string()]);
        let answer = self.with_credentials(self.client.get(url)).timeout(ANSWER).send().await;
        let answer = answer.map_err(|error| cause(&error))?;
        let status = answer.status();
        if status.is_success() { answer.json().await.map_err(|error| cause(&error)) } else { Err(status.to_string()) }
    }
}

/// An error's innermost cause: what is around it repeats the address.
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
