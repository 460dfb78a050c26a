//! Decodes request bodies within the limits and splits them into events. This module uses only `error`, `event_error`
//! and `header_value`. `routes` reads bodies with this module, and `check` reads the events one by one.
//!
//! - `media_type`: the kind of body, by its `Content-Type`
//! - `decode`: receives and decompresses the body
//! - `posted`: the events of one request; `split` finds them in the body
//! - `cloud_event`, `form`: turn a CloudEvent or a form into an event
//! - `attributes`: the rules for a CloudEvent's attributes
//! - `event`: one event, or why it cannot be read

mod attributes;
mod cloud_event;
mod decode;
mod event;
mod form;
mod media_type;
mod posted;
mod split;

use axum::body::Body;
use axum::http::HeaderMap;
use shared::contract::Contract;
use shared::http::fields::Fields;

pub(crate) use self::event::{PostedEvent, Unreadable};
use self::media_type::MediaType;
pub(crate) use self::posted::PostedEvents;
pub(crate) use self::split::MAX_EVENTS;
use crate::error::Error;

/// Reads the events posted to a stream.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<PostedEvents, Error> {
    const ACCEPTED: &str = "application/json, application/x-ndjson, application/cloudevents+json and \
                            application/cloudevents-batch+json";
    let kind = MediaType::from_headers(headers, ACCEPTED)?;
    if kind == MediaType::Form {
        return Err(Error::MediaType { accepted: ACCEPTED });
    }
    let body = decode::decoded(headers, body).await?;
    PostedEvents::new(kind, headers, body)
}

/// Reads the events posted to an entity's route, which also accepts a form. If the query has fields, they are the
/// event, and the body must be empty.
pub(crate) async fn read_entity(
    headers: &HeaderMap,
    query: Fields,
    body: Body,
    contract: &Contract,
) -> Result<PostedEvents, Error> {
    const ACCEPTED: &str = "application/json, application/x-www-form-urlencoded, application/x-ndjson, \
                            application/cloudevents+json and application/cloudevents-batch+json";
    let kind = MediaType::from_headers(headers, ACCEPTED)?;
    let body = decode::decoded(headers, body).await?;
    let from_fields = |fields| form::event(fields, contract).map(PostedEvents::single);
    match query {
        query if query.is_empty() => {}
        query if body.is_empty() => return from_fields(query),
        _ => return Err(Error::malformed("The body already contains the command, so the query must not contain one.")),
    }
    if kind == MediaType::Form {
        return from_fields(Fields::parse(&body)?);
    }
    PostedEvents::new(kind, headers, body)
}

#[cfg(test)]
mod tests;
