//! Decides which of a partition's records to apply. Drops the records that were applied before, but no others. Notices
//! when the records come from another log than the applied records.
//!
//! A record does not say which log it comes from. When a topic is recreated or its log is truncated, different records
//! appear under offsets that were applied before. A record below the watermark contradicts what was applied if any of
//! the following is true:
//!
//! - the record is newer than every applied record
//! - the record has the offset of the first or last applied record, but another hash
//! - Kafka had no record at the record's offset before

use std::ops::Range;

use shared::ledger::gaps::{Cause, Gap};
use shared::ledger::watermarks::{Applied, Watermark};

/// The features of a record that show whether it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) hash: i64,
}

/// Who confirms that the offsets missing from a batch are missing from Kafka as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// Nobody does: an event source mapping delivered the records and may have skipped some.
    No,
    /// Kafka does. The log begins at `log_start`. It was read, beginning at `from` and ending before `until`. `holes`
    /// is the reason why offsets at or above `log_start` are missing.
    ByKafka { from: i64, until: i64, log_start: i64, holes: Cause },
    /// Nobody can, because the log was deleted.
    Deleted,
}

/// A partition's records, and what is known about their log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit<'a> {
    /// In the order of their offsets.
    pub(crate) records: &'a [Trace],
    pub(crate) vouched: Vouched,
    /// The partition's exact gaps (see `shared::ledger::gaps`) that overlap the offsets from the first of `records` to
    /// the watermark.
    pub(crate) gaps: &'a [Gap],
    /// Whether Kafka was already asked about this partition's log, and its answer did not lead to a new incarnation. In
    /// that case, `resume` does not compare these records with the applied ones.
    pub(crate) is_confirmed: bool,
}

/// What to do with a partition's records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    Apply(Plan),
    /// Offsets are missing between the watermark and `until`, which is excluded. Only Kafka can say whether the batch
    /// skipped them or the log lacks them.
    Behind {
        until: i64,
    },
    /// Records below the watermark contradict what was applied. Only Kafka can say whether its log is still the same.
    Contradicted(Contradiction),
}

/// How records below the watermark contradict what was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contradiction {
    /// A record arrived at an offset where Kafka had none before.
    Surprise,
    /// A record differs from the one that was applied at its offset.
    Difference,
}

/// What to apply, and the watermark afterwards.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Index ranges of records to apply, each with its incarnation.
    pub(crate) fresh: Vec<(Range<usize>, i32)>,
    /// The ranges of offsets that Kafka does not have: first offset, last offset and cause.
    pub(crate) missing: Vec<(i64, i64, Cause)>,
    /// The gaps whose records arrived after all: each gap's index, and the offsets to remove from the gap.
    pub(crate) filled: Vec<(usize, Vec<i64>)>,
    pub(crate) after: Watermark,
}

impl Plan {
    /// Returns the number of records to apply.
    pub(crate) fn applies(&self) -> usize {
        self.fresh.iter().map(|(range, _)| range.len()).sum()
    }

    /// Returns the number of missing offsets.
    pub(crate) fn misses(&self) -> i64 {
        self.missing.iter().map(|(first, last, _)| last - first + 1).sum()
    }
}

/// Decides which of a partition's records to apply.
pub(crate) fn resume(watermark: &Watermark, unit: &Unit<'_>) -> Resume {
    let below = unit.records.partition_point(|record| record.offset < watermark.next_offset);
    let missed = |record: &Trace| {
        let incarnation = watermark.incarnation_at(record.offset);
        let holds =
            |gap: &Gap| gap.incarnation == incarnation && (gap.first_offset..=gap.last_offset).contains(&record.offset);
        unit.gaps.iter().position(holds)
    };
    let come_back: Vec<(usize, usize)> =
        unit.records[..below].iter().enumerate().filter_map(|(index, record)| Some((index, missed(record)?))).collect();
    if !unit.is_confirmed {
        let is_missed = |index: usize| come_back.iter().any(|(missed, _)| *missed == index);
        if watermark.applied.is_some_and(|applied| differs(&applied, watermark.next_offset, unit.records, is_missed)) {
            return Resume::Contradicted(Contradiction::Difference);
        }
        if !come_back.is_empty() {
            return Resume::Contradicted(Contradiction::Surprise);
        }
    }
    let missing = match missing(watermark.next_offset, &unit.records[below..], unit.vouched) {
        Ok(missing) => missing,
        Err(until) => return Resume::Behind { until },
    };
    Resume::Apply(plan(watermark, unit, below, &come_back, missing))
}

