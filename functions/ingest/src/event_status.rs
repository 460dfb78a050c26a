//! Looks up the status of accepted events.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::contract::Contract;
use shared::http::answer::{List, json};
use shared::http::database::in_time;
use shared::http::edge::note_stream;
use shared::http::fields::Fields;
use shared::ledger::receipts::{self, Outcome, Status};
use shared::ledger::{stalls, waiting};
use shared::record::place::Place;

use crate::Ingest;
use crate::error::Error;
use crate::receipt::{Receipt, reason};

/// The status of one event.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EventStatus {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why the event's partition is stalled, if the event is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled: Option<String>,
    /// The receipt of the replay, if the event was rejected and then replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_as: Option<Receipt>,
}

impl IntoResponse for EventStatus {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}

/// Looks up an event's status, given the parts of its receipt's path.
pub(crate) async fn find(ingest: &Ingest, topic: &str, partition: &str, offset: &str) -> Result<EventStatus, Error> {
    let contract = contract(ingest, topic)?;
    note_stream(&contract.stream);
    let record = record(ingest, contract, partition, offset).await?;
    let found = statuses(ingest, topic, &[record]).await?.pop();
    Ok(found.unwrap_or(EventStatus { status: Status::Pending, reason: None, stalled: None, replayed_as: None }))
}

fn contract<'i>(ingest: &'i Ingest, topic: &str) -> Result<&'i Contract, Error> {
    ingest.registry.topic(topic).map(AsRef::as_ref).ok_or_else(|| Error::not_found("There is no such topic."))
}

/// Parses the parts of a receipt's path: partition and offset.
///
/// # Errors
/// The partition or the offset is malformed, or the topic has no such partition.
async fn record(ingest: &Ingest, contract: &Contract, partition: &str, offset: &str) -> Result<(i32, i64), Error> {
    let partition: i32 = number(partition)?;
    let offset: i64 = number(offset)?;
    if !ingest.partitions.has(&ingest.producer, contract, partition).await {
        return Err(Error::not_found("The topic has no such partition."));
    }
    Ok((partition, offset))
}

/// Looks up the statuses of a topic's events. Takes the partition and offset of each event, and returns the statuses in
/// the same order.
async fn statuses(ingest: &Ingest, topic: &str, records: &[(i32, i64)]) -> Result<Vec<EventStatus>, Error> {
    let outcomes = in_time(outcomes(ingest, topic, records)).await?;
    let reasons = match outcomes.contains(&Outcome::Pending) {
        true => in_time(stalls::reasons(&ingest.pool, topic)).await?,
        false => BTreeMap::new(),
    };
    let replay = |outcome: &Outcome| match outcome {
        Outcome::Replayed { replay, .. } => Some(replay.clone()),
        Outcome::Pending
        | Outcome::Waiting { .. }
        | Outcome::Written
        | Outcome::Duplicate
        | Outcome::Superseded
        | Outcome::Rejected(_)
        | Outcome::Lost { .. } => None,
    };
    let replays = outcomes.iter().filter_map(replay).collect();
    let mut replays = replay_receipts(ingest, replays).await?.into_iter();
    let status = |((partition, _), outcome): (&(i32, i64), Outcome)| EventStatus {
        status: outcome.status(),
        stalled: (outcome == Outcome::Pending).then(|| reasons.get(partition).cloned()).flatten(),
        replayed_as: replay(&outcome).and_then(|_| replays.next()),
        reason: reason(outcome),
    };
    Ok(records.iter().zip(outcomes).map(status).collect())
}

/// The maximum number of receipts in one request.
const MOST_RECEIPTS: usize = 100;

/// The time limit for looking up the receipts of one request. API Gateway times out after 30 s.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(20);

/// The position and status of one of the requested events.
#[derive(Debug, Serialize)]
pub(crate) struct ReceiptStatus {
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(flatten)]
    status: EventStatus,
}

