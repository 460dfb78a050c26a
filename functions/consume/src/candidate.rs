//! A record that is to be written: new, of a known stream, and right by its contract.

use serde_json::Value;
use shared::dead_letter::{self, NewDeadLetter, Rejection};

use crate::batch::{Batch, Header, Record};
use crate::check::{Event, EventId, Rows};
use crate::write::entity::waiting::Released;

/// A record on its way into its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) incarnation: i32,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: &'a [u8],
    pub(crate) headers: &'a [Header],
    /// The event, in the modes that need more than its row.
    pub(crate) document: &'a Value,
    /// Its encoded row, as COPY's binary format has it; empty in mode `changes`.
    pub(crate) row: &'a [u8],
    pub(crate) id: Option<EventId>,
    /// Since when it has been waiting for its parent, if it has.
    pub(crate) waiting_since_ms: Option<i64>,
}

impl<'a> Candidate<'a> {
    /// A record of a batch, without its event yet.
    pub(crate) fn new(batch: &'a Batch, record: &'a Record, payload: &'a [u8], incarnation: i32) -> Self {
        Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            incarnation,
            timestamp_ms: record.timestamp_ms,
            key: batch.key(record),
            payload,
            headers: &record.headers,
            document: &Value::Null,
            row: &[],
            id: None,
            waiting_since_ms: None,
        }
    }

    /// A record that was waiting for its parent, without its event yet.
    pub(crate) fn released(waiter: &'a Released) -> Self {
        Self {
            topic: &waiter.topic,
            partition: waiter.partition,
            offset: waiter.offset,
            incarnation: waiter.incarnation,
            timestamp_ms: waiter.timestamp_ms,
            key: waiter.key.as_deref(),
            payload: &waiter.payload,
            headers: &waiter.headers,
            document: &Value::Null,
            row: &[],
            id: None,
            waiting_since_ms: Some(waiter.since_ms),
        }
    }

    /// With its event, whose row is among `rows`.
    pub(crate) fn with(self, event: &'a Event, rows: &'a Rows) -> Self {
        Self { document: &event.document, row: rows.get(&event.row), id: event.id, ..self }
    }

    /// Its row's cells.
    pub(crate) fn cells(&self) -> &'a [u8] {
        self.row.get(2..).unwrap_or_default()
    }

    /// Its headers as the ledger keeps them.
    pub(crate) fn headers_json(&self) -> Value {
        dead_letter::headers_to_json(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())))
    }

    /// It, dead.
    pub(crate) fn dead_letter<'l>(&'l self, headers: &'l Value, rejection: &'l Rejection) -> NewDeadLetter<'l> {
        NewDeadLetter {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            incarnation: self.incarnation,
            key: self.key,
            payload: self.payload,
            headers,
            record_timestamp_ms: self.timestamp_ms,
            rejection,
        }
    }
}
