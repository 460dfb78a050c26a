//! Checks the last records of each topic against the new contracts. Nothing is written to Kafka.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use shared::kafka::reader::{Limits, ReadError, Reader};
use tokio::task::JoinHandle;

use super::change::{Affects, Change, Severity};
use super::check::{Checker, Tally};
use super::compare::{Documents, compiled};
use crate::terminal::say;

/// The limits of one read.
const LIMITS: Limits = Limits { max_records: 5_000, max_bytes: 8 * 1_024 * 1_024, max_time: Duration::from_secs(30) };
/// The number of chunks of records that are checked at the same time, each on its own thread.
const CHECKED_AT_ONCE: usize = 4;

/// Reads up to `most` records from the end of each stream's topic. Counts how many of these records each change
/// affects. If there are no old contracts (`old` is `None`), counts how many of these records the new contracts reject.
/// Returns the number of records that were checked.
///
/// # Errors
/// Kafka cannot be read.
pub(super) async fn replay(
    reader: &dyn Reader,
    most: usize,
    old: Option<&Documents>,
    new: &Documents,
    changes: &mut Vec<Change>,
) -> Result<usize, ReadError> {
    let mut checked = 0;
    for stream in old.unwrap_or(new).keys() {
        let compile = |documents: Option<&Documents>| {
            documents?.get(stream).and_then(|document| compiled(stream, document).ok()).map(Arc::new)
        };
        let (old, new) = (compile(old), compile(Some(new)));
        // The stream's real events are in the topic that the old contract names.
        let Some(topic) = old.as_ref().or(new.as_ref()).map(|contract| contract.topic.clone()) else { continue };
        let own: Vec<usize> = (0..changes.len()).filter(|index| &changes[*index].stream == stream).collect();
        let affects = own.iter().map(|index| changes[*index].affects.clone()).collect();
        let checker = Arc::new(Checker { old, new, affects });
        match last_records(reader, &topic, most, &checker).await? {
            Some(tally) => {
                checked += tally.checked;
                settle(stream, &own, tally, changes);
            }
            None => say(format_args!("topic {topic} does not exist, so no events of stream {stream} were checked")),
        }
    }
    Ok(checked)
}

/// Adds the counts to the changes of a stream. Also adds a change for each kind of rejection that no listed change
/// explains.
fn settle(stream: &str, own: &[usize], tally: Tally, changes: &mut Vec<Change>) {
    for (index, affected) in own.iter().zip(tally.affected) {
        match changes[*index].affects {
            Affects::Nothing => {}
            Affects::All | Affects::Violating { .. } | Affects::Filling(_) | Affects::Rekeyed => {
                changes[*index].count(affected, tally.checked);
            }
        }
    }
    for ((keyword, detail), rejected) in tally.unexplained {
        let text = format!("rejects real events: {detail}");
        let mut change = Change::new(stream, keyword, Severity::Breaking, text, Affects::Nothing);
        change.count(rejected, tally.checked);
        changes.push(change);
    }
}

/// Checks the last records of a topic. Returns `None` if the topic does not exist.
async fn last_records(
    reader: &dyn Reader,
    topic: &str,
    most: usize,
    checker: &Arc<Checker>,
) -> Result<Option<Tally>, ReadError> {
    let Some(partitions) = reader.partitions(topic).await? else { return Ok(None) };
    let mut ranges = Vec::new();
    for partition in 0..partitions {
        let bounds = reader.bounds(topic, partition).await?;
        ranges.push((partition, bounds.start..bounds.end));
    }
    let mut tally = Tally::default();
    let mut checking: VecDeque<JoinHandle<Tally>> = VecDeque::new();
    for (partition, range) in last(ranges, most) {
        let mut from = range.start;
        while from < range.end {
            let chunk = reader.read(topic, partition, from, range.end, LIMITS).await?;
            from = chunk.until;
            let (checker, topic) = (Arc::clone(checker), topic.to_owned());
            checking.push_back(tokio::task::spawn_blocking(move || checker.check(&topic, partition, &chunk.records)));
            if checking.len() >= CHECKED_AT_ONCE
                && let Some(first) = checking.pop_front()
            {
                tally.add(finished(first).await);
            }
        }
    }
    for last in checking {
        tally.add(finished(last).await);
    }
    Ok(Some(tally))
}

async fn finished(checking: JoinHandle<Tally>) -> Tally {
    checking.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

/// Keeps only the end of each partition's range: `most` offsets in all, spread evenly over the partitions, or all
/// offsets if there are fewer.
fn last(mut ranges: Vec<(i32, Range<i64>)>, most: usize) -> Vec<(i32, Range<i64>)> {
    let mut left = i64::try_from(most).unwrap_or(i64::MAX);
    let length = |range: &Range<i64>| range.end.saturating_sub(range.start).max(0);
    // Handles the shortest ranges first. If a range is shorter than its share, the rest of the share is divided among
    // the longer ranges.
    ranges.sort_by_key(|(_, range)| length(range));
    let count = ranges.len();
    for (index, (_, range)) in ranges.iter_mut().enumerate() {
        let share = left / i64::try_from(count - index).unwrap_or(i64::MAX);
        let taken = length(range).min(share);
        range.start = range.end - taken;
        left -= taken;
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_records_are_read_evenly_from_all_partitions_up_to_the_allowed_number() {
        let taken = |lengths: &[i64], most: usize| {
            let ranges = lengths.iter().zip(0..).map(|(length, partition)| (partition, 100..100 + length)).collect();
            let mut taken = last(ranges, most);
            taken.sort_by_key(|(partition, _)| *partition);
            taken.into_iter().map(|(_, range)| range).collect::<Vec<_>>()
        };
        assert_eq!(taken(&[10, 10], 4), [108..110, 108..110]);
        assert_eq!(taken(&[1, 10, 0], 8), [100..101, 103..110, 100..100]);
        assert_eq!(taken(&[3, 4], 100), [100..103, 100..104]);
        assert_eq!(taken(&[5, 5], 1).iter().map(|range| range.end - range.start).sum::<i64>(), 1);
        assert_eq!(taken(&[], 5), []);
    }
}
