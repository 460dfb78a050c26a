//! Decides which records of a batch land, and which questions must be put to Kafka before they can land.

use std::collections::HashMap;
use std::ops::Range;

use shared::ledger::Destination;
use shared::ledger::activity::Activity;
use shared::ledger::gaps::{self, Cause, Gap, NewGap};
use shared::ledger::records::LogPosition;
use shared::ledger::watermarks::{Locked, Watermark};
use sqlx::PgConnection;

use super::{CheckedBatch, Partition, Tally};
use crate::resume::{Contradiction, Plan, Resume, Unit, Vouched, resume};
use crate::trust::Trust;

/// A partition about which Kafka has to be asked.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The partition's index in the batch.
    pub(crate) index: usize,
    /// The partition's watermark, which the transaction had locked.
    pub(crate) watermark: Watermark,
    pub(crate) server_started_us: i64,
    pub(crate) reason: Reason,
}

/// The question to ask Kafka.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reason {
    /// Did the applied records come from the log that Kafka has now? This process does not know, or no longer knows
    /// (see [`Trust`]).
    Unverified,
    /// Did the applied records come from the log that Kafka has now? Records of the batch contradict what was applied.
    Contradicted(Contradiction),
    /// Which records does the log have from the watermark up to, but excluding, this offset?
    Behind { until: i64 },
}

/// A partition with its plan.
#[derive(Debug)]
pub(crate) struct Planned<'c, 'b> {
    pub(crate) partition: &'c Partition<'b>,
    pub(crate) plan: Plan,
    gaps: Vec<Gap>,
}

/// The plans of the whole batch, or the partitions that hold it up.
pub(crate) enum Plans<'c, 'b> {
    Ready(Vec<Planned<'c, 'b>>),
    Held(Vec<Hold>),
}

/// Plans a batch whose watermarks are locked.
pub(crate) async fn plan<'c, 'b>(
    connection: &mut PgConnection,
    destination: Destination,
    trust: &Trust,
    checked: &'c CheckedBatch<'b>,
    locked: &Locked,
) -> Result<Plans<'c, 'b>, sqlx::Error> {
    let server_started_us = locked.server_started_us;
    let mut gaps = overlapping_gaps(connection, destination, checked, locked).await?;
    let mut planned = Vec::with_capacity(checked.partitions.len());
    let mut holds = Vec::new();
    for (index, (partition, watermark)) in checked.partitions.iter().zip(&locked.watermarks).enumerate() {
        let hold = |reason| Hold { index, watermark: watermark.clone(), server_started_us, reason };
        let is_trusted = partition.is_confirmed
            || trust.covers(watermark, server_started_us)
            || watermark.applied.is_none_or(|applied| partition.has(applied.last_offset, applied.last_hash));
        if !is_trusted {
            holds.push(hold(Reason::Unverified));
            continue;
        }
        let gaps = gaps.remove(&index).unwrap_or_default();
        let unit = Unit {
            records: &partition.traces,
            vouched: partition.vouched,
            gaps: &gaps,
            is_confirmed: partition.is_confirmed,
        };
        match resume(watermark, &unit) {
            Resume::Apply(plan) => planned.push(Planned { partition, plan, gaps }),
            Resume::Behind { until } => holds.push(hold(Reason::Behind { until })),
            Resume::Contradicted(contradiction) => holds.push(hold(Reason::Contradicted(contradiction))),
        }
    }
    Ok(if holds.is_empty() { Plans::Ready(planned) } else { Plans::Held(holds) })
}

/// Finds the gaps that overlap the batch's records below the watermarks, by partition index. Most batches have no such
/// records and need no query.
async fn overlapping_gaps(
    connection: &mut PgConnection,
    destination: Destination,
    checked: &CheckedBatch<'_>,
    locked: &Locked,
) -> Result<HashMap<usize, Vec<Gap>>, sqlx::Error> {
    let below = |(partition, watermark): (&Partition<'_>, &Watermark)| {
        let first = partition.traces.first().filter(|first| first.offset < watermark.next_offset)?.offset;
        Some((watermark.topic.clone(), watermark.partition, first, watermark.next_offset - 1))
    };
    let ranges: Vec<_> = checked.partitions.iter().zip(&locked.watermarks).filter_map(below).collect();
    let mut found = HashMap::new();
    if ranges.is_empty() {
        return Ok(found);
    }
    let ranges: Vec<_> = ranges.iter().map(|(topic, at, first, last)| (topic.as_str(), *at, *first, *last)).collect();
    for gap in gaps::overlapping(connection, destination, &ranges).await? {
        let of = |partition: &Partition<'_>| (partition.topic, partition.partition) == (&gap.topic, gap.partition);
        if let Some(index) = checked.partitions.iter().position(of) {
            found.entry(index).or_insert_with(Vec::new).push(gap);
        }
    }
    Ok(found)
}