/// Returns whether records below the watermark differ from those that were applied.
fn differs(applied: &Applied, next_offset: i64, records: &[Trace], is_missed: impl Fn(usize) -> bool) -> bool {
    let at = |offset: i64| records.binary_search_by_key(&offset, |record| record.offset).ok();
    let differs_at = |offset: i64, hash: i64| at(offset).is_some_and(|index| records[index].hash != hash);
    // If the last applied record is unchanged, so is everything before it.
    let has_last = at(applied.last_offset).is_some_and(|index| records[index].hash == applied.last_hash);
    let is_newer = |(index, record): (usize, &Trace)| {
        record.timestamp_ms > applied.max_timestamp_ms
            && record.offset < next_offset
            && !(has_last && record.offset <= applied.last_offset)
            && !is_missed(index)
    };
    let differs_where_known = !has_last
        && (differs_at(applied.first_offset, applied.first_hash) || differs_at(applied.last_offset, applied.last_hash));
    differs_where_known || records.iter().enumerate().any(is_newer)
}

/// Returns the missing ranges from `next_offset` on: first offset, last offset and cause. If some ranges are not
/// vouched for, the error is the offset where the last of these ranges ends.
fn missing(next_offset: i64, fresh: &[Trace], vouched: Vouched) -> Result<Vec<(i64, i64, Cause)>, i64> {
    // Each range excludes its end.
    let mut holes: Vec<Range<i64>> = Vec::new();
    let mut expected = next_offset;
    for record in fresh {
        if record.offset > expected {
            holes.push(expected..record.offset);
        }
        expected = record.offset + 1;
    }
    match vouched {
        Vouched::No => holes.last().map_or(Ok(Vec::new()), |hole| Err(hole.end)),
        Vouched::Deleted => Ok(holes.into_iter().map(|hole| (hole.start, hole.end - 1, Cause::Unknown)).collect()),
        Vouched::ByKafka { from, until, log_start, holes: cause } => {
            if until > expected {
                holes.push(expected..until);
            }
            if let Some(hole) = holes.iter().rev().find(|hole| hole.start < from || hole.end > until) {
                return Err(hole.end);
            }
            let parts = holes.into_iter().flat_map(|hole| {
                let kept = log_start.clamp(hole.start, hole.end);
                [(hole.start, kept, Cause::Retention), (kept, hole.end, cause)]
            });
            Ok(parts.filter(|(first, end, _)| first < end).map(|(first, end, why)| (first, end - 1, why)).collect())
        }
    }
}

fn plan(
    watermark: &Watermark,
    unit: &Unit<'_>,
    below: usize,
    come_back: &[(usize, usize)],
    missing: Vec<(i64, i64, Cause)>,
) -> Plan {
    let mut fresh: Vec<(Range<usize>, i32)> = Vec::new();
    let mut filled: Vec<(usize, Vec<i64>)> = Vec::new();
    for &(index, gap) in come_back {
        let incarnation = unit.gaps[gap].incarnation;
        match fresh.last_mut() {
            Some((range, of)) if range.end == index && *of == incarnation => range.end = index + 1,
            Some(_) | None => fresh.push((index..index + 1, incarnation)),
        }
        match filled.last_mut() {
            Some((last, offsets)) if *last == gap => offsets.push(unit.records[index].offset),
            Some(_) | None => filled.push((gap, vec![unit.records[index].offset])),
        }
    }
    if below < unit.records.len() {
        fresh.push((below..unit.records.len(), watermark.incarnation()));
    }
    let mut after = watermark.clone();
    for (range, incarnation) in &fresh {
        for record in unit.records[range.clone()].iter().filter(|_| *incarnation == watermark.incarnation()) {
            after.applied = Some(applied_after(after.applied, record));
            after.next_offset = after.next_offset.max(record.offset + 1);
        }
    }
    if let Some((_, last, _)) = missing.last() {
        after.next_offset = after.next_offset.max(last + 1);
    }
    Plan { fresh, missing, filled, after }
}

