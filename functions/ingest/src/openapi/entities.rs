//! The operations on entities, derived from their contracts.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::contract::{Column, Contract, Entity, Registry};
use shared::http::problem_type::ProblemType;

use super::events::{command, has_senders};
use super::operation::Operation;
use super::parts::{list_of, media, page_of, paged, query_parameter, schema};
use super::{examples, schemas};
use crate::entities::{self, parameter};

/// Returns the paths of the tables and of the streams. If a stream and a table have the same name, the route belongs to
/// the stream.
pub(super) fn all(registry: &Registry) -> Map<String, Value> {
    let tables = entities::all(registry)
        .map(|(contract, entity)| (format!("/{}", entity.landing.table.name), table(contract, entity)));
    let mut found: Map<String, Value> = tables.collect();
    found.extend(
        entities::all(registry).map(|(contract, entity)| (format!("/{}", contract.stream), stream(contract, entity))),
    );
    found
}

fn stream(contract: &Arc<Contract>, entity: &Entity) -> Value {
    let (stream, example) = (&contract.stream, examples::event(contract));
    let row = examples::row(entity, &example);
    let key = entity.key.iter().map(|&index| {
        let mut key = field(&entity.landing.columns[index], &row, "A field of the key.");
        key["required"] = true.into();
        key
    });
    let get = Operation::new("entities", &format!("get.{stream}"), &format!("One {stream}"))
        .parameters(key.collect())
        .ok(schema(&schemas::row_name(contract)), row.clone())
        .fails(&[ProblemType::NOT_FOUND]);
    let mut item = json!({"get": get.build()});
    let send = |verb: &str, summary: &str| {
        let body = json!({
            "application/json": media(schema(stream), example.clone()),
            "application/x-www-form-urlencoded": media(schema(stream), example.clone())
        });
        command(contract, verb, &format!("{summary} a {stream}"), "entities", body).build()
    };
    if has_senders(contract) {
        item["post"] = send("create", "Creates");
        item["put"] = send("update", "Updates");
        item["delete"] = send("delete", "Deletes");
    }
    item
}

fn table(contract: &Arc<Contract>, entity: &Entity) -> Value {
    let row = examples::row(entity, &examples::event(contract));
    let parent = entity.parent.as_ref().map(|parent| {
        field(&entity.landing.columns[parent.column], &row, "Lists only the entities that belong to this parent.")
    });
    let table = &entity.landing.table.name;
    let get = Operation::new("entities", &format!("list.{table}"), &format!("All {table}"))
        .parameters(paged(parent.into_iter().collect()))
        .ok(list_of(schema(&schemas::row_name(contract))), page_of(row));
    json!({"get": get.build()})
}

fn field(column: &Column, row: &Value, description: &str) -> Value {
    let value = &row[&column.name];
    let example = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    query_parameter(parameter(column), json!({"type": "string"}), example.into(), description)
}
