//! The streams and their contracts.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use shared::contract::{BigQuery, Contract, Role, Target};
use shared::http::answer::{List, json};
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
    bigquery: Option<InBigQuery>,
    /// The roles that may post events to the stream. If there are none, only service keys may post events. The stream
    /// `login` is an exception: if it has no roles, no caller may post to it.
    roles: &'c [Role],
    contract: &'c Value,
}

/// Where a stream's events land in BigQuery.
#[derive(Debug, Serialize)]
pub(crate) struct InBigQuery {
    table: Option<String>,
    /// The dataset, in mode `changes`.
    dataset: Option<String>,
    evolve: bool,
    /// The types of the columns, in mode `append` or `upsert`.
    columns: BTreeMap<String, &'static str>,
}

impl From<&BigQuery> for InBigQuery {
    fn from(bigquery: &BigQuery) -> Self {
        let evolve = bigquery.evolve;
        match &bigquery.target {
            Target::Table { table, columns } => {
                let columns = columns.iter().map(|column| (column.column.name.clone(), column.ty.name())).collect();
                Self { table: Some(table.to_string()), dataset: None, evolve, columns }
            }
            Target::Dataset { project, dataset } => {
                let project = project.as_ref().map_or_else(String::new, |project| format!("{project}."));
                Self { table: None, dataset: Some(project + dataset), evolve, columns: BTreeMap::new() }
            }
        }
    }
}

impl<'c> From<&'c Contract> for Stream<'c> {
    fn from(contract: &'c Contract) -> Self {
        Self {
            stream: &contract.stream,
            topic: &contract.topic,
            partitions: contract.partitions,
            mode: contract.mode_name(),
            table: contract.landing().map(|landing| format!("{}.{}", landing.table.schema, landing.table.name)),
            bigquery: contract.bigquery.as_ref().map(InBigQuery::from),
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

/// Returns the contract of a stream. If there is no such stream, the error suggests a similar one for which `visible`
/// returns true.
pub(crate) fn contract<'i>(
    ingest: &'i Ingest,
    stream: &str,
    visible: impl Fn(&Contract) -> bool,
) -> Result<&'i Arc<Contract>, Error> {
    ingest.registry.stream(stream).ok_or_else(|| {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_that_also_lands_in_bigquery_says_where_and_with_which_columns() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/contracts/user-event.json");
        let mut contract: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        contract["x-sluice"]["bigquery"] = json!({
            "table": "shop.user_events",
            "columns": {
                "id": {"from": "/id", "type": "uuid"},
                "datetime": {"from": "/datetime", "type": "timestamp"},
                "kafka_offset": {"meta": "offset", "type": "bigint"}
            }
        });
        let contract = Contract::compile(Path::new("user-event.json"), contract.to_string().as_bytes()).unwrap();
        let shown = serde_json::to_value(Stream::from(&contract)).unwrap();
        let expected = json!({
            "table": "shop.user_events", "dataset": null, "evolve": false,
            "columns": {"datetime": "DATETIME", "id": "STRING", "kafka_offset": "INT64"}
        });
        assert_eq!((&shown["bigquery"], &shown["table"]), (&expected, &json!("public.user_events")));
    }
}
