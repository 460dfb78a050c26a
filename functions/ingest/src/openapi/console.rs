//! The operations of the function `console`.

use serde_json::{Map, Value, json};
use shared::http::problem_type::ProblemType;

use super::console_schemas::{filter_members, stream_activity};
use super::examples;
use super::operation::Operation;
use super::parts::{list_of, media, page_of, paged, path_parameter, paths, query_parameter, schema, shared_parameter};

/// Returns the paths.
pub(super) fn all() -> Map<String, Value> {
    paths([
        ("/activity", json!({"get": activity()})),
        ("/audit", json!({"get": audit()})),
        ("/dead-letters", json!({"get": list()})),
        ("/dead-letters/discard", json!({"post": discard()})),
        ("/dead-letters/groups", json!({"get": groups()})),
        ("/dead-letters/replays", json!({"get": runs(), "post": create_run()})),
        ("/dead-letters/replays/{id}", json!({"get": run("getReplayRun", "One run of replays").build()})),
        (
            "/dead-letters/replays/{id}/cancel",
            json!({"post": run("cancelReplayRun", "Cancels a run of replays").changes().build()}),
        ),
        ("/dead-letters/{id}", json!({"get": get()})),
        ("/dead-letters/{id}/replay", json!({"post": replay()})),
        ("/follow", json!({"get": follow()})),
    ])
}

fn operation(id: &str, summary: &str) -> Operation {
    Operation::new("dead letters", id, summary)
}

fn id() -> Value {
    path_parameter("id", json!({"type": "integer", "minimum": 1}), json!(7))
}

fn list() -> Value {
    operation("listDeadLetters", "Events that could not be written")
        .parameters(paged(filters()))
        .ok(list_of(schema("DeadLetter")), page_of(examples::dead_letter()))
        .build()
}

fn groups() -> Value {
    operation("listDeadLetterGroups", "Dead letters by stream, error code and reason, most frequent first")
        .parameters(paged(filters()))
        .ok(list_of(schema("DeadLetterGroup")), page_of(examples::dead_letter_group()))
        .build()
}

fn get() -> Value {
    operation("getDeadLetter", "One dead letter")
        .parameters(vec![id()])
        .ok(schema("DeadLetter"), examples::dead_letter())
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

fn replay() -> Value {
    let force = query_parameter(
        "force",
        json!({"type": "boolean", "default": false}),
        json!(false),
        "Replays the letter even if a later event with the same key may have been applied.",
    );
    let edited = json!({
        "type": "object",
        "required": ["event"],
        "additionalProperties": false,
        "properties": {"event": {"description": "An edited event. It is checked, and is sent instead of the letter's event."}}
    });
    let example = json!({"event": {"country": "Iran", "name": "Alvand"}});
    let body = json!({"required": false, "content": {"application/json": media(edited, example)}});
    operation("replayDeadLetter", "Replays a dead letter")
        .changes()
        .parameters(vec![id(), force, shared_parameter("Prefer")])
        .body(Value::Null)
        .with("requestBody", body)
        .accepts("city")
        .fails(&[
            ProblemType::NOT_FOUND,
            ProblemType::NOT_REPLAYABLE,
            ProblemType::TOO_LARGE,
            ProblemType::REJECTED,
            ProblemType::CONTRACT,
        ])
        .build()
}

fn discard() -> Value {
    let body = json!({
        "type": "object",
        "required": ["filter"],
        "additionalProperties": false,
        "properties": {
            "filter": schema("DeadLetterFilter"),
            "note": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "Why the letters are discarded. Required unless dry_run is true."},
            "dry_run": dry_run()
        }
    });
    let example =
        json!({"filter": {"stream": "city", "error_code": "already_exists"}, "note": "sent twice by mistake"});
    let discarded = json!({
        "type": "object",
        "required": ["count"],
        "properties": {
            "count": {"type": "integer", "minimum": 0},
            "left": {
                "type": "integer", "minimum": 0,
                "description": "How many matching letters are still open, because the time ran out or because they were being replayed."
            }
        }
    });
    operation("discardDeadLetters", "Discards the matching open letters")
        .changes()
        .body(json!({"application/json": media(body, example)}))
        .ok(discarded, json!({"count": 2, "left": 0}))
        .build()
}

