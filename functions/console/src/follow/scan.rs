//! Searches a topic's partitions for records of a time range. The search stops early once it has found enough records,
//! or at its deadline.

use std::time::{Duration, Instant};

use shared::contract::Contract;
use shared::kafka::reader::{Chunk, Limits, LogRecord, Reader};

use super::cursor::Cursor;
use super::partitioner;
use super::wanted::Wanted;
use crate::error::Error;

/// The limits on the records and bytes of one read.
const MOST_RECORDS: usize = 50_000;
const MOST_BYTES: usize = 32 * 1_024 * 1_024;
/// The maximum size of the records in a response. Lambda limits the whole response to 6 MiB.
const FOUND_BYTES: usize = 2 * 1_024 * 1_024;
/// How far a partition is read beyond the end of the time range. Producers' clocks differ, so a record of the range may
/// follow a record with a later timestamp.
const CLOCKS_DIFFER_MS: i64 = 60_000;

/// A record that a search found, or that was looked up by its partition and offset. After a lookup, `record` is `None`
/// if Kafka does not have the record.
#[derive(Debug)]
pub(super) struct FoundRecord {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) record: Option<LogRecord>,
}

/// The records that were found, and where the search continues.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<FoundRecord>,
    pub(super) next: Option<Cursor>,
}

/// Reads the record at a partition and offset.
///
/// # Errors
/// There is no such partition, or Kafka does not answer.
pub(super) async fn read_one(
    reader: &dyn Reader,
    contract: &Contract,
    partition: i32,
    offset: i64,
    deadline: Instant,
) -> Result<Found, Error> {
    let limits = Limits { max_records: 1, max_bytes: usize::MAX, max_time: left(deadline) };
    let chunk = reader.read(&contract.topic, partition, offset, offset.saturating_add(1), limits).await?;
    let record = chunk.records.into_iter().next();
    Ok(Found { records: vec![FoundRecord { partition, offset, record }], next: None })
}

/// A search for records.
pub(super) struct Scan<'a> {
    pub(super) reader: &'a dyn Reader,
    pub(super) contract: &'a Contract,
    pub(super) wanted: &'a Wanted,
    pub(super) limit: usize,
    pub(super) deadline: Instant,
}

impl Scan<'_> {
    /// Continues a search at a cursor.
    ///
    /// # Errors
    /// The topic does not exist, or Kafka does not answer.
    pub(super) async fn run(&self, mut cursor: Cursor) -> Result<Found, Error> {
        let topic = &self.contract.topic;
        let Some(count) = self.reader.partitions(topic).await? else {
            return Err(Error::NotFound("Kafka does not have the stream's topic."));
        };
        if cursor.partition < 0 {
            cursor.first = self.wanted.record_key().map_or(0, |key| partitioner::partition(key, count));
            cursor.partition = cursor.first;
        }
        let mut found = Found::default();
        let others = (0..count).filter(|partition| *partition != cursor.first);
        for partition in [cursor.first].into_iter().chain(others).skip_while(|partition| *partition != cursor.partition)
        {
            let offset = cursor.offset.filter(|_| partition == cursor.partition);
            let position = Cursor { partition, offset, ..cursor };
            if let Some(next) = self.partition(position, &mut found).await? {
                found.next = Some(next);
                break;
            }
        }
        Ok(found)
    }

    /// Searches a partition from a cursor on. If the search stopped before the end of the partition, returns the
    /// position from which to continue.
    async fn partition(&self, cursor: Cursor, found: &mut Found) -> Result<Option<Cursor>, Error> {
        let (topic, partition) = (&self.contract.topic, cursor.partition);
        if left(self.deadline).is_zero() {
            return Ok(Some(cursor));
        }
        let mut from = match cursor.offset {
            Some(offset) => offset,
            None => match self.reader.offset_at_time(topic, partition, cursor.since_ms).await? {
                Some(offset) => offset,
                None => return Ok(None),
            },
        };
        let beyond_ms = cursor.until_ms.saturating_add(CLOCKS_DIFFER_MS);
        let end = self.reader.offset_at_time(topic, partition, beyond_ms).await?.unwrap_or(i64::MAX);
        while from < end {
            let max_time = left(self.deadline);
            if max_time.is_zero() {
                return Ok(Some(Cursor { offset: Some(from), ..cursor }));
            }
            let limits = Limits { max_records: MOST_RECORDS, max_bytes: MOST_BYTES, max_time };
            let Chunk { records, until, bounds, .. } = self.reader.read(topic, partition, from, end, limits).await?;
            for record in records {
                let next_offset = record.offset + 1;
                if self.keep(record, cursor, found) && self.is_full(found) {
                    return Ok(Some(Cursor { offset: Some(next_offset), ..cursor }));
                }
            }
            from = until;
            if from >= bounds.end {
                break;
            }
        }
        Ok(None)
    }

    /// Keeps a record if it matches the query. Returns whether the record was kept.
    fn keep(&self, record: LogRecord, cursor: Cursor, found: &mut Found) -> bool {
        let is_in_time = (cursor.since_ms..cursor.until_ms).contains(&record.timestamp_ms);
        let is_wanted = is_in_time && self.wanted.is(self.contract, &record);
        if is_wanted {
            let (partition, offset) = (cursor.partition, record.offset);
            found.records.push(FoundRecord { partition, offset, record: Some(record) });
        }
        is_wanted
    }

    fn is_full(&self, found: &Found) -> bool {
        let bytes = |found: &FoundRecord| found.record.as_ref().map_or(0, LogRecord::size_bytes);
        found.records.len() >= self.limit || found.records.iter().map(bytes).sum::<usize>() >= FOUND_BYTES
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
