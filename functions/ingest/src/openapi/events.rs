//! The operations on events: sending them, and finding out what happened to them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::contract::{Contract, Registry};
use shared::http::problem_type::ProblemType;

use super::examples;
use super::operation::Operation;
use super::parts::{list_of, media, page_of, paged, path_parameter, paths, query_parameter, schema, shared_parameter};
use crate::submit;

/// Returns the paths.
pub(super) fn all(registry: &Registry) -> Map<String, Value> {
    let mut found = paths([
        ("/receipts/{topic}/{partition}/{offset}", json!({"get": receipt()})),
        ("/receipts", json!({"get": receipts()})),
        ("/gaps", json!({"get": gaps()})),
        ("/streams", json!({"get": streams(registry)})),
        ("/streams/{stream}", json!({"get": stream(registry)})),
    ]);
    if let Some(contract) = registry.stream(submit::STREAM) {
        let item = json!({"get": submit(contract, "getSubmit"), "post": submit(contract, "submit")});
        found.insert("/submit/{n}".to_owned(), item);
    }
    for contract in registry.contracts().filter(|contract| has_senders(contract)) {
        found.insert(format!("/events/{}", contract.stream), json!({"post": post(contract)}));
    }
    found
}

fn receipt() -> Value {
    let number = || json!({"type": "integer", "minimum": 0});
    Operation::new("events", "getReceipt", "The status of an event")
        .with_key()
        .parameters(vec![
            path_parameter("topic", json!({"type": "string"}), json!("routes")),
            path_parameter("partition", number(), json!(2)),
            path_parameter("offset", number(), json!(17)),
        ])
        .ok(schema("EventStatus"), json!({"status": "written"}))
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

fn receipts() -> Value {
    let mut ids = query_parameter(
        "ids",
        json!({"type": "string"}),
        json!("routes/2/17,routes/0/4"),
        "Up to 100 receipts, as TOPIC/PARTITION/OFFSET, separated by commas.",
    );
    ids["required"] = true.into();
    Operation::new("events", "listReceipts", "The statuses of several events")
        .with_key()
        .parameters(vec![ids])
        .ok(list_of(schema("ReceiptStatus")), page_of(examples::receipt_status()))
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

fn gaps() -> Value {
    Operation::new("events", "listGaps", "Offsets that Kafka no longer had when `consume` needed them")
        .parameters(paged(vec![]))
        .ok(list_of(schema("Gap")), page_of(examples::gap()))
        .build()
}

fn streams(registry: &Registry) -> Value {
    let items: Vec<Value> = registry.contracts().take(1).map(|contract| examples::stream(contract)).collect();
    Operation::new("events", "listStreams", "The streams and their contracts")
        .parameters(paged(vec![]))
        .ok(list_of(schema("Stream")), json!({"items": items, "next": null}))
        .build()
}

fn stream(registry: &Registry) -> Value {
    let example = registry.contracts().next().map(|contract| examples::stream(contract)).unwrap_or_default();
    Operation::new("events", "getStream", "One stream and its contract")
        .parameters(vec![path_parameter("stream", json!({"type": "string"}), example["stream"].clone())])
        .ok(schema("Stream"), example)
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

/// Returns an operation of `/submit/{n}`. `GET` also sends events, for older clients.
fn submit(contract: &Contract, id: &str) -> Value {
    let number = json!({"type": "integer", "minimum": 1, "maximum": 10000});
    Operation::new("events", id, "Sends random user events")
        .with_key()
        .changes()
        .parameters(vec![
            path_parameter("n", number, json!(10)),
            shared_parameter("Prefer"),
            shared_parameter("Traceparent"),
        ])
        .accepts(&contract.topic)
        .fails(&[ProblemType::TOO_LARGE, ProblemType::NUMBER, ProblemType::REJECTED])
        .build()
}

/// Returns `POST /events/{stream}`.
fn post(contract: &Arc<Contract>) -> Value {
    let (event, example) = (schema(&contract.stream), examples::event(contract));
    let batch = |event: &Value| json!({"type": "array", "minItems": 1, "maxItems": 10000, "items": event});
    let cloud_event = cloud_event(&event);
    let wrapped = json!({
        "specversion": "1.0", "id": "4711", "source": "/shop", "type": contract.stream, "data": example
    });
    let body = json!({
        "application/json": {
            "schema": {"anyOf": [event, batch(&event)]},
            "examples": {"event": {"value": example}, "batch": {"value": [example]}}
        },
        "application/x-ndjson": media(
            json!({"type": "string", "description": "An event per line."}),
            format!("{example}\n").into(),
        ),
        "application/cloudevents+json": media(cloud_event.clone(), wrapped.clone()),
        "application/cloudevents-batch+json": media(batch(&cloud_event), json!([wrapped]))
    });
    command(contract, "post", &format!("Events of the stream {}", contract.stream), "events", body).build()
}

fn cloud_event(event: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1},
            "source": {"type": "string", "minLength": 1, "format": "uri-reference"},
            "type": {"type": "string", "minLength": 1},
            "datacontenttype": {"type": "string", "minLength": 1},
            "dataschema": {"type": "string", "minLength": 1, "format": "uri"},
            "subject": {"type": "string", "minLength": 1},
            "time": {"type": "string", "format": "date-time"},
            "data": event,
            "data_base64": {"type": "string", "contentEncoding": "base64"}
        },
        "oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}]
    })
}

/// Returns whether users or service keys may post to a stream. If not, only Sluice itself writes to it.
pub(super) fn has_senders(contract: &Contract) -> bool {
    !contract.roles.is_empty() || contract.stream != Contract::LOGIN
}

/// Creates an operation that sends events of a stream.
pub(super) fn command(contract: &Contract, verb: &str, summary: &str, tag: &str, body: Value) -> Operation {
    let parameters =
        ["ValidateOnly", "Prefer", "IdempotencyKey", "Traceparent", "ContentEncoding"].map(shared_parameter);
    let command = Operation::new(tag, &format!("{verb}.{}", contract.stream), summary);
    let command = if contract.roles.is_empty() { command.key_only() } else { command.with_key() };
    let command = match contract.document.get("description") {
        Some(description) => command.with("description", description.clone()),
        None => command,
    };
    command.changes().parameters(parameters.to_vec()).body(body).accepts(&contract.topic).or_validates().fails(&[
        ProblemType::CONTRACT,
        ProblemType::EMPTY,
        ProblemType::REJECTED,
    ])
}
