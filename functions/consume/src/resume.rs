//! From which record on a partition's batch is new: what was applied already is dropped, and offsets that started
//! anew are noticed.
//!
//! A record does not say which topic it is from: when a topic is deleted and created anew, or its log is truncated,
//! other records come under offsets that were applied before. Below the watermark, a record is told from the one
//! that was applied there by its time, if it is newer than all that was applied, or by its hash, which is kept of the
//! first and the last.

use shared::watermark::Applied;

/// What of a record tells whether it was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) hash: i64,
}

/// Where a partition's batch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resume {
    /// The index of the first record to apply; the number of records if all have been applied.
    pub(crate) from: usize,
    /// Whether the offsets have started anew.
    pub(crate) new_incarnation: bool,
    /// Offsets between the watermark and the first record that never came.
    pub(crate) skipped_offsets: i64,
}

/// Decides where a batch goes on. `records` are of one partition, in the order of their offsets.
pub(crate) fn resume(applied: Option<&Applied>, records: &[Trace]) -> Resume {
    let Some(applied) = applied else {
        return Resume { from: 0, new_incarnation: false, skipped_offsets: 0 };
    };
    if let Some(from) = first_of_new_incarnation(applied, records) {
        return Resume { from, new_incarnation: true, skipped_offsets: 0 };
    }
    let from = records.partition_point(|record| record.offset < applied.next_offset);
    let skipped_offsets = match records.get(from) {
        Some(first) => first.offset - applied.next_offset,
        None => 0,
    };
    Resume { from, new_incarnation: false, skipped_offsets }
}

fn first_of_new_incarnation(applied: &Applied, records: &[Trace]) -> Option<usize> {
    let at = |offset: i64| records.binary_search_by_key(&offset, |record| record.offset).ok();
    let differs = |offset: i64, hash: i64| at(offset).filter(|&index| records[index].hash != hash);
    let last_offset = applied.next_offset - 1;
    let last_differs = differs(last_offset, applied.last_hash);
    // The very record that was applied last: all before it is as it was.
    if at(last_offset).is_some() && last_differs.is_none() {
        return None;
    }
    let newer = records
        .iter()
        .position(|record| record.offset < applied.next_offset && record.timestamp_ms > applied.max_timestamp_ms);
    [differs(applied.first_offset, applied.first_hash), newer, last_differs].into_iter().flatten().min()
}

/// What has been applied once the records from `resume.from` on are.
pub(crate) fn applied_after(applied: Option<&Applied>, resume: Resume, records: &[Trace]) -> Option<Applied> {
    let fresh = &records[resume.from..];
    let (Some(first), Some(last)) = (fresh.first(), fresh.last()) else {
        return applied.copied();
    };
    let newest = fresh.iter().map(|record| record.timestamp_ms).max().unwrap_or_default();
    let before = applied.filter(|_| !resume.new_incarnation);
    Some(Applied {
        next_offset: last.offset + 1,
        max_timestamp_ms: before.map_or(newest, |before| before.max_timestamp_ms.max(newest)),
        first_offset: before.map_or(first.offset, |before| before.first_offset),
        first_hash: before.map_or(first.hash, |before| before.first_hash),
        last_hash: last.hash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records at `offsets`, a millisecond apart from `since_ms` on; `log` makes their hashes.
    fn log(log: i64, offsets: std::ops::Range<i64>, since_ms: i64) -> Vec<Trace> {
        offsets.map(|offset| Trace { offset, timestamp_ms: since_ms + offset, hash: log * 1_000 + offset }).collect()
    }

    fn after(records: &[Trace]) -> Option<Applied> {
        applied_after(None, resume(None, records), records)
    }

    fn goes_on(applied: Option<Applied>, records: &[Trace]) -> (usize, bool, i64) {
        let resume = resume(applied.as_ref(), records);
        (resume.from, resume.new_incarnation, resume.skipped_offsets)
    }

    #[test]
    fn a_replayed_batch_is_dropped_and_only_its_new_tail_is_applied() {
        let applied = after(&log(1, 0..10, 0));
        assert_eq!(goes_on(applied, &log(1, 0..10, 0)), (10, false, 0));
        assert_eq!(goes_on(applied, &log(1, 3..6, 0)), (3, false, 0));
        assert_eq!(goes_on(applied, &log(1, 5..15, 0)), (5, false, 0));
        assert_eq!(goes_on(applied, &log(1, 10..12, 0)), (0, false, 0));
    }

    #[test]
    fn offsets_that_never_came_are_counted() {
        assert_eq!(goes_on(after(&log(1, 0..10, 0)), &log(1, 13..15, 0)), (0, false, 3));
        assert_eq!(goes_on(None, &log(1, 13..15, 0)), (0, false, 0));
    }

    #[test]
    fn a_topic_created_anew_is_noticed_by_newer_times() {
        assert_eq!(goes_on(after(&log(1, 0..10, 0)), &log(2, 0..3, 1_000)), (0, true, 0));
        assert_eq!(goes_on(after(&log(1, 0..10, 0)), &log(2, 4..6, 1_000)), (0, true, 0));
    }

    #[test]
    fn a_topic_created_anew_is_noticed_although_its_clock_stood_back() {
        assert_eq!(goes_on(after(&log(1, 0..10, 5_000)), &log(2, 0..3, 0)), (0, true, 0));
        assert_eq!(goes_on(after(&log(1, 0..10, 5_000)), &log(2, 9..12, 0)), (0, true, 0));
    }

    #[test]
    fn a_truncated_log_is_noticed_where_it_was_written_anew() {
        let mut truncated = log(1, 0..6, 0);
        truncated.extend(log(2, 6..8, 1_000));
        assert_eq!(goes_on(after(&log(1, 0..10, 0)), &truncated), (6, true, 0));
    }

    #[test]
    fn what_was_applied_after_a_restart_counts_from_there() {
        let old = after(&log(1, 0..10, 5_000));
        let anew = log(2, 0..3, 0);
        let applied = applied_after(old.as_ref(), resume(old.as_ref(), &anew), &anew);
        assert_eq!(applied, after(&anew));
        assert_eq!(goes_on(applied, &anew), (3, false, 0));
        assert_eq!(goes_on(applied, &log(2, 3..4, 0)), (0, false, 0));
    }
}
