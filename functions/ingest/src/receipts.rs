//! Receipts: where an accepted event lies, and what became of it.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::kafka::Acknowledged;
use shared::receipt::{self, Outcome, Status};

use crate::Ingest;
use crate::error::Error;
use shared::http::answer::json;
use shared::http::database::in_time;

/// Where an accepted event lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Receipt {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(rename = "timestamp")]
    timestamp_ms: i64,
    href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Receipt {
    /// The receipt of an acknowledged event, without what became of it.
    pub(crate) fn new(index: Option<usize>, topic: &str, acknowledged: &Acknowledged) -> Self {
        let Acknowledged { partition, offset, timestamp_ms } = *acknowledged;
        let href = format!("/receipts/{topic}/{partition}/{offset}");
        Self { index, topic: topic.to_owned(), partition, offset, timestamp_ms, href, status: None, reason: None }
    }

    /// Where to ask what became of it.
    pub(crate) fn href(&self) -> &str {
        &self.href
    }

    /// Partition, offset and record time.
    pub(crate) fn sent(&self) -> (i32, i64, i64) {
        (self.partition, self.offset, self.timestamp_ms)
    }

    /// What is known to have become of it.
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Notes what became of it.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.status = Some(outcome.status());
        self.reason = reason(outcome);
    }
}

/// What became of one event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fate {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl IntoResponse for Fate {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}

/// Looks up one receipt, its parts as they stand in the path.
pub(crate) async fn find(ingest: &Ingest, topic: &str, partition: &str, offset: &str) -> Result<Fate, Error> {
    let contract = ingest.registry.topic(topic).ok_or_else(|| Error::not_found("There is no such topic."))?;
    let partition: i32 = number(partition)?;
    let offset: i64 = number(offset)?;
    if !ingest.partitions.has(&ingest.producer, contract, partition).await {
        return Err(Error::not_found("The topic has no such partition."));
    }
    let outcome = in_time(outcome(ingest, topic, (partition, offset))).await?;
    Ok(Fate { status: outcome.status(), reason: reason(outcome) })
}

async fn outcome(ingest: &Ingest, topic: &str, record: (i32, i64)) -> Result<Outcome, sqlx::Error> {
    let look_up = || async {
        let outcomes = receipt::look_up(&ingest.pool, topic, &[record]).await;
        outcomes.map(|outcomes| outcomes.into_iter().next().unwrap_or(Outcome::Pending))
    };
    let outcome = look_up().await?;
    if reject_if_expired(ingest, &outcome).await? { look_up().await } else { Ok(outcome) }
}

/// Rejects what waits for its parent for too long, if this does: nothing else does so while no event comes in.
/// Answers whether to look again.
pub(crate) async fn reject_if_expired(ingest: &Ingest, outcome: &Outcome) -> Result<bool, sqlx::Error> {
    let Outcome::Waiting { since_ms } = outcome else {
        return Ok(false);
    };
    let patience_ms = i64::try_from(ingest.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
    let before_ms = ingest.clock.now_ms().saturating_sub(patience_ms);
    if *since_ms >= before_ms {
        return Ok(false);
    }
    receipt::reject_expired(&ingest.pool, before_ms, &ingest.metrics).await?;
    Ok(true)
}

fn reason(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Rejected(rejection) => Some(rejection.reason),
        Outcome::Pending | Outcome::Waiting { .. } | Outcome::Written | Outcome::Duplicate => None,
    }
}

/// A number from 0, as partitions and offsets are.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text);
    digits
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::malformed("partition and offset should be whole numbers from 0"))
}
