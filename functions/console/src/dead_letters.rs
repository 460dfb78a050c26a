//! Lists and shows dead letters.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64_simd::STANDARD as BASE64;
use ingest::{Receipt, replay_receipts};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::contract::json as contract_json;
use shared::http::answer::{List, json};
use shared::http::database::in_time;
use shared::http::fields::Fields;
use shared::ledger::dead_letters::{self, DeadLetter};
use shared::ledger::matching::{self, Position};

use crate::Console;
use crate::error::Error;
use crate::filter::FilterParts;

/// The maximum total size of a page's payloads, in bytes. Lambda limits the whole response to 6 MiB.
const PAGE_BYTES: i64 = 2 * 1_024 * 1_024;

/// A dead letter in a response.
#[derive(Debug, Serialize)]
pub(crate) struct DeadLetterItem {
    id: i64,
    /// The stream that uses the topic. `None` if no stream uses the topic any more.
    stream: Option<String>,
    destination: &'static str,
    topic: String,
    partition: i32,
    offset: i64,
    /// The record's time.
    #[serde(rename = "timestamp")]
    timestamp_ms: i64,
    /// When the event became a dead letter.
    rejected_at: Timestamp,
    reason: String,
    error_code: String,
    constraint: Option<Box<str>>,
    table: Option<Box<str>>,
    column: Option<Box<str>>,
    pointer: Option<Box<str>>,
    status: &'static str,
    /// The number of replays of the event, including replays of its earlier dead letters.
    replays: i32,
    /// The id of the letter that was replayed, if this letter is the result of a rejected replay.
    replay_of: Option<i64>,
    note: Option<String>,
    /// The receipt of the letter's replay, if the receipt is known. If that replay was rejected and then replayed, this
    /// is the receipt of the last replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_as: Option<Receipt>,
    headers: Value,
    key: Option<String>,
    /// The key in Base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    /// The event. Text that is not JSON is shown as a string.
    payload: Option<Box<RawValue>>,
    /// The payload in Base64, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl From<DeadLetter> for DeadLetterItem {
    fn from(letter: DeadLetter) -> Self {
        let (key, key_base64) = text_or_base64(letter.key);
        let is_json = contract_json::parse(&letter.payload).is_ok();
        let (payload, payload_base64) = text_or_base64(Some(letter.payload));
        let payload = payload.map(|text| if is_json { text } else { Value::String(text).to_string() });
        Self {
            id: letter.id,
            stream: None,
            destination: letter.destination.name(),
            topic: letter.topic,
            partition: letter.partition,
            offset: letter.offset,
            timestamp_ms: letter.record_timestamp_ms,
            rejected_at: letter.rejected_at,
            reason: letter.rejection.reason,
            error_code: letter.rejection.code,
            constraint: letter.rejection.constraint,
            table: letter.rejection.table,
            column: letter.rejection.column,
            pointer: letter.rejection.pointer,
            status: letter.status.name(),
            replays: letter.replays,
            replay_of: letter.replay_of,
            note: letter.note,
            replayed_as: None,
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

/// Lists the dead letters that match the query's filter.
pub(crate) async fn list(console: &Console, query: &Fields) -> Result<List<DeadLetterItem>, Error> {
    let filter = FilterParts::from_query(query)?.resolve(&console.ingest.registry)?;
    let after = query.get("after")?.map(position).transpose()?;
    let limit = query.limit()?.into();
    let page = in_time(matching::list(&console.ingest.pool, &filter, after, limit, PAGE_BYTES)).await?;
    let next = page.next.map(|Position { created_us, id }| format!("{created_us}-{id}"));
    Ok(List { items: items(console, page.letters).await?, next })
}

/// Reads a list's cursor.
fn position(cursor: &str) -> Result<Position, Error> {
    let parts = cursor.split_once('-').and_then(|(us, id)| Some((us.parse().ok()?, id.parse().ok()?)));
    let (created_us, id) = parts.ok_or_else(|| Error::malformed("`after` must be a cursor from `next`."))?;
    Ok(Position { created_us, id })
}

/// Returns one dead letter.
pub(crate) async fn find(console: &Console, id: &str) -> Result<DeadLetterItem, Error> {
    let id: i64 = id.parse().map_err(|_| no_such_letter())?;
    let letter = in_time(dead_letters::find(&console.ingest.pool, id)).await?.ok_or_else(no_such_letter)?;
    items(console, vec![letter]).await?.pop().ok_or_else(no_such_letter)
}

/// Converts letters, and looks up the receipts of their replays.
async fn items(console: &Console, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetterItem>, Error> {
    let places = letters.iter().filter_map(|letter| letter.replayed_as.clone()).collect();
    let mut replays = replay_receipts(&console.ingest, places).await?.into_iter();
    let item = |letter: DeadLetter| {
        let replayed_as = letter.replayed_as.as_ref().and_then(|_| replays.next());
        let stream = console.ingest.registry.topic(&letter.topic).map(|contract| contract.stream.clone());
        DeadLetterItem { stream, replayed_as, ..DeadLetterItem::from(letter) }
    };
    Ok(letters.into_iter().map(item).collect())
}

/// `404`: the id belongs to no dead letter.
pub(crate) fn no_such_letter() -> Error {
    Error::NotFound("There is no such dead letter.")
}

impl IntoResponse for DeadLetterItem {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
