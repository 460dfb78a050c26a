//! A schedule's event, which triggers the work that a function does regularly.

use serde::Deserialize;

/// The members of an event from EventBridge, sent by a rule (`aws.events`) or a scheduler (`aws.scheduler`).
/// <https://docs.aws.amazon.com/eventbridge/latest/ref/events-structure.html>
#[derive(Deserialize)]
struct Event {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
}

/// The maximum size of a schedule's event, which has a few hundred bytes. A larger payload counts as a batch and is not
/// parsed.
const LONGEST_BYTES: usize = 16 * 1024;

/// Returns whether an event comes from a schedule.
pub fn is_schedule(payload: &[u8]) -> bool {
    let event = (payload.len() <= LONGEST_BYTES).then(|| serde_json::from_slice::<Event>(payload));
    event.is_some_and(|event| {
        event.is_ok_and(|event| {
            matches!(event.source.as_str(), "aws.events" | "aws.scheduler") && event.detail_type == "Scheduled Event"
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedules_event_is_distinguished_from_a_batch() {
        // An event as EventBridge sends it.
        let event = r#"{"version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "123456789012", "time": "2015-10-08T16:53:06Z", "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:123456789012:rule/my-scheduled-rule"], "detail": {}}"#;
        assert!(is_schedule(event.as_bytes()));
        assert!(is_schedule(event.replace("aws.events", "aws.scheduler").as_bytes()));
        assert!(!is_schedule(event.replace("aws.events", "aws.ec2").as_bytes()));
        assert!(!is_schedule(br#"{"eventSource": "aws:kafka", "records": {}}"#));
    }
}
