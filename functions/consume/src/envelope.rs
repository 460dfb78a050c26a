//! Everything a record carries besides key and value.

use shared::contract::Metadata;
use shared::kafka::RecordHeader;
use shared::ledger::records::{KeptRecord, LogPosition};
use shared::record::headers;
use shared::record::replay::Replay;

/// Everything a record carries besides key and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'r> {
    pub(crate) topic: &'r str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) headers: &'r [RecordHeader],
}

impl<'r> Envelope<'r> {
    /// Returns what a kept record carries besides key and value.
    pub(crate) fn for_record(record: &KeptRecord<'r>) -> Self {
        let KeptRecord { position, headers, timestamp_ms, key: _, payload: _ } = *record;
        let LogPosition { topic, partition, offset, incarnation: _ } = position;
        Self { topic, partition, offset, timestamp_ms, headers }
    }

    /// Returns the first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'r [u8]> {
        self.headers.iter().find(|(header, _)| header == name)?.1.as_deref()
    }

    /// Returns what the record says about the dead letter that it replays, if it is a replay.
    pub(crate) fn replay(&self) -> Option<Replay> {
        Replay::from_headers(self.topic, |name| self.header(name))
    }

    /// Returns the metadata that columns are filled from. For a replay, the partition, the offset and the time are
    /// those of the event's original record.
    pub(crate) fn metadata<'m>(&'m self, replay: Option<&'m Replay>) -> Metadata<'m> {
        let first = replay.and_then(|replay| replay.first.as_ref());
        Metadata {
            topic: self.topic,
            partition: first.map_or(self.partition, |first| first.partition),
            offset: first.map_or(self.offset, |first| first.offset),
            timestamp_ms: first.map_or(self.timestamp_ms, |first| first.timestamp_ms),
            user: self.header(headers::USER),
            traceparent: self.header(headers::TRACEPARENT),
        }
    }
}