/// Looks up the statuses of the events that `ids` names as `TOPIC/PARTITION/OFFSET`, separated by commas. Returns the
/// statuses in the same order.
///
/// # Errors
/// There are more than 100 ids, an id is malformed, or a topic or partition does not exist.
pub(crate) async fn find_all(ingest: &Ingest, query: &Fields) -> Result<List<ReceiptStatus>, Error> {
    let ids: Vec<&str> = query.require("ids")?.split(',').collect();
    if ids.len() > MOST_RECEIPTS {
        return Err(Error::malformed(format!("`ids` must name at most {MOST_RECEIPTS} receipts.")));
    }
    tokio::time::timeout(LONGEST_LOOK_UP, find_each(ingest, &ids))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut.into()))
}

/// Looks up the events, with one lookup for each topic.
async fn find_each(ingest: &Ingest, ids: &[&str]) -> Result<List<ReceiptStatus>, Error> {
    let mut places = Vec::with_capacity(ids.len());
    let mut by_topic: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, id) in ids.iter().enumerate() {
        let mut parts = id.split('/');
        let (Some(topic), Some(partition), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::malformed("`ids` must be TOPIC/PARTITION/OFFSET, separated by commas."));
        };
        let contract = contract(ingest, topic)?;
        if by_topic.is_empty() {
            // A log line names one stream, so a request about several streams is logged with the first one.
            note_stream(&contract.stream);
        }
        places.push((topic, record(ingest, contract, partition, offset).await?));
        by_topic.entry(topic).or_default().push(index);
    }
    let mut items = Vec::with_capacity(ids.len());
    for (topic, indexes) in by_topic {
        let records: Vec<(i32, i64)> = indexes.iter().map(|index| places[*index].1).collect();
        let statuses = statuses(ingest, topic, &records).await?;
        for ((index, (partition, offset)), status) in indexes.into_iter().zip(records).zip(statuses) {
            items.push((index, ReceiptStatus { topic: topic.to_owned(), partition, offset, status }));
        }
    }
    items.sort_by_key(|(index, _)| *index);
    Ok(List { items: items.into_iter().map(|(_, item)| item).collect(), next: None })
}

/// Returns the receipts of replays, with their statuses. If a replay was itself rejected and replayed, returns the
/// receipt of the last replay instead.
///
/// # Errors
/// The database failed.
pub async fn replay_receipts(ingest: &Ingest, places: Vec<Place>) -> Result<Vec<Receipt>, Error> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let ends = in_time(receipts::follow_replays(&ingest.pool, Some(&ingest.reader), places)).await?;
    Ok(ends.into_iter().map(|(place, outcome)| Receipt::of_replay(place, outcome)).collect())
}

async fn outcomes(ingest: &Ingest, topic: &str, records: &[(i32, i64)]) -> Result<Vec<Outcome>, sqlx::Error> {
    let look_up = || receipts::look_up(&ingest.pool, Some(&ingest.reader), topic, records);
    let outcomes = look_up().await?;
    for outcome in &outcomes {
        if reject_if_expired(ingest, outcome).await? {
            return look_up().await;
        }
    }
    Ok(outcomes)
}

/// Checks whether the event with this outcome has waited too long for its parent. If so, rejects the oldest events that
/// have waited too long, and returns true. The caller must then look up the event again.
///
/// `consume` and `console` also reject such events: `consume` with its batches, at most once a second, and `console`
/// once a minute.
pub(crate) async fn reject_if_expired(ingest: &Ingest, outcome: &Outcome) -> Result<bool, sqlx::Error> {
    let Outcome::Waiting { since_ms } = outcome else {
        return Ok(false);
    };
    let limit_ms = i64::try_from(ingest.wait_for_parent.as_millis()).unwrap_or(i64::MAX);
    let before_ms = ingest.clock.now_ms().saturating_sub(limit_ms);
    if *since_ms >= before_ms {
        return Ok(false);
    }
    waiting::reject_expired(&ingest.pool, before_ms, &ingest.metrics).await?;
    Ok(true)
}

/// Parses a partition or an offset.
fn number<N: std::str::FromStr>(text: &str) -> Result<N, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text);
    digits
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::malformed("Partition and offset must be whole numbers that are not negative."))
}
