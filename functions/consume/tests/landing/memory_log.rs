//! In-memory partition logs, which the function reads in place of Kafka's logs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};

use shared::kafka::reader::{Bounds, Chunk, Limits, LogRecord, ReadError, Reader};

/// The logs of partitions, and the offsets that consumer groups have committed. A partition exists once it has been
/// created or written to.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logs: BTreeMap<(String, i32), Log>,
    committed: BTreeMap<(String, String, i32), i64>,
    compacted: bool,
    questions: usize,
}

#[derive(Debug, Default)]
struct Log {
    start: i64,
    end: i64,
    records: BTreeMap<i64, LogRecord>,
}

impl Log {
    fn keep_before(&mut self, offset: i64) {
        self.records.retain(|at, _| *at < offset);
        self.end = self.end.min(offset);
        self.start = self.start.min(offset);
    }
}

impl MemoryLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic with this many empty partitions.
    pub(crate) fn create(&self, topic: &str, partitions: i32) {
        let mut state = self.state();
        for partition in 0..partitions {
            state.logs.entry((topic.to_owned(), partition)).or_default();
        }
    }

    /// Writes a record at its offset. The offsets between the log's end and the record stay empty, as if they belonged
    /// to transaction markers.
    pub(crate) fn append(&self, topic: &str, partition: i32, record: LogRecord) {
        let mut state = self.state();
        let log = state.logs.entry((topic.to_owned(), partition)).or_default();
        log.end = log.end.max(record.offset + 1);
        log.records.insert(record.offset, record);
    }

    /// Writes records as [`MemoryLog::append`] does. If the log already has a different record at an offset, the log is
    /// first truncated there.
    pub(crate) fn put(&self, topic: &str, partition: i32, records: impl IntoIterator<Item = LogRecord>) {
        for record in records {
            let mut state = self.state();
            let log = state.logs.entry((topic.to_owned(), partition)).or_default();
            if log.records.get(&record.offset).is_some_and(|present| *present != record) {
                log.keep_before(record.offset);
            }
            drop(state);
            self.append(topic, partition, record);
        }
    }

    /// Moves a log's end without adding records, as transaction markers do.
    pub(crate) fn extend_to(&self, topic: &str, partition: i32, end: i64) {
        let mut state = self.state();
        let log = state.logs.entry((topic.to_owned(), partition)).or_default();
        log.end = log.end.max(end);
    }

    /// Removes the records before an offset, as retention does.
    pub(crate) fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut state = self.state();
        if let Some(log) = state.logs.get_mut(&(topic.to_owned(), partition)) {
            log.start = log.start.max(offset.min(log.end));
            let start = log.start;
            log.records.retain(|at, _| *at >= start);
        }
    }

    /// Removes one record, as compaction does.
    pub(crate) fn remove(&self, topic: &str, partition: i32, offset: i64) {
        if let Some(log) = self.state().logs.get_mut(&(topic.to_owned(), partition)) {
            log.records.remove(&offset);
        }
    }

    /// Removes the records from an offset on, as an unclean leader election does.
    pub(crate) fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        if let Some(log) = self.state().logs.get_mut(&(topic.to_owned(), partition)) {
            log.keep_before(offset);
        }
    }

    /// Deletes a partition and creates it again, empty.
    pub(crate) fn recreate(&self, topic: &str, partition: i32) {
        self.state().logs.insert((topic.to_owned(), partition), Log::default());
    }

    /// Sets whether all topics are compacted.
    pub(crate) fn set_compacted(&self, compacted: bool) {
        self.state().compacted = compacted;
    }

    /// Commits a group's offset.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        self.state().committed.insert((group.to_owned(), topic.to_owned(), partition), offset);
    }

    /// Deletes all logs and committed offsets.
    pub(crate) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Returns how many requests about a partition's log were answered.
    pub(crate) fn questions(&self) -> usize {
        self.state().questions
    }

    fn ask<T: Send + 'static>(
        &self,
        topic: &str,
        partition: i32,
        answer: impl FnOnce(&Log) -> T,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        let mut state = self.state();
        state.questions += 1;
        let unknown = || ReadError::UnknownPartition { topic: topic.to_owned(), partition };
        let answer = state.logs.get(&(topic.to_owned(), partition)).map(answer).ok_or_else(unknown);
        ready(answer).boxed()
    }
}

fn bounds(log: &Log) -> Bounds {
    Bounds { start: log.start, end: log.end }
}

impl Reader for MemoryLog {
    fn partitions<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<i32>, ReadError>> {
        let highest = self.state().logs.keys().filter(|(name, _)| name == topic).map(|(_, partition)| *partition).max();
        ready(Ok(highest.map(|partition| partition + 1))).boxed()
    }

    fn bounds<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<Bounds, ReadError>> {
        self.ask(topic, partition, bounds)
    }

    fn high_watermark<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<i64, ReadError>> {
        self.ask(topic, partition, |log| log.end)
    }

    fn read<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        from: i64,
        until: i64,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Chunk, ReadError>> {
        self.ask(topic, partition, |log| {
            let (asked, until) = (from, until.min(log.end));
            let from = asked.max(log.start).min(until.max(asked));
            let mut chunk = Chunk { records: Vec::new(), from, until: from, bounds: bounds(log) };
            if from >= until {
                return chunk;
            }
            let mut bytes = 0;
            for record in log.records.range(from..until).map(|(_, record)| record) {
                bytes += record.size_bytes();
                chunk.records.push(record.clone());
                chunk.until = record.offset + 1;
                if chunk.records.len() >= limits.max_records || bytes >= limits.max_bytes {
                    return chunk;
                }
            }
            chunk.until = until;
            chunk
        })
    }

    fn offset_at_time<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        timestamp_ms: i64,
    ) -> BoxFuture<'a, Result<Option<i64>, ReadError>> {
        self.ask(topic, partition, |log| {
            log.records.values().find(|record| record.timestamp_ms >= timestamp_ms).map(|record| record.offset)
        })
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        partitions: &'a [i32],
    ) -> BoxFuture<'a, Result<Vec<Option<i64>>, ReadError>> {
        let state = self.state();
        let of = |partition: &i32| state.committed.get(&(group.to_owned(), topic.to_owned(), *partition)).copied();
        ready(Ok(partitions.iter().map(of).collect())).boxed()
    }

    fn is_compacted<'a>(&'a self, _topic: &'a str) -> BoxFuture<'a, Result<bool, ReadError>> {
        ready(Ok(self.state().compacted)).boxed()
    }
}