/// Stores the gaps that the plans leave. Removes offsets from older gaps if their records arrived after all.
pub(crate) async fn note_gaps(
    connection: &mut PgConnection,
    destination: Destination,
    planned: &[&Planned<'_, '_>],
) -> Result<(), sqlx::Error> {
    let new: Vec<NewGap<'_>> = planned.iter().flat_map(|one| one.new_gaps()).collect();
    gaps::note(connection, destination, &new).await?;
    for one in planned {
        for (index, offsets) in &one.plan.filled {
            gaps::fill(connection, &one.gaps[*index], offsets).await?;
        }
    }
    Ok(())
}

impl<'c, 'b> Planned<'c, 'b> {
    /// Adds the plan to a batch's summary.
    pub(crate) fn note(&self, landed: &mut Tally) {
        let Self { partition, plan, .. } = self;
        let stream = &partition.contract.stream;
        let summary = landed.for_stream(stream);
        summary.records += partition.records.len();
        summary.redelivered += partition.records.len() - plan.applies();
        summary.skipped_offsets += plan.misses();
        let fresh = plan.fresh.iter().flat_map(|(range, _)| &partition.traces[range.clone()]);
        if let Some(oldest_ms) = fresh.map(|trace| trace.timestamp_ms).min() {
            landed.note_time(stream, oldest_ms);
        }
        for (first_offset, last_offset, cause) in &plan.missing {
            let (topic, partition) = (partition.topic, partition.partition);
            match cause {
                Cause::Retention | Cause::Unknown => {
                    let cause = cause.name();
                    tracing::warn!(
                        topic,
                        partition,
                        first_offset,
                        last_offset,
                        cause,
                        "Kafka no longer has these offsets"
                    );
                }
                // Holes are normal in this topic.
                Cause::Compaction | Cause::Transaction => {
                    tracing::debug!(
                        topic,
                        partition,
                        first_offset,
                        last_offset,
                        "Kafka has no records at these offsets"
                    );
                }
            }
        }
    }

    /// Adds to `activity` the times and offsets of the records that land.
    pub(crate) fn note_log(&self, activity: &mut Activity) {
        let Self { partition, plan, .. } = self;
        let present = plan.after.incarnation();
        for (range, incarnation) in &plan.fresh {
            let traces = &partition.traces[range.clone()];
            let Some(last) = traces.last() else { continue };
            let (topic, partition, offset, incarnation) =
                (partition.topic, partition.partition, last.offset, *incarnation);
            let log = activity.of_log(LogPosition { topic, partition, offset, incarnation });
            log.last_offset = log.last_offset.max(Some(offset));
            let oldest_ms = traces.iter().map(|trace| trace.timestamp_ms).chain(log.oldest_ms).min();
            log.oldest_ms = oldest_ms;
            if incarnation == present {
                log.end_offset = Some(plan.after.next_offset);
            }
        }
    }

    /// Shortens the plan to the records before the index `end`. `watermark` is the watermark that the plan starts from.
    pub(crate) fn cut(self, watermark: &Watermark, end: usize) -> Self {
        let Self { partition, plan, gaps } = self;
        let next_offset = partition.traces[end].offset;
        let vouched = match partition.vouched {
            Vouched::ByKafka { from, until, log_start, holes } => {
                Vouched::ByKafka { from, until: until.min(next_offset), log_start, holes }
            }
            vouched @ (Vouched::No | Vouched::Deleted) => vouched,
        };
        let records = &partition.traces[..end];
        let unit = Unit { records, vouched, gaps: &gaps, is_confirmed: partition.is_confirmed };
        let plan = match resume(watermark, &unit) {
            Resume::Apply(shorter) => shorter,
            Resume::Behind { .. } | Resume::Contradicted(_) => plan,
        };
        Self { partition, plan, gaps }
    }

    pub(crate) fn changes_nothing(&self) -> bool {
        self.plan.applies() == 0 && self.plan.missing.is_empty()
    }

    /// Returns the ranges of records to land, each with its incarnation.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = (&'c Partition<'b>, Range<usize>, i32)> + use<'_, 'c, 'b> {
        self.plan.fresh.iter().map(|(range, incarnation)| (self.partition, range.clone(), *incarnation))
    }

    fn new_gaps(&self) -> impl Iterator<Item = NewGap<'_>> {
        let Self { partition, plan, .. } = self;
        plan.missing.iter().map(|&(first_offset, last_offset, cause)| NewGap {
            topic: partition.topic,
            partition: partition.partition,
            incarnation: plan.after.incarnation(),
            first_offset,
            last_offset,
            cause,
        })
    }

    /// Remembers the partition's log as verified, because the landed records came from that log. If the log was
    /// deleted, forgets the partition instead. May be called only after the landing transaction has committed.
    pub(crate) fn trust(&self, trust: &Trust, server_started_us: i64) {
        match self.partition.vouched {
            Vouched::No | Vouched::ByKafka { .. } => trust.note(&self.plan.after, server_started_us),
            Vouched::Deleted => trust.doubt(&self.plan.after),
        }
    }
}
