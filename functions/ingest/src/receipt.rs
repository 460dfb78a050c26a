//! A receipt: the position of an accepted event in Kafka and, once looked up, its status.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::kafka::Acknowledged;
use shared::ledger::receipts::{Outcome, Status};
use shared::record::place::Place;

/// The position of an accepted event, and its status if that was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(rename = "timestamp")]
    timestamp_ms: i64,
    href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why the event's partition is stalled, if the event is pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled: Option<String>,
}

impl Receipt {
    /// Creates the receipt of an acknowledged event, without a status.
    pub(crate) fn new(index: Option<usize>, topic: &str, acknowledged: &Acknowledged) -> Self {
        let Acknowledged { partition, offset, timestamp_ms } = *acknowledged;
        let href = format!("/receipts/{topic}/{partition}/{offset}");
        let topic = topic.to_owned();
        Self { index, topic, partition, offset, timestamp_ms, href, status: None, reason: None, stalled: None }
    }

    /// Creates the receipt of a replay, with its status.
    pub(crate) fn of_replay(place: Place, outcome: Outcome) -> Self {
        let Place { topic, partition, offset, timestamp_ms } = place;
        let mut receipt = Self::new(None, &topic, &Acknowledged { partition, offset, timestamp_ms });
        receipt.set_status(outcome);
        receipt
    }

    /// Returns the place of the event's record.
    pub fn place(&self) -> Place {
        let Self { topic, partition, offset, timestamp_ms, .. } = self;
        Place { topic: topic.clone(), partition: *partition, offset: *offset, timestamp_ms: *timestamp_ms }
    }

    /// Returns the path at which the status can be looked up.
    pub(crate) fn href(&self) -> &str {
        &self.href
    }

    /// Returns the partition, offset and time of the event's record, in the form that lookups expect.
    pub(crate) fn sent(&self) -> (i32, i64, i64) {
        (self.partition, self.offset, self.timestamp_ms)
    }

    /// Returns the status, if it was looked up.
    pub(crate) fn status(&self) -> Option<Status> {
        self.status
    }

    /// Sets the status and its reason.
    pub(crate) fn set_status(&mut self, outcome: Outcome) {
        self.status = Some(outcome.status());
        self.reason = reason(outcome);
    }

    /// Notes why the event's partition is stalled, if the event is pending. `reasons` contains the stalled partitions,
    /// each with the reason.
    pub(crate) fn add_stall(&mut self, reasons: &BTreeMap<i32, String>) {
        self.stalled = (self.status == Some(Status::Pending)).then(|| reasons.get(&self.partition).cloned()).flatten();
    }
}

/// Returns why an event was rejected or lost.
pub(crate) fn reason(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Rejected(rejection) | Outcome::Replayed { rejection, replay: _ } => Some(rejection.reason),
        Outcome::Lost { reason } => Some(reason),
        Outcome::Pending | Outcome::Waiting { .. } | Outcome::Written | Outcome::Duplicate | Outcome::Superseded => {
            None
        }
    }
}
