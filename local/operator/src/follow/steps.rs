//! Formats the steps of an event as text.

use std::fmt::Write as _;

use serde_json::Value;

/// The width, in characters, of the column with the steps' names.
const WIDTH: usize = 12;

/// Formats an item of `GET /follow`: a line with the event's topic, partition and offset, and a line for each step.
pub(super) fn steps(item: &Value) -> String {
    let mut out = format!("{}\n", place(item));
    step(&mut out, "accepted", accepted(item).as_deref());
    step(&mut out, "key", item["key"].as_str());
    step(&mut out, "event", event(item).as_deref());
    step(&mut out, item["status"].as_str().unwrap_or("unknown"), Some(&outcome(item)));
    step(&mut out, "row", shown(&item["row"]).as_deref());
    step(&mut out, "dead letter", dead_letter(&item["dead_letter"]).as_deref());
    out
}

/// Returns the receipt of the event's replay, if there is one.
pub(super) fn replayed_as(item: &Value) -> Option<String> {
    let replay = item.get("dead_letter")?.get("replayed_as")?;
    replay.is_object().then(|| place(replay))
}

fn place(item: &Value) -> String {
    format!("{}/{}/{}", item["topic"].as_str().unwrap_or("?"), item["partition"], item["offset"])
}

fn step(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        // Writing to a string cannot fail.
        let _infallible = writeln!(out, "  {name:WIDTH$}{text}");
    }
}

fn accepted(item: &Value) -> Option<String> {
    let mut text = item["accepted_at"].as_str().unwrap_or("Kafka no longer has the event").to_owned();
    if let Some(user) = item["user"].as_str() {
        text += &format!(", sent by {user}");
    }
    if let Some(trace) = item["trace_id"].as_str() {
        text += &format!(", trace {trace}");
    }
    Some(text)
}

fn event(item: &Value) -> Option<String> {
    let text = shown(&item["payload"]).or_else(|| Some(format!("base64 {}", item["payload_base64"].as_str()?)))?;
    Some(if item["payload_truncated"] == true { format!("{text} (cut at 64 KB)") } else { text })
}

/// Describes the event's outcome, and when the event landed.
fn outcome(item: &Value) -> String {
    let text = match item["status"].as_str() {
        Some("pending") => "it has not been applied yet",
        Some("waiting") => "its parent has not arrived yet",
        Some("written") => "its row was written",
        Some("duplicate") => "it repeats an event that landed before",
        Some("superseded") => "its row already had a higher version",
        Some("rejected") => item["reason"].as_str().unwrap_or("it could not be written"),
        Some("lost") => item["reason"].as_str().unwrap_or("Kafka no longer had it when `consume` needed it"),
        _ => "",
    };
    match item["landed_at"].as_str() {
        Some(landed_at) => format!("{text}, at {landed_at} (to the minute)"),
        None => text.to_owned(),
    }
}

fn dead_letter(letter: &Value) -> Option<String> {
    letter.is_object().then(|| {
        let replay = match letter.get("replayed_as").filter(|replay| replay.is_object()) {
            Some(replay) => format!(", as {}", place(replay)),
            None => String::new(),
        };
        let code = letter["error_code"].as_str().unwrap_or("?");
        format!("{} ({code}): {}{replay}", letter["id"], letter["status"].as_str().unwrap_or("?"))
    })
}

/// Formats a value on one line. Returns `None` for null.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_written_event_is_shown_from_kafka_to_its_row() {
        let item = json!({
            "topic": "routes", "partition": 2, "offset": 17, "accepted_at": "2026-11-21T16:00:03.127Z", "user": "ann",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "headers": [], "key": "5", "payload": {"userID": 5},
            "status": "written", "reason": null, "landed_at": "2026-11-21T16:00:00Z", "row": {"user_id": 5},
            "dead_letter": null
        });
        let expected = "\
routes/2/17
  accepted    2026-11-21T16:00:03.127Z, sent by ann, trace 4bf92f3577b34da6a3ce929d0e0e4736
  key         5
  event       {\"userID\":5}
  written     its row was written, at 2026-11-21T16:00:00Z (to the minute)
  row         {\"user_id\":5}
";
        assert_eq!(steps(&item), expected);
        assert_eq!(replayed_as(&item), None);
    }

    #[test]
    fn a_rejected_event_is_shown_with_its_dead_letter_and_its_replay() {
        let replay = json!({"topic": "routes", "partition": 2, "offset": 40, "status": "written"});
        let item = json!({
            "topic": "routes", "partition": 2, "offset": 17, "accepted_at": null, "payload": null, "payload_base64": "/w==",
            "payload_truncated": true, "status": "rejected", "reason": "not JSON", "landed_at": null, "row": null,
            "dead_letter": {"id": 12, "status": "replayed", "error_code": "not_json", "replayed_as": replay}
        });
        let expected = "\
routes/2/17
  accepted    Kafka no longer has the event
  event       base64 /w== (cut at 64 KB)
  rejected    not JSON
  dead letter 12 (not_json): replayed, as routes/2/40
";
        assert_eq!(steps(&item), expected);
        assert_eq!(replayed_as(&item).as_deref(), Some("routes/2/40"));
    }
}
