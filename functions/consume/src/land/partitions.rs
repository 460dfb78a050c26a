//! A batch's records by partition, checked against their contracts.

use std::sync::Arc;

use shared::contract::{Contract, Registry};
use shared::ledger::{Destination, Rejection};

use crate::batch::{Batch, Record};
use crate::check::{Event, Rows};
use crate::resume::{Trace, Vouched};

/// The batch's records by partition, with the results of checking them against their contracts.
#[derive(Debug)]
pub(crate) struct CheckedBatch<'b> {
    pub(crate) batch: &'b Batch,
    pub(crate) rows: Rows,
    pub(crate) partitions: Vec<Partition<'b>>,
}

/// The records of one partition, in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Partition<'b> {
    pub(crate) topic: &'b str,
    pub(crate) partition: i32,
    pub(crate) contract: Arc<Contract>,
    pub(crate) records: &'b [Record],
    pub(crate) traces: Vec<Trace>,
    /// Who confirms that offsets missing between these records are also missing from Kafka.
    pub(crate) vouched: Vouched,
    /// Whether Kafka was already asked about this partition's log, and its answer did not lead to a new incarnation. In
    /// that case, `resume` does not compare these records with the applied ones.
    pub(crate) is_confirmed: bool,
    /// The result of each record's check; `None` for a tombstone.
    pub(crate) events: Vec<Option<Result<Event, Rejection>>>,
}

impl CheckedBatch<'_> {
    /// Returns the topics and numbers of the partitions.
    pub(crate) fn keys(&self) -> Vec<(String, i32)> {
        self.partitions.iter().map(|p| (p.topic.to_owned(), p.partition)).collect()
    }
}

impl Partition<'_> {
    /// Returns whether the partition has a record with this offset and this hash.
    pub(crate) fn has(&self, offset: i64, hash: i64) -> bool {
        let found = self.traces.binary_search_by_key(&offset, |trace| trace.offset);
        found.is_ok_and(|index| self.traces[index].hash == hash)
    }
}

/// Checks a batch.
///
/// # Errors
/// A record's topic is in no contract. The error is that topic.
pub(crate) fn check<'b>(
    registry: &Registry,
    destination: Destination,
    batch: &'b Batch,
) -> Result<CheckedBatch<'b>, String> {
    let mut rows = Rows::new(destination);
    let mut partitions = Vec::new();
    for records in batch.records.chunk_by(|a, b| (&a.topic, a.partition) == (&b.topic, b.partition)) {
        let (topic, partition, _) = records[0].place();
        let contract = registry.topic(topic).ok_or_else(|| topic.to_owned())?;
        partitions.push(check_partition(&mut rows, contract, batch, (topic, partition), records, Vouched::No));
    }
    Ok(CheckedBatch { batch, rows, partitions })
}

/// Checks records that were read from a partition's log. There may be none.
pub(crate) fn check_log<'b>(
    contract: &'b Arc<Contract>,
    destination: Destination,
    batch: &'b Batch,
    partition: i32,
    vouched: Vouched,
) -> CheckedBatch<'b> {
    let mut rows = Rows::new(destination);
    let place = (contract.topic.as_str(), partition);
    let partitions = vec![check_partition(&mut rows, contract, batch, place, &batch.records, vouched)];
    CheckedBatch { batch, rows, partitions }
}

fn check_partition<'b>(
    rows: &mut Rows,
    contract: &Arc<Contract>,
    batch: &'b Batch,
    (topic, partition): (&'b str, i32),
    records: &'b [Record],
    vouched: Vouched,
) -> Partition<'b> {
    let trace =
        |record: &Record| Trace { offset: record.offset, timestamp_ms: record.timestamp_ms, hash: batch.hash(record) };
    let event = |record: &Record| {
        let payload = batch.value(record)?;
        Some(rows.check(contract, payload, &record.envelope()))
    };
    Partition {
        topic,
        partition,
        contract: Arc::clone(contract),
        records,
        traces: records.iter().map(trace).collect(),
        vouched,
        is_confirmed: false,
        events: records.iter().map(event).collect(),
    }
}
