//! How far landing is behind Kafka: where logs end, compared with the watermarks.

use std::time::Duration;

use super::progress::{PartitionProgress, Progress};
use crate::kafka::reader::Ends;

/// How far a topic is behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// The number of records that have not landed.
    pub events: i64,
    /// How late these records are; `None` if none of the oldest records could be read in time.
    pub times: Option<Times>,
}

/// How late the unlanded records are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// The age of the oldest record that has not landed.
    pub oldest: Duration,
    /// The time for which the worst partition has landed nothing, although it had records to land.
    pub since_success: Duration,
}

/// Returns a topic's lag: the number of unlanded records in all partitions, and the longest of the partitions' times.
pub fn of_topic(topic: &str, progress: &Progress, ends: &Ends, now_ms: i64) -> Lag {
    let mut lag = Lag { events: 0, times: Some(Times::default()) };
    let mut known = Vec::new();
    for ((_, partition), position) in ends.range((topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX)) {
        let applied = progress.applied.get(&(topic.to_owned(), *partition));
        let events = position.unlanded(applied.map(|applied| applied.next_offset));
        if events > 0 {
            lag.events += events;
            known.extend(position.oldest_ms.map(|oldest_ms| times(applied, oldest_ms, now_ms)));
        }
    }
    if lag.events > 0 {
        lag.times = known.into_iter().reduce(|one, other| Times {
            oldest: one.oldest.max(other.oldest),
            since_success: one.since_success.max(other.since_success),
        });
    }
    lag
}

/// Returns how late a partition's records are, given the timestamp of the oldest record that has not landed. Without
/// this timestamp, nothing can be said: the time since the partition's last success also contains the time for which
/// the partition was idle.
fn times(applied: Option<&PartitionProgress>, oldest_ms: i64, now_ms: i64) -> Times {
    // A producer's clock may be ahead of ours.
    let oldest = Duration::from_millis(u64::try_from(now_ms - oldest_ms).unwrap_or_default());
    // If a partition was idle for a day, and then a record arrives, the partition has not been failing for a day.
    let since_success = applied.map_or(oldest, |applied| oldest.min(applied.success_age));
    Times { oldest, since_success }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::reader::Position;

    const SECOND_MS: i64 = 1_000;

    /// Returns the lag of a topic with these partitions. Each has its progress, if there is any, and its position.
    fn lag(partitions: &[(Option<PartitionProgress>, Position)], now_ms: i64) -> Lag {
        let (mut progress, mut ends) = (Progress::default(), Ends::new());
        for (number, (applied, position)) in (0..).zip(partitions) {
            let key = ("t".to_owned(), number);
            ends.insert(key.clone(), *position);
            progress.applied.extend(applied.map(|applied| (key, applied)));
        }
        of_topic("t", &progress, &ends, now_ms)
    }

    fn applied(next_offset: i64, seconds: u64) -> Option<PartitionProgress> {
        Some(PartitionProgress { next_offset, success_age: Duration::from_secs(seconds) })
    }

    fn seconds(oldest: u64, since_success: u64) -> Option<Times> {
        let seconds = Duration::from_secs;
        Some(Times { oldest: seconds(oldest), since_success: seconds(since_success) })
    }

    #[test]
    fn there_is_no_lag_if_the_watermark_is_at_the_end_or_the_topic_is_empty() {
        let end = |first, end| Position { first, end, oldest_ms: None };
        for partition in [(applied(7, 900), end(0, 7)), (None, end(7, 7)), (applied(9, 900), end(0, 7))] {
            assert_eq!(lag(&[partition], 0), Lag { events: 0, times: seconds(0, 0) });
        }
        assert_eq!(lag(&[], 0), Lag { events: 0, times: seconds(0, 0) });
    }

    #[test]
    fn a_partition_counts_as_failing_since_its_last_success_but_not_before_its_oldest_unlanded_record_arrived() {
        let position = Position { first: 0, end: 10, oldest_ms: Some(100 * SECOND_MS) };
        let now_ms = 130 * SECOND_MS;
        let long_idle = lag(&[(applied(7, 86_400), position)], now_ms);
        assert_eq!(long_idle, Lag { events: 3, times: seconds(30, 30) });
        let catching_up = lag(&[(applied(7, 2), position)], now_ms);
        assert_eq!(catching_up, Lag { events: 3, times: seconds(30, 2) });
        assert_eq!(lag(&[(None, position)], now_ms), Lag { events: 10, times: seconds(30, 30) });
        assert_eq!(lag(&[(applied(7, 2), position)], 0), Lag { events: 3, times: seconds(0, 0) });
    }

    #[test]
    fn times_are_unknown_if_no_unlanded_record_could_be_read_however_long_the_partition_was_idle() {
        let unread = Position { first: 0, end: 10, oldest_ms: None };
        let read = Position { oldest_ms: Some(100 * SECOND_MS), ..unread };
        let now_ms = 130 * SECOND_MS;
        assert_eq!(lag(&[(applied(7, 86_400), unread)], now_ms), Lag { events: 3, times: None });
        let one_is_read = lag(&[(applied(7, 86_400), unread), (applied(8, 5), read)], now_ms);
        assert_eq!(one_is_read, Lag { events: 5, times: seconds(30, 5) });
    }
}
