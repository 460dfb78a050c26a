//! Reads a range of a partition's log, and tracks the offset up to which every record has been read.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::connection::{ReaderClient, read_error};
use super::{Chunk, Limits, LogRecord, ReadError};

/// Reads `range` within `limits`. Blocks the thread.
pub(super) fn read(
    client: &ReaderClient,
    topic: &str,
    partition: i32,
    range: Range<i64>,
    limits: Limits,
) -> Result<Chunk, ReadError> {
    let deadline = Instant::now() + limits.max_time;
    let bounds = client.bounds(topic, partition)?;
    let from = range.start.max(bounds.start).min(range.end.max(range.start));
    let until = range.end.min(bounds.end);
    let mut chunk = Chunk { records: Vec::new(), from, until: from, bounds };
    if from >= until {
        return Ok(chunk);
    }
    let failed = |error| read_error(error, topic, partition);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Offset(from)).map_err(failed)?;
    client.consumer.assign(&assignment).map_err(failed)?;
    let filled = fill(client, &mut chunk, until, limits, deadline);
    let unassigned = client.consumer.unassign();
    filled.and(unassigned).map_err(failed)?;
    Ok(chunk)
}

/// Adds the records before `until` to the chunk.
fn fill(
    client: &ReaderClient,
    chunk: &mut Chunk,
    until: i64,
    limits: Limits,
    deadline: Instant,
) -> Result<(), KafkaError> {
    const TURN: Duration = Duration::from_millis(100);
    let mut bytes = 0;
    while chunk.until < until {
        let left = deadline.saturating_duration_since(Instant::now());
        match client.consumer.poll(left.min(TURN)) {
            Some(Ok(message)) if message.offset() >= until => chunk.until = until,
            Some(Ok(message)) => {
                let record = record(&message);
                bytes += record.size_bytes();
                chunk.until = record.offset + 1;
                chunk.records.push(record);
                if chunk.records.len() >= limits.max_records || bytes >= limits.max_bytes {
                    return Ok(());
                }
            }
            // Every readable record has been read.
            Some(Err(KafkaError::PartitionEOF(_))) => chunk.until = until,
            Some(Err(error)) if is_temporary(&error) => {}
            Some(Err(error)) => return Err(error),
            None => {}
        }
        if left.is_zero() {
            return if chunk.records.is_empty() && chunk.until < until {
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
            } else {
                Ok(())
            };
        }
    }
    Ok(())
}

/// Returns whether librdkafka recovers from this error by itself.
fn is_temporary(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::OperationTimedOut
                // The reader does not need its consumer group, so a missing permission for the group does not matter.
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}

fn record(message: &BorrowedMessage<'_>) -> LogRecord {
    let headers = message.headers().map(|headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    LogRecord {
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}