/// Adds a record to what is known about the applied records.
fn applied_after(applied: Option<Applied>, record: &Trace) -> Applied {
    let Trace { offset, timestamp_ms, hash } = *record;
    let Some(mut applied) = applied else {
        return Applied {
            max_timestamp_ms: timestamp_ms,
            first_offset: offset,
            first_hash: hash,
            last_offset: offset,
            last_hash: hash,
        };
    };
    applied.max_timestamp_ms = applied.max_timestamp_ms.max(timestamp_ms);
    if offset < applied.first_offset {
        (applied.first_offset, applied.first_hash) = (offset, hash);
    }
    if offset > applied.last_offset {
        (applied.last_offset, applied.last_hash) = (offset, hash);
    }
    applied
}

#[cfg(test)]
mod tests {
    use shared::ledger::watermarks::Restart;

    use super::*;

    /// Records at `offsets`, each with the timestamp `since_ms` plus its offset. Their hashes depend on `log`.
    fn log(log: i64, offsets: Range<i64>, since_ms: i64) -> Vec<Trace> {
        offsets.map(|offset| Trace { offset, timestamp_ms: since_ms + offset, hash: log * 1_000 + offset }).collect()
    }

    fn fresh() -> Watermark {
        Watermark { topic: "t".to_owned(), partition: 0, next_offset: 0, starts: vec![0], applied: None }
    }

    const NOBODY: Unit<'static> = Unit { records: &[], vouched: Vouched::No, gaps: &[], is_confirmed: false };

    fn after(records: &[Trace]) -> Watermark {
        match resume(&fresh(), &Unit { records, ..NOBODY }) {
            Resume::Apply(plan) => plan.after,
            other @ (Resume::Behind { .. } | Resume::Contradicted(_)) => panic!("{other:?}"),
        }
    }

    /// Returns how many of the records are applied, or why the batch is not applied.
    fn applies(watermark: &Watermark, records: &[Trace]) -> Result<usize, Box<Resume>> {
        match resume(watermark, &Unit { records, ..NOBODY }) {
            Resume::Apply(plan) => Ok(plan.applies()),
            other @ (Resume::Behind { .. } | Resume::Contradicted(_)) => Err(Box::new(other)),
        }
    }

    fn different() -> Result<usize, Box<Resume>> {
        Err(Box::new(Resume::Contradicted(Contradiction::Difference)))
    }

    #[test]
    fn only_the_new_tail_of_a_redelivered_batch_is_applied() {
        let watermark = after(&log(1, 0..10, 0));
        assert_eq!(applies(&watermark, &log(1, 0..10, 0)), Ok(0));
        assert_eq!(applies(&watermark, &log(1, 3..6, 0)), Ok(0));
        assert_eq!(applies(&watermark, &log(1, 5..15, 0)), Ok(5));
        assert_eq!(applies(&watermark, &log(1, 10..12, 0)), Ok(2));
    }

    #[test]
    fn a_batch_above_the_watermark_or_with_holes_waits_for_the_missing_records() {
        let watermark = after(&log(1, 0..10, 0));
        assert_eq!(applies(&watermark, &log(1, 13..15, 0)), Err(Box::new(Resume::Behind { until: 13 })));
        assert_eq!(applies(&fresh(), &log(1, 13..15, 0)), Err(Box::new(Resume::Behind { until: 13 })));
        let holes = [log(1, 8..12, 0), log(1, 14..16, 0), log(1, 17..20, 0)].concat();
        assert_eq!(applies(&watermark, &holes), Err(Box::new(Resume::Behind { until: 17 })));
    }

