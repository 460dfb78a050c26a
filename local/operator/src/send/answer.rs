//! Decodes the gateway's answers into the outcome of each event of a batch.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde::Deserialize;
use shared::ledger::receipts::Status;

/// An accepted event's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Receipt {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    status: Option<Status>,
    reason: Option<String>,
}

impl Receipt {
    /// Returns the event's outcome, if the answer contains one.
    pub(super) fn event_status(&self) -> Option<EventStatus> {
        self.status.map(|status| EventStatus { status, reason: self.reason.clone() })
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }
}

/// The known outcome of an accepted event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct EventStatus {
    pub(super) status: Status,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// The body of an answer to a batch: receipts and errors, or a problem (RFC 9457). A problem may contain receipts and
/// errors, too.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Answer {
    accepted: Option<u64>,
    receipts: Option<Vec<Receipt>>,
    #[serde(default)]
    errors: Vec<EventError>,
    title: Option<String>,
    detail: Option<String>,
}

#[derive(Debug, Deserialize)]
struct EventError {
    index: usize,
    #[serde(default)]
    pointer: String,
    detail: String,
}

/// The meaning of an answer for the sender.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The outcome of the batch is known.
    Decided(Decision),
    /// The batch may be sent again.
    Retry(String),
    /// No batch can succeed.
    Hopeless(String),
}

/// The gateway's decision about each event of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) receipts: Vec<Receipt>,
    /// The number of events that the answer counts as accepted, but for which it has no receipt.
    pub(super) without_receipt: u64,
    /// The reason for each refused event, by its index in the batch.
    pub(super) refused: BTreeMap<usize, String>,
    /// The shared reason of the refused events that have no reason of their own, and the number of these events.
    pub(super) refused_alike: Option<(String, u64)>,
    /// The number of events that the answer does not mention.
    pub(super) unmentioned: u64,
}

impl Answer {
    /// Interprets the answer to a batch. `events` is the number of events in the batch.
    pub(super) fn meaning(self, status: StatusCode, events: usize) -> Meaning {
        let says = match (&self.title, &self.detail) {
            (Some(title), Some(detail)) => format!("{} {title}: {detail}", status.as_u16()),
            (Some(title), None) => format!("{} {title}", status.as_u16()),
            (None, _) => status.to_string(),
        };
        match status {
            status if status.is_success() => Meaning::Decided(self.decision(None, events)),
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => Meaning::Decided(self.decision(Some(says), events)),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Meaning::Retry(says),
            status if status.is_server_error() => Meaning::Retry(says),
            _ => Meaning::Hopeless(says),
        }
    }

    fn decision(self, why: Option<String>, events: usize) -> Decision {
        let events = events as u64;
        let receipts = self.receipts.unwrap_or_default();
        let with_receipt = (receipts.len() as u64).min(events);
        let accepted = self.accepted.map_or(with_receipt, |accepted| accepted.clamp(with_receipt, events));
        let mut refused = BTreeMap::new();
        for EventError { index, pointer, detail } in self.errors {
            let reason = if pointer.is_empty() { detail } else { format!("{pointer}: {detail}") };
            refused.entry(index).or_insert(reason);
        }
        let others = (events - accepted).saturating_sub(refused.len() as u64);
        let (refused_alike, unmentioned) = match why {
            Some(why) if others > 0 => (Some((why, others)), 0),
            _ => (None, others),
        };
        Decision { receipts, without_receipt: accepted - with_receipt, refused, refused_alike, unmentioned }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn meaning(status: u16, body: Value, events: usize) -> Option<Meaning> {
        let status = StatusCode::from_u16(status).ok()?;
        serde_json::from_value::<Answer>(body).ok().map(|answer| answer.meaning(status, events))
    }

    fn receipt(offset: i64) -> Value {
        json!({"index": 0, "topic": "city", "partition": 1, "offset": offset, "timestamp": 5, "href": "/x"})
    }

    #[test]
    fn a_receipt_may_contain_the_outcome_of_its_event() {
        let mut known = receipt(3);
        known["status"] = json!("rejected");
        known["reason"] = json!("already exists");
        let body = json!({"title": "x", "status": 422, "receipts": [receipt(2), known]});
        let Some(Meaning::Decided(decision)) = meaning(422, body, 2) else { panic!("not decided") };
        let statuses: Vec<Option<Status>> = decision.receipts.iter().map(Receipt::status).collect();
        assert_eq!(statuses, [None, Some(Status::Rejected)]);
        assert_eq!((decision.refused.len(), decision.refused_alike, decision.unmentioned), (0, None, 0));
    }

    #[test]
    fn an_event_counts_as_refused_if_the_answer_contains_an_error_for_it() {
        let errors = json!([
            {"index": 1, "pointer": "/name", "detail": "is empty"}, {"index": 1, "pointer": "", "detail": "and more"},
            {"index": 2, "pointer": "", "detail": "is not an object"}
        ]);
        let body = json!({"accepted": 1, "receipts": [receipt(1)], "errors": errors});
        let Some(Meaning::Decided(decision)) = meaning(202, body, 3) else { panic!("not decided") };
        let expected = [(1, "/name: is empty"), (2, "is not an object")];
        assert_eq!(decision.refused, expected.map(|(index, reason)| (index, reason.to_owned())).into());
        assert_eq!((decision.refused_alike, decision.unmentioned), (None, 0));
    }

    #[test]
    fn events_that_an_answer_omits_are_noticed() {
        let Some(Meaning::Decided(decision)) = meaning(202, json!({"accepted": 4, "receipts": [receipt(1)]}), 5) else {
            panic!("not decided")
        };
        assert_eq!((decision.without_receipt, decision.unmentioned), (3, 1));
    }

    #[test]
    fn every_event_of_a_refused_batch_counts_as_refused_unless_it_has_a_receipt() {
        let body = json!({"title": "Too large", "detail": "Smaller, please.", "receipts": [receipt(1)]});
        let Some(Meaning::Decided(decision)) = meaning(413, body, 3) else { panic!("not decided") };
        assert_eq!(decision.refused_alike, Some(("413 Too large: Smaller, please.".to_owned(), 2)));
        assert_eq!(decision.receipts.len(), 1);
    }

    #[test]
    fn temporary_errors_are_retried_and_permanent_errors_are_not() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(meaning(status, json!({}), 1), Some(Meaning::Retry(_))), "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert!(matches!(meaning(status, json!({}), 1), Some(Meaning::Hopeless(_))), "{status}");
        }
    }
}
