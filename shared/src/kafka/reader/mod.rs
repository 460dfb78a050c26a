//! Reads a partition's records straight from Kafka, outside of any consumer group.
//!
//! The event source mapping delivers only records that its group has not committed. This module reads any range. For
//! example, `consume` reads the records that a restored database lacks, and `console` searches the records that follow
//! a dead letter's record. [`KafkaReader`] implements the trait [`Reader`] for Kafka. Tests use a log in memory
//! instead.

mod client;
mod committed;
mod connection;
mod ends;
mod fetch;

use std::time::Duration;

use futures::future::BoxFuture;
use rdkafka::error::KafkaError;

pub use client::KafkaReader;
pub use ends::{Ends, Position};

use super::{ProducerError, RecordHeader};

/// Why Kafka could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// There is no connection.
    #[error(transparent)]
    Unconnected(#[from] ProducerError),
    /// The topic or the partition does not exist.
    #[error("Kafka has no partition {topic}-{partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The cluster does not allow the request.
    #[error("Kafka does not allow the request: {0}")]
    Forbidden(#[source] KafkaError),
    /// The cluster did not answer, or answered with a temporary error.
    #[error("Kafka could not be read: {0}")]
    Failed(#[source] KafkaError),
}

impl ReadError {
    /// Returns whether the error may go away by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unconnected(error) => error.is_temporary(),
            Self::Failed(_) => true,
            Self::UnknownPartition { .. } | Self::Forbidden(_) => false,
        }
    }
}

/// The range of offsets in a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that retention has not deleted.
    pub start: i64,
    /// The offset after the last readable record. No record at or after the start of an open transaction can be read
    /// yet.
    pub end: i64,
}

/// A record in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its offset.
    pub offset: i64,
    /// Its time, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value. `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order. Names may repeat.
    pub headers: Vec<RecordHeader>,
}

impl LogRecord {
    /// Returns roughly how much memory the record takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        const FIXED: usize = 64;
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value) + FIXED).sum();
        FIXED + length(&self.key) + length(&self.value) + headers
    }
}

/// The limits of a read. The read stops at the first limit that it reaches, but not before its first record. If the
/// maximum time passes before the first record arrives, the read fails.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The maximum number of records.
    pub max_records: usize,
    /// The maximum number of bytes of keys, values and headers.
    pub max_bytes: usize,
    /// The maximum time.
    pub max_time: Duration,
}

/// A part of a partition's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// All records of the log from `from` up to, but excluding, `until`, in the order of their offsets.
    pub records: Vec<LogRecord>,
    /// The offset at which reading began: the requested one or, if it is later, the log's start. If the log starts
    /// after the requested range, this is the end of the range.
    pub from: i64,
    /// The next offset to read. If `records` lacks an offset between `from` and `until`, the log has no record at that
    /// offset: the record was compacted away, its transaction was aborted, or the offset belongs to a transaction
    /// marker.
    pub until: i64,
    /// The log's bounds when reading began.
    pub bounds: Bounds,
}

/// Reads logs. No call joins a consumer group or commits an offset.
pub trait Reader: std::fmt::Debug + Send + Sync {
    /// Returns a topic's number of partitions; `None` if there is no such topic.
    fn partitions<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<i32>, ReadError>>;

    /// Returns a partition's bounds.
    fn bounds<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<Bounds, ReadError>>;

    /// Returns the offset after a partition's last record, even if the record belongs to an open transaction. This is
    /// slow, because it needs a separate connection.
    fn high_watermark<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<i64, ReadError>>;

    /// Reads records from offset `from` up to, but excluding, offset `until`. Stops early at the log's end or a limit.
    fn read<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        from: i64,
        until: i64,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Chunk, ReadError>>;

    /// Returns the offset of the first record whose time is at or after `timestamp_ms`, if there is one.
    fn offset_at_time<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        timestamp_ms: i64,
    ) -> BoxFuture<'a, Result<Option<i64>, ReadError>>;

    /// Returns the offsets that a consumer group has committed, in the order of `partitions`.
    fn committed<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        partitions: &'a [i32],
    ) -> BoxFuture<'a, Result<Vec<Option<i64>>, ReadError>>;

    /// Returns whether the topic is compacted. Records may be missing within the log of a compacted topic.
    fn is_compacted<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<bool, ReadError>>;
}