    #[test]
    fn missing_offsets_are_blamed_on_retention_only_if_they_precede_the_start_of_the_log() {
        let watermark = after(&log(1, 0..10, 0));
        let records = [log(1, 15..17, 0), log(1, 18..19, 0)].concat();
        let vouched = Vouched::ByKafka { from: 10, until: 20, log_start: 12, holes: Cause::Transaction };
        let Resume::Apply(plan) = resume(&watermark, &Unit { records: &records, vouched, ..NOBODY }) else {
            panic!("the batch was not applied")
        };
        let transaction = |first, last| (first, last, Cause::Transaction);
        assert_eq!(
            plan.missing,
            [(10, 11, Cause::Retention), transaction(12, 14), transaction(17, 17), transaction(19, 19)]
        );
        assert_eq!((plan.after.next_offset, plan.after.applied.map(|applied| applied.last_offset)), (20, Some(18)));
        // The last applied record is recognised although the watermark is beyond it.
        assert_eq!(applies(&plan.after, &log(1, 18..19, 0)), Ok(0));
        assert_eq!(applies(&plan.after, &log(2, 18..19, 0)), different());
        let later = Vouched::ByKafka { from: 12, until: 20, log_start: 12, holes: Cause::Transaction };
        let resumed = resume(&watermark, &Unit { records: &records, vouched: later, ..NOBODY });
        assert_eq!(resumed, Resume::Behind { until: 15 });
    }

    #[test]
    fn a_record_in_a_gap_is_applied_only_after_kafka_has_confirmed_that_the_log_is_unchanged() {
        let watermark = Watermark { next_offset: 9, ..after(&log(1, 0..6, 0)) };
        let gap = Gap { id: 1, topic: "t".to_owned(), partition: 0, incarnation: 1, first_offset: 6, last_offset: 8 };
        let records = log(1, 7..9, 0);
        let unit = Unit { records: &records, gaps: std::slice::from_ref(&gap), ..NOBODY };
        assert_eq!(resume(&watermark, &unit), Resume::Contradicted(Contradiction::Surprise));
        let Resume::Apply(plan) = resume(&watermark, &Unit { is_confirmed: true, ..unit }) else {
            panic!("the batch was not applied")
        };
        assert_eq!((plan.applies(), plan.filled, plan.after.next_offset), (2, vec![(0, vec![7, 8])], 9));
    }

    #[test]
    fn newer_timestamps_reveal_a_recreated_topic() {
        let watermark = after(&log(1, 0..10, 0));
        assert_eq!(applies(&watermark, &log(2, 0..3, 1_000)), different());
        assert_eq!(applies(&watermark, &log(2, 4..6, 1_000)), different());
    }

    #[test]
    fn a_recreated_topic_is_noticed_even_if_its_timestamps_are_older() {
        let watermark = after(&log(1, 0..10, 5_000));
        assert_eq!(applies(&watermark, &log(2, 0..3, 0)), different());
        assert_eq!(applies(&watermark, &log(2, 9..12, 0)), different());
    }

    #[test]
    fn a_truncated_log_is_noticed_when_other_records_have_the_old_offsets() {
        let truncated = [log(1, 0..6, 0), log(2, 6..8, 1_000)].concat();
        let mut watermark = after(&log(1, 0..10, 0));
        assert_eq!(applies(&watermark, &truncated), different());
        watermark.restart(Restart { start: 6, keeps_first: true });
        assert_eq!(applies(&watermark, &truncated), Ok(2));
        // The log is truncated again before any of its new records were applied.
        assert_eq!(applies(&watermark, &[log(1, 0..4, 0), log(3, 4..8, 2_000)].concat()), different());
    }

    #[test]
    fn a_new_incarnation_is_applied_from_its_start() {
        let mut watermark = after(&log(1, 0..10, 5_000));
        let recreated = |start| Restart { start, keeps_first: false };
        watermark.restart(recreated(0));
        let records = log(2, 0..3, 0);
        assert_eq!(applies(&watermark, &records), Ok(3));
        assert_eq!((watermark.incarnation(), watermark.incarnation_at(7)), (2, 2));
        watermark.restart(recreated(2));
        assert_eq!((watermark.incarnation_at(1), watermark.incarnation_at(2)), (2, 3));
    }
}
