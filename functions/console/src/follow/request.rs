//! Parses the query of `GET /follow`.

use jiff::Timestamp;
use shared::contract::{Contract, Registry};
use shared::http::fields::Fields;

use super::cursor::Cursor;
use super::wanted::Wanted;
use crate::error::Error;

/// The parameters of the route.
pub(crate) const PARAMETERS: [&str; 9] =
    ["receipt", "stream", "key", "id", "idempotency_key", "since", "until", "after", "limit"];

/// The default length of the time range, and its maximum length.
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A parsed query.
#[derive(Debug)]
pub(super) struct FollowRequest<'r> {
    /// The contract of the stream.
    pub(super) contract: &'r Contract,
    /// The requested events.
    pub(super) sought: Sought,
    /// The maximum number of events in the response.
    pub(super) limit: usize,
}

/// The requested events.
#[derive(Debug)]
pub(super) enum Sought {
    /// The event at this partition and offset.
    Receipt { partition: i32, offset: i64 },
    /// The events with a key or an id, from a position onwards.
    Events { wanted: Wanted, cursor: Cursor },
}

impl<'r> FollowRequest<'r> {
    /// Parses a query.
    ///
    /// # Errors
    /// A parameter is malformed or missing, or there is no such topic or stream.
    pub(super) fn from_query(query: &Fields, registry: &'r Registry, now_ms: i64) -> Result<Self, Error> {
        let limit = query.limit()?.into();
        match query.get("receipt")? {
            Some(receipt) => {
                let others = ["stream", "key", "id", "idempotency_key", "since", "until", "after"];
                if others.iter().any(|name| !matches!(query.get(name), Ok(None))) {
                    return Err(Error::malformed("`receipt` names one event. Leave out the other parameters."));
                }
                let (topic, partition, offset) = receipt_parts(receipt)?;
                let contract =
                    registry.topic(topic).ok_or_else(|| Error::NotFound("No stream has the receipt's topic."))?;
                Ok(Self { contract, sought: Sought::Receipt { partition, offset }, limit })
            }
            None => {
                let stream = query.get("stream")?.ok_or_else(|| {
                    Error::malformed(
                        "Name an event by `receipt`, or by `stream` and one of `key`, `id` and `idempotency_key`.",
                    )
                })?;
                let contract = registry
                    .stream(stream)
                    .ok_or_else(|| Error::NotFound("There is no such stream. `GET /streams` lists the streams."))?;
                let wanted = wanted(query, contract)?;
                let cursor = match query.get("after")? {
                    Some(text) => Cursor::from_text(text)
                        .ok_or_else(|| Error::malformed("`after` must be a cursor from `next`."))?,
                    None => {
                        let (since_ms, until_ms) = times(query, now_ms)?;
                        Cursor { since_ms, until_ms, first: -1, partition: -1, offset: None }
                    }
                };
                Ok(Self { contract, sought: Sought::Events { wanted, cursor }, limit })
            }
        }
    }
}

/// Parses `TOPIC/PARTITION/OFFSET`.
fn receipt_parts(receipt: &str) -> Result<(&str, i32, i64), Error> {
    let mut parts = receipt.split('/');
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = (|| {
        let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && number(partition) && number(offset);
        is_whole.then_some((topic, partition.parse().ok()?, offset.parse().ok()?))
    })();
    parsed.ok_or_else(|| Error::malformed("`receipt` must be TOPIC/PARTITION/OFFSET."))
}

fn wanted(query: &Fields, contract: &Contract) -> Result<Wanted, Error> {
    let given = (query.get("key")?, query.get("id")?, query.get("idempotency_key")?);
    match given {
        (Some(key), None, None) => Ok(Wanted::with_key(contract, key)),
        (None, Some(id), None) => Ok(Wanted::with_id(contract, id)),
        (None, None, Some(key)) => Ok(Wanted::with_idempotency_key(key)),
        _ => Err(Error::malformed("Give one of `key`, `id` and `idempotency_key`.")),
    }
}

/// Returns the start and the end of the time range. The default of `until` is now, or 24 hours after `since` if that is
/// earlier. The default of `since` is one hour before `until`.
fn times(query: &Fields, now_ms: i64) -> Result<(i64, i64), Error> {
    let time = |name: &'static str| {
        let parsed = query.get(name)?.map(|text| text.parse::<Timestamp>().map(Timestamp::as_millisecond));
        parsed
            .transpose()
            .map_err(|_| Error::malformed(format!("`{name}` must be a time such as 2026-11-21T16:00:00Z.")))
    };
    let (since_ms, until_ms) = match (time("since")?, time("until")?) {
        (None, None) => (now_ms - HOUR_MS, now_ms),
        (Some(since_ms), None) => (since_ms, now_ms.min(since_ms.saturating_add(DAY_MS)).max(since_ms)),
        (None, Some(until_ms)) => (until_ms.saturating_sub(HOUR_MS), until_ms),
        (Some(since_ms), Some(until_ms)) => (since_ms, until_ms),
    };
    if since_ms > until_ms || until_ms.saturating_sub(since_ms) > DAY_MS {
        return Err(Error::malformed("`until` must be at or after `since`, and at most 24 hours later."));
    }
    // The times of Kafka's records are not negative.
    Ok((since_ms.max(0), until_ms.max(0)))
}
