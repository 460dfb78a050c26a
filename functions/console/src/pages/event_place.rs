//! A receipt, as the JSON routes return it: the place of an event's record in Kafka, and the event's status.

use maud::{Markup, html};
use serde::Deserialize;

use super::query::with_query;
use super::wording::status;

/// A receipt.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Receipt {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
}

impl Receipt {
    /// Writes the place as `TOPIC/PARTITION/OFFSET`.
    pub(super) fn place(&self) -> String {
        place(&self.topic, self.partition, self.offset)
    }

    /// Returns the path of the page that follows the event.
    pub(super) fn follow_path(&self) -> String {
        follow_path(&self.place())
    }

    /// Shows the place as a link, with the status and its reason.
    pub(super) fn show(&self) -> Markup {
        html! {
            a.mono href=(self.follow_path()) { (self.place()) }
            @if let Some(name) = &self.status { " " (status(name)) }
            @if let Some(reason) = &self.reason { div.soft { (reason) } }
        }
    }
}

/// Writes a partition as `TOPIC/PARTITION`.
pub(super) fn partition_place(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

/// Writes a place as `TOPIC/PARTITION/OFFSET`.
pub(super) fn place(topic: &str, partition: i32, offset: i64) -> String {
    format!("{topic}/{partition}/{offset}")
}

/// Returns the path of the page that follows the event at a place.
pub(super) fn follow_path(place: &str) -> String {
    with_query("/console/follow", [("receipt", place)])
}
