//! A record to be written: it is new, belongs to a known stream, and conforms to the stream's contract.

use serde_json::Value;
use shared::ledger::records::{KeptRecord, LogPosition};

use crate::check::{Event, EventId, Rows};

/// A record on its way into its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) record: KeptRecord<'a>,
    /// The event, or null in the modes that need only its row.
    pub(crate) document: &'a Value,
    /// The event's row, encoded in COPY's binary format; empty in mode `changes`.
    pub(crate) row: &'a [u8],
    pub(crate) id: Option<EventId>,
    /// When the event began to wait for its parent, if it had to wait.
    pub(crate) waiting_since_ms: Option<i64>,
}

/// Where a record comes from. No two records have the same origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    topic: String,
    incarnation: i32,
    partition: i32,
    offset: i64,
}

impl<'a> Candidate<'a> {
    /// Creates a candidate from a record, its event, and the `rows` that contain the event's row.
    pub(crate) fn new(record: KeptRecord<'a>, event: &'a Event, rows: &'a Rows) -> Self {
        let (document, row) = (&event.document, rows.get(&event.row));
        Self { record, document, row, id: event.id, waiting_since_ms: None }
    }

    /// Returns the candidate, marked as waiting for its parent since `since_ms`.
    pub(crate) fn waiting_since(self, since_ms: i64) -> Self {
        Self { waiting_since_ms: Some(since_ms), ..self }
    }

    pub(crate) fn origin(&self) -> Origin {
        let LogPosition { topic, partition, offset, incarnation } = self.record.position;
        Origin { topic: topic.to_owned(), incarnation, partition, offset }
    }

    /// Returns the cells of the row.
    pub(crate) fn cells(&self) -> &'a [u8] {
        self.row.get(2..).unwrap_or_default()
    }
}
