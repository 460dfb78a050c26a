//! A batch's records by partition, with what their contracts say of them.

use std::sync::Arc;

use shared::contract::{Contract, Registry};
use shared::dead_letter::Rejection;

use super::Checked;
use crate::batch::{Batch, Record};
use crate::check::{Event, Rows};
use crate::resume::Trace;

/// The records of one partition, in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Partition<'b> {
    pub(crate) topic: &'b str,
    pub(crate) partition: i32,
    pub(crate) contract: Arc<Contract>,
    pub(crate) records: &'b [Record],
    pub(crate) traces: Vec<Trace>,
    /// What each record's contract says of it; none: a tombstone.
    pub(crate) events: Vec<Option<Result<Event, Rejection>>>,
}

/// Checks a batch.
///
/// # Errors
/// The topic of which no contract speaks.
pub(crate) fn check<'b>(registry: &Registry, batch: &'b Batch) -> Result<Checked<'b>, String> {
    let mut rows = Rows::default();
    let mut partitions = Vec::new();
    for records in batch.records.chunk_by(|a, b| (&a.topic, a.partition) == (&b.topic, b.partition)) {
        let (topic, partition, _) = records[0].place();
        let contract = registry.topic(topic).ok_or_else(|| topic.to_owned())?;
        let trace = |record: &Record| Trace {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            hash: batch.hash(record),
        };
        let mut event = |record: &Record| {
            let payload = batch.value(record)?;
            Some(rows.check(contract, payload, |name| record.header(name)))
        };
        partitions.push(Partition {
            topic,
            partition,
            contract: Arc::clone(contract),
            records,
            traces: records.iter().map(trace).collect(),
            events: records.iter().map(&mut event).collect(),
        });
    }
    Ok(Checked { batch, rows, partitions })
}
