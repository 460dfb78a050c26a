//! What can be done, by path and method.

use serde_json::{Map, Value, json};
use shared::contract::{Contract, Entity};

use super::users::open;
use super::{schema, schemas};
use crate::entities::parameter;

/// The paths that do not depend on the contracts.
pub(super) fn fixed() -> Map<String, Value> {
    let id = || path_parameter("id", json!({"type": "integer", "minimum": 1}));
    let number = || json!({"type": "integer", "minimum": 0});
    let topic = json!({"name": "topic", "in": "query", "schema": {"type": "string"}});
    let mut replay = operation("dead letters", "replayDeadLetter", "Puts a dead letter back on its topic", &[id()]);
    replay["responses"] = json!({
        "202": shared_response("Accepted"),
        "default": shared_response("Problem"),
        "503": shared_response("Unavailable")
    });
    let paths = [
        (
            "/receipts/{topic}/{partition}/{offset}",
            json!({"get": with_ok(
                operation("events", "getReceipt", "What became of an event", &[
                    path_parameter("topic", json!({"type": "string"})),
                    path_parameter("partition", number()),
                    path_parameter("offset", number()),
                ]),
                schema("Fate"),
            )}),
        ),
        ("/submit/{n}", json!({"get": submit("getSubmit"), "post": submit("submit")})),
        ("/report", json!({"get": report()})),
        (
            "/dead-letters",
            json!({"get": with_ok(
                operation("dead letters", "listDeadLetters", "Events that could not be written", &paged(vec![topic])),
                list_of(schema("DeadLetter")),
            )}),
        ),
        (
            "/dead-letters/{id}",
            json!({"get": with_ok(
                operation("dead letters", "getDeadLetter", "One dead letter", &[id()]),
                schema("DeadLetter"),
            )}),
        ),
        ("/dead-letters/{id}/replay", json!({ "post": replay })),
        (
            "/streams",
            json!({"get": with_ok(
                operation("events", "listStreams", "The streams and their contracts", &paged(vec![])),
                list_of(schema("Stream")),
            )}),
        ),
        (
            "/streams/{stream}",
            json!({"get": with_ok(
                operation("events", "getStream", "One stream and its contract", &[
                    path_parameter("stream", json!({"type": "string"})),
                ]),
                schema("Stream"),
            )}),
        ),
        (
            "/health",
            json!({"get": with_ok(
                open(operation("service", "getHealth", "Whether broker and database answer", &[])),
                schema("Health"),
            )}),
        ),
        (
            "/openapi.json",
            json!({"get": with_ok(
                open(operation("service", "getOpenApi", "This document", &[])),
                json!({"type": "object"}),
            )}),
        ),
    ];
    paths.into_iter().map(|(path, item)| (path.to_owned(), item)).collect()
}

fn submit(id: &str) -> Value {
    let number = path_parameter("n", json!({"type": "integer", "minimum": 1, "maximum": 10000}));
    let parameters = [number, shared_parameter("Prefer")];
    let mut submit = operation("events", id, "Sends random user events", &parameters);
    submit["responses"] = accepted();
    submit
}

/// The function `report` answers it.
fn report() -> Value {
    let time = |name: &str, description: &str| json!({"name": name, "in": "query", "description": description, "schema": {"type": "string"}});
    const FORM: &str = "A date, a time such as 2019-05-07T19:54:13.563, or one with an offset, which is taken to UTC.";
    let parameters = [
        json!({"name": "by", "in": "query", "schema": {"enum": ["city", "country", "hour"], "default": "city"}}),
        time("from", &format!("Events before this time are left out. {FORM}")),
        time("to", &format!("Events from this time on are left out. {FORM}")),
    ];
    let stats = json!({
        "type": "object",
        "required": ["timestamp", "stats"],
        "properties": {
            "timestamp": {"type": "string", "format": "date-time"},
            "stats": {"type": "object", "additionalProperties": {"type": "integer"}}
        }
    });
    let mut report = with_ok(operation("reports", "getReport", "User events, counted", &parameters), stats);
    report["responses"]["200"]["content"]["text/html"] = json!({"schema": {"type": "string"}});
    report
}

