//! The streams and their contracts.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::contract::Contract;

use crate::Ingest;
use crate::error::Error;
use shared::http::answer::{List, json};
use shared::http::fields::Fields;

/// A stream as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Stream<'c> {
    stream: &'c str,
    topic: &'c str,
    partitions: i32,
    mode: &'static str,
    table: Option<String>,
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

/// The contract of a stream.
pub(crate) fn contract<'i>(ingest: &'i Ingest, stream: &str) -> Result<&'i Contract, Error> {
    let contract = ingest.registry.stream(stream).ok_or_else(|| Error::not_found("There is no such stream."))?;
    Ok(contract)
}

impl IntoResponse for Stream<'_> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
