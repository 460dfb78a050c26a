//! Examples of requests and responses.

use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use random_events::RandomEvents;
use serde_json::{Map, Value, json};
use shared::contract::{Contract, Entity, Source};
use shared::process::clock::Clock;

use crate::streams::Stream;

/// 2026-05-07T19:54:13.563Z, in milliseconds since the Unix epoch.
const TIME_MS: i64 = 1_778_183_653_563;

/// Returns an event of a stream: the contract's first valid example, or else an event generated from a fixed seed.
pub(super) fn event(contract: &Arc<Contract>) -> Value {
    let listed = contract.document.get("examples").and_then(Value::as_array).into_iter().flatten();
    let is_valid = |event: &&Value| contract.check(&[], event, None, &mut Vec::new()).is_ok();
    if let Some(event) = listed.clone().find(is_valid) {
        return event.clone();
    }
    let mut events = RandomEvents::new(Arc::clone(contract), Clock::fixed(TIME_MS));
    events.event(&mut StdRng::seed_from_u64(0)).unwrap_or_default()
}

/// Returns the row that an entity's event would become.
pub(super) fn row(entity: &Entity, event: &Value) -> Value {
    let value = |source: &Source| match source {
        Source::Event(pointer) => pointer.get(event).cloned().unwrap_or_default(),
        Source::Meta(_) => Value::Null,
    };
    let columns = entity.landing.columns.iter().map(|column| (column.name.clone(), value(&column.from)));
    columns.collect::<Map<_, _>>().into()
}

pub(super) fn receipt(topic: &str) -> Value {
    json!({
        "topic": topic, "partition": 2, "offset": 17, "timestamp": TIME_MS, "href": format!("/receipts/{topic}/2/17")
    })
}

pub(super) fn written_receipt(topic: &str) -> Value {
    let mut receipt = receipt(topic);
    receipt["status"] = json!("written");
    receipt
}

pub(super) fn rejected_receipt() -> Value {
    let mut receipt = receipt("city");
    receipt["status"] = json!("rejected");
    receipt["reason"] = json!("already exists");
    receipt
}

pub(super) fn event_error() -> Value {
    json!({"index": 0, "pointer": "/coordinates/0", "detail": "must be at most 90"})
}

pub(super) fn field_error() -> Value {
    json!({"pointer": "/pass", "detail": "must be 8 to 256 characters long"})
}

pub(super) fn receipt_status() -> Value {
    json!({"topic": "routes", "partition": 2, "offset": 17, "status": "written"})
}

pub(super) fn gap() -> Value {
    json!({
        "destination": "postgresql", "topic": "routes", "partition": 2, "first_offset": 100, "last_offset": 250,
        "cause": "retention", "is_exact": true, "noted_at": "2026-05-07T19:54:13.563Z"
    })
}

pub(super) fn dead_letter() -> Value {
    json!({
        "id": 7, "stream": "city", "destination": "postgresql", "topic": "city", "partition": 2, "offset": 17,
        "timestamp": TIME_MS, "rejected_at": "2026-05-07T19:54:14.102Z",
        "reason": "already exists", "error_code": "already_exists",
        "constraint": null, "table": null, "column": null, "pointer": null, "status": "open",
        "replays": 0, "replay_of": null, "note": null,
        "headers": [{"name": "sluice-user", "value": "ann"}], "key": "[\"Iran\",\"Alvand\"]",
        "payload": {"country": "Iran", "name": "Alvand"}
    })
}

pub(super) fn dead_letter_group() -> Value {
    json!({
        "stream": "city", "topic": "city", "error_code": "already_exists",
        "reason": "already exists", "count": 2,
        "first_at": "2026-05-07T19:54:13Z", "last_at": "2026-05-07T19:55:02Z", "sample_id": 7
    })
}

pub(super) fn replay_run() -> Value {
    json!({
        "id": 7, "count": 2, "replayed": 1, "skipped": 0, "skip_reasons": {}, "status": "running", "href": "/dead-letters/replays/7",
        "created_by": "ann", "created_at": "2026-05-07T19:54:13Z", "finished_at": null,
        "filter": {"stream": "city", "status": "open"}, "force": false
    })
}

pub(super) fn audit_entry() -> Value {
    json!({
        "id": 7, "at": "2026-05-07T19:54:13Z", "user": "ann", "action": "replayed", "object": "dead-letters/17",
        "detail": {}
    })
}

pub(super) fn activity() -> Value {
    let minute = json!({
        "minute": "2026-05-07T19:54:00Z", "accepted": 12, "written": 10, "duplicate": 1, "superseded": 0, "waiting": 0,
        "released": 0, "rejected": 1, "tombstones": 0, "replays": 0, "lag_ms": 640
    });
    json!({
        "stream": "city", "topic": "city", "destination": "postgresql", "lag_events": 0, "lag_seconds": 0.0,
        "oldest_waiting_at": null, "open_dead_letters": 1, "minutes": [minute]
    })
}

pub(super) fn followed_event() -> Value {
    json!({
        "topic": "city", "partition": 2, "offset": 17, "accepted_at": "2026-05-07T19:54:13.563Z", "user": "ann",
        "trace_id": null, "headers": [{"name": "sluice-user", "value": "ann"}], "key": "[\"Iran\",\"Alvand\"]",
        "payload": {"country": "Iran", "name": "Alvand"}, "status": "written", "reason": null,
        "landed_at": "2026-05-07T19:54:00Z", "row": {"country": "Iran", "name": "Alvand"}, "dead_letter": null
    })
}

/// Returns a stream with only a part of its contract. The whole contract may contain references, and tools would try to
/// resolve these references in the OpenAPI document.
pub(super) fn stream(contract: &Contract) -> Value {
    let mut stream = serde_json::to_value(Stream::from(contract)).unwrap_or_default();
    stream["contract"] = json!({"title": contract.document["title"], "x-sluice": contract.document["x-sluice"]});
    stream
}

pub(super) fn health() -> Value {
    json!({"status": "ok", "broker": "ok", "database": "ok", "stalled": []})
}

pub(super) fn key() -> Value {
    json!({
        "id": 7, "name": "checkout service", "user": "ann", "streams": ["*"], "prefix": "slk_3pXlAFhr",
        "created": "2026-05-07T19:54:13.563Z", "expires": null, "last_used": null
    })
}