/// `POST /events/{stream}`.
pub(super) fn post_events(contract: &Contract) -> Value {
    let event = schema(&contract.stream);
    let batch = |event: &Value| json!({"type": "array", "minItems": 1, "maxItems": 10000, "items": event});
    let cloud_event = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
            "type": {"type": "string", "minLength": 1},
            "datacontenttype": {"type": "string"},
            "data": event,
            "data_base64": {"type": "string", "contentEncoding": "base64"}
        },
        "oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}]
    });
    let body = json!({
        "application/json": {"schema": {"anyOf": [event, batch(&event)]}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "An event per line."}},
        "application/cloudevents+json": {"schema": cloud_event},
        "application/cloudevents-batch+json": {"schema": batch(&cloud_event)}
    });
    command(contract, "post", &format!("Events of the stream {}", contract.stream), "events", body)
}

/// `/{stream}` of an entity.
pub(super) fn entity(contract: &Contract, entity: &Entity) -> Value {
    let stream = &contract.stream;
    let body = || {
        json!({
            "application/json": {"schema": schema(stream)},
            "application/x-www-form-urlencoded": {"schema": schema(stream)}
        })
    };
    let key = entity.key.iter().map(|index| {
        let name = parameter(&entity.landing.columns[*index]);
        json!({"name": name, "in": "query", "required": true, "schema": {"type": "string"}})
    });
    json!({
        "get": with_ok(
            operation("entities", &format!("get.{stream}"), &format!("One {stream}"), &key.collect::<Vec<_>>()),
            schema(&schemas::row_name(contract)),
        ),
        "post": command(contract, "create", &format!("Creates a {stream}"), "entities", body()),
        "put": command(contract, "update", &format!("Updates a {stream}"), "entities", body()),
        "delete": command(contract, "delete", &format!("Deletes a {stream}"), "entities", body())
    })
}

/// `/{table}` of an entity.
pub(super) fn table(contract: &Contract, entity: &Entity) -> Value {
    let parent = entity.parent.as_ref().map(|parent| {
        let name = parameter(&entity.landing.columns[parent.column]);
        json!({"name": name, "in": "query", "schema": {"type": "string"}})
    });
    let table = &entity.landing.table.name;
    json!({"get": with_ok(
        operation("entities", &format!("list.{table}"), &format!("All {table}"), &paged(parent.into_iter().collect())),
        list_of(schema(&schemas::row_name(contract))),
    )})
}

fn command(contract: &Contract, verb: &str, summary: &str, tag: &str, body: Value) -> Value {
    let parameters = ["Prefer", "IdempotencyKey", "ContentEncoding"].map(shared_parameter);
    let mut command = operation(tag, &format!("{verb}.{}", contract.stream), summary, &parameters);
    if let Some(description) = contract.document.get("description") {
        command["description"] = description.clone();
    }
    command["requestBody"] = json!({"required": true, "content": body});
    command["responses"] = accepted();
    command
}

fn accepted() -> Value {
    json!({
        "200": shared_response("Written"),
        "202": shared_response("Accepted"),
        "default": shared_response("Problem"),
        "503": shared_response("Unavailable")
    })
}

pub(super) fn operation(tag: &str, id: &str, summary: &str, parameters: &[Value]) -> Value {
    json!({"operationId": id, "tags": [tag], "summary": summary, "parameters": parameters})
}

pub(super) fn with_ok(mut operation: Value, schema: Value) -> Value {
    operation["responses"] = json!({
        "200": {"description": "As asked.", "content": {"application/json": {"schema": schema}}},
        "default": shared_response("Problem"),
        "503": shared_response("Unavailable")
    });
    operation
}

pub(super) fn list_of(item: Value) -> Value {
    json!({
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": {"type": "array", "items": item}, "next": {"type": ["string", "null"]}}
    })
}

pub(super) fn paged(mut parameters: Vec<Value>) -> Vec<Value> {
    parameters.extend(["After", "Limit"].map(shared_parameter));
    parameters
}

pub(super) fn path_parameter(name: &str, schema: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn shared_parameter(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

pub(super) fn shared_response(name: &str) -> Value {
    json!({"$ref": format!("#/components/responses/{name}")})
}
