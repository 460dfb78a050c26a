//! Dead letters: listed, shown, and put back on their topic.

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD as BASE64;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::contract::json as contract_json;
use shared::dead_letter::{self, DeadLetter};
use shared::event_id;
use shared::kafka::{Outgoing, RecordHeader};
use shared::metrics::Counter;

use crate::Ingest;
use crate::accept::{Failure, first_failure};
use crate::error::Error;
use crate::receipts::Receipt;
use shared::http::answer::{List, json};
use shared::http::database::in_time;
use shared::http::fields::Fields;

/// The payloads in one answer, in bytes, which must leave room in Lambda's 6 MiB.
const PAGE_BYTES: i64 = 2 * 1_024 * 1_024;

/// A dead letter as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Item {
    id: i64,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(rename = "timestamp")]
    timestamp_ms: i64,
    reason: String,
    error_code: String,
    status: String,
    headers: Value,
    key: Option<String>,
    /// A key that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The event; text that is not JSON as a string.
    payload: Option<Box<RawValue>>,
    /// A payload that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl From<DeadLetter> for Item {
    fn from(letter: DeadLetter) -> Self {
        let (key, key_base64) = text_or_base64(letter.key);
        let is_json = contract_json::parse(&letter.payload).is_ok();
        let (payload, payload_base64) = text_or_base64(Some(letter.payload));
        let payload = payload.map(|text| if is_json { text } else { Value::String(text).to_string() });
        Self {
            id: letter.id,
            topic: letter.topic,
            partition: letter.partition,
            offset: letter.offset,
            timestamp_ms: letter.record_timestamp_ms,
            reason: letter.rejection.reason,
            error_code: letter.rejection.code,
            status: letter.status,
            headers: letter.headers,
            key,
            key_base64,
            payload: payload.and_then(|text| RawValue::from_string(text).ok()),
            payload_base64,
        }
    }
}

fn text_or_base64(bytes: Option<Vec<u8>>) -> (Option<String>, Option<String>) {
    match bytes.map(String::from_utf8) {
        None => (None, None),
        Some(Ok(text)) => (Some(text), None),
        Some(Err(error)) => (None, Some(BASE64.encode_to_string(error.as_bytes()))),
    }
}

/// Lists dead letters, of one topic or all.
pub(crate) async fn list(ingest: &Ingest, query: &Fields) -> Result<List<Item>, Error> {
    let after = match query.get("after")? {
        Some(cursor) => cursor.parse().map_err(|_| Error::malformed("after should be a cursor from next"))?,
        None => 0,
    };
    let limit = query.limit()?.into();
    let page = in_time(dead_letter::list(&ingest.pool, query.get("topic")?, after, limit, PAGE_BYTES)).await?;
    let next = page.letters.last().filter(|_| page.more).map(|letter| letter.id.to_string());
    Ok(List { items: page.letters.into_iter().map(Item::from).collect(), next })
}

/// One dead letter.
pub(crate) async fn find(ingest: &Ingest, id: &str) -> Result<Item, Error> {
    let id: i64 = id.parse().map_err(|_| absent())?;
    in_time(dead_letter::find(&ingest.pool, id)).await?.map(Item::from).ok_or_else(absent)
}

/// Puts a dead letter back on its topic: once, however often it is asked for.
///
/// Should the function die after the send and before the commit, the letter is still open, and a repeat sends it
/// again - under the same id, so that it lands once. The header that says so also lets it claim the id under which it
/// was rejected.
pub(crate) async fn replay(ingest: &Ingest, id: &str) -> Result<Replayed, Error> {
    let id: i64 = id.parse().map_err(|_| absent())?;
    let mut transaction = in_time(ingest.pool.begin()).await?;
    let letter = in_time(dead_letter::lock(&mut transaction, id)).await?.ok_or_else(absent)?;
    if letter.status != "open" {
        return Err(Error::NotReplayable("It was put back on its topic before."));
    }
    let Some(contract) = ingest.registry.topic(&letter.topic) else {
        return Err(Error::NotReplayable("No stream has its topic any more."));
    };
    let headers = as_replay(&letter);
    let record =
        Outgoing { topic: &letter.topic, key: letter.key.as_deref(), value: Some(&letter.payload), headers: &headers };
    let answers = ingest.producer.send(&[record]).await;
    match (first_failure(&letter.topic, &answers), answers.first()) {
        (None, Some(Ok(acknowledged))) => {
            ingest.metrics.count(Counter::Accepted, Some(&contract.stream), 1);
            in_time(dead_letter::mark_replayed(&mut transaction, id)).await?;
            in_time(transaction.commit()).await?;
            Ok(Replayed(Receipt::new(None, &letter.topic, acknowledged)))
        }
        (Some(Failure::TooLarge), _) => Err(Error::RecordTooLarge { receipts: Vec::new() }),
        (Some(Failure::Unacknowledged) | None, _) => Err(Error::Unacknowledged { receipts: Vec::new() }),
    }
}

/// The record's headers and the one that makes it a replay, unless it was one already.
fn as_replay(letter: &DeadLetter) -> Vec<RecordHeader> {
    let mut headers = dead_letter::headers_from_json(&letter.headers);
    if !headers.iter().any(|(header, _)| header == event_id::REPLAY) {
        headers.push((event_id::REPLAY.to_owned(), Some(letter.id.to_string().into_bytes())));
    }
    headers
}

fn absent() -> Error {
    Error::not_found("There is no such dead letter.")
}

/// A dead letter that is back on its topic.
#[derive(Debug)]
pub(crate) struct Replayed(Receipt);

impl IntoResponse for Replayed {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            accepted: usize,
            receipts: [&'a Receipt; 1],
        }
        let mut response = json(StatusCode::ACCEPTED, &Body { accepted: 1, receipts: [&self.0] });
        if let Ok(location) = HeaderValue::from_str(self.0.href()) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}

impl IntoResponse for Item {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
