//! The streams and their contracts.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::contract::{Contract, Role};
use shared::http::answer::{List, json};
use shared::http::edge::note_stream;
use shared::http::fields::Fields;

use crate::Ingest;
use crate::error::Error;
use crate::similar_stream::similar_stream;

/// A stream in a response.
#[derive(Debug, Serialize)]
pub(crate) struct Stream<'c> {
    stream: &'c str,
    topic: &'c str,
    partitions: i32,
    mode: &'static str,
    table: Option<String>,
    /// The roles that may post its events. If there are none, only service keys may.
    roles: &'c [Role],
    contract: &'c Value,
}

impl<'c> From<&'c Contract> for Stream<'c> {
    fn from(contract: &'c Contract) -> Self {
        Self {
            stream: &contract.stream,
            topic: &contract.topic,
            partitions: contract.partitions,
            mode: contract.mode_name(),
            table: contract.landing().map(|landing| format!("{}.{}", landing.table.schema, landing.table.name)),
            roles: &contract.roles,
            contract: &contract.document,
        }
    }
}

/// Lists the streams by name.
pub(crate) fn list<'i>(ingest: &'i Ingest, query: &Fields) -> Result<List<Stream<'i>>, Error> {
    let (after, limit) = (query.get("after")?.unwrap_or_default(), query.limit()?.into());
    let mut following = ingest.registry.contracts().filter(|contract| contract.stream.as_str() > after);
    let items: Vec<Stream<'_>> = following.by_ref().take(limit).map(|contract| contract.as_ref().into()).collect();
    let next = following.next().and(items.last()).map(|stream| stream.stream.to_owned());
    Ok(List { items, next })
}

/// Returns the contract of a stream. If there is no such stream, the error suggests a similar one that is `visible`.
pub(crate) fn contract<'i>(
    ingest: &'i Ingest,
    stream: &str,
    visible: impl Fn(&Contract) -> bool,
) -> Result<&'i Arc<Contract>, Error> {
    ingest.registry.stream(stream).inspect(|contract| note_stream(&contract.stream)).ok_or_else(|| {
        let visible = ingest.registry.contracts().map(AsRef::as_ref).filter(|contract| visible(contract));
        Error::not_found(match similar_stream(stream, visible) {
            Some(similar) => format!("There is no stream {stream:?}. Did you mean {similar:?}?"),
            None => format!("There is no stream {stream:?}. `GET /streams` lists the streams."),
        })
    })
}

impl IntoResponse for Stream<'_> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