fn runs() -> Value {
    operation("listReplayRuns", "Runs of replays, newest first")
        .parameters(paged(Vec::new()))
        .ok(list_of(schema("ReplayRun")), page_of(examples::replay_run()))
        .build()
}

fn run(id_of_operation: &str, summary: &str) -> Operation {
    operation(id_of_operation, summary)
        .parameters(vec![id()])
        .ok(schema("ReplayRun"), examples::replay_run())
        .fails(&[ProblemType::NOT_FOUND])
}

fn create_run() -> Value {
    let body = json!({
        "type": "object",
        "required": ["filter"],
        "additionalProperties": false,
        "properties": {
            "filter": schema("DeadLetterFilter"),
            "dry_run": dry_run(),
            "force": {
                "type": "boolean", "default": false,
                "description": "Also replays letters whose event was already replayed three times, and letters whose keys have, or may have, later events."
            }
        }
    });
    let count =
        json!({"type": "object", "required": ["count"], "properties": {"count": {"type": "integer", "minimum": 0}}});
    let created = media(schema("ReplayRun"), examples::replay_run());
    operation("createReplayRun", "Replays the matching open letters or, with dry_run, only counts them")
        .changes()
        .body(json!({"application/json": media(body, json!({"filter": {"stream": "city"}, "dry_run": true}))}))
        .ok(count, json!({"count": 2}))
        .answers("202", json!({"description": "The run was created.", "content": {"application/json": created}}))
        .build()
}

fn audit() -> Value {
    Operation::new("service", "listAudit", "Who replayed, discarded, unblocked, deleted or created what, newest first")
        .parameters(paged(Vec::new()))
        .ok(list_of(schema("AuditEntry")), page_of(examples::audit_entry()))
        .build()
}

fn activity() -> Value {
    let minutes = query_parameter(
        "minutes",
        json!({"type": "integer", "minimum": 1, "maximum": 1440, "default": 60}),
        json!(60),
        "How many minutes to look back.",
    );
    Operation::new("service", "getActivity", "What happened to each stream, minute by minute")
        .parameters(vec![minutes])
        .ok(list_of(stream_activity()), page_of(examples::activity()))
        .build()
}

fn follow() -> Value {
    let text = |name, example: &str, description| {
        query_parameter(name, json!({"type": "string"}), json!(example), description)
    };
    let time = |name, description| {
        let schema = json!({"type": "string", "format": "date-time"});
        query_parameter(name, schema, json!("2026-05-07T19:54:13Z"), description)
    };
    let parameters = vec![
        text(
            "receipt",
            "city/2/17",
            "One event, as TOPIC/PARTITION/OFFSET. A request without a receipt needs stream and exactly one of these parameters: key, id, idempotency_key.",
        ),
        text("stream", "city", "The stream of the events."),
        text("key", "[\"Iran\",\"Alvand\"]", "The key of the events' records."),
        text("id", "order-4711", "The event's id: the value in the stream's dedupe column, or the id of a CloudEvent."),
        text(
            "idempotency_key",
            "order-4711",
            "The Idempotency-Key of the request. The key of a batch finds all of its events.",
        ),
        time("since", "The start of the time range. The default is one hour before its end."),
        time(
            "until",
            "The end of the time range, at most 24 hours after its start. The default is now, or 24 hours after the start if that is earlier.",
        ),
    ];
    Operation::new("events", "follow", "What happened to events")
        .parameters(paged(parameters))
        .ok(list_of(schema("FollowedEvent")), page_of(examples::followed_event()))
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

fn dry_run() -> Value {
    json!({"type": "boolean", "default": false, "description": "Only counts the matching letters."})
}

/// Returns the parameters that filter dead letters.
fn filters() -> Vec<Value> {
    let parameter = |(name, mut schema): (String, Value)| {
        let example = match name.as_str() {
            "ids" => {
                schema = json!({"type": "string", "description": "Up to 1,000 ids, separated by commas."});
                json!("17,18")
            }
            "stream" | "topic" => json!("city"),
            "error_code" => json!("already_exists"),
            "reason" => json!("already exists"),
            "contains" => json!("Alvand"),
            "status" => json!("open"),
            _ => json!("2026-05-07T19:54:13Z"),
        };
        json!({"name": name, "in": "query", "schema": schema, "example": example})
    };
    filter_members().into_iter().map(parameter).collect()
}
