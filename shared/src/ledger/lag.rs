//! How far landing is behind Kafka: where logs end, compared with the watermarks.

use std::time::Duration;

use super::progress::{PartitionProgress, Progress};
use crate::kafka::reader::{Ends, Position};

/// How far a topic is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lag {
    /// The number of records that have not landed.
    pub events: i64,
    /// The age of the oldest record that has not landed.
    pub oldest: Duration,
    /// The time for which the worst partition has landed nothing, although it had records to land.
    pub since_success: Duration,
}

/// Returns a topic's lag: the number of unlanded records in all partitions, and the longest of the partitions' times.
pub fn of_topic(topic: &str, progress: &Progress, ends: &Ends, now_ms: i64) -> Lag {
    let mut worst = Lag::default();
    for ((_, partition), position) in ends.range((topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX)) {
        let applied = progress.applied.get(&(topic.to_owned(), *partition));
        let waiting = waiting(applied, position, now_ms);
        worst.events += waiting.events;
        worst.oldest = worst.oldest.max(waiting.oldest);
        worst.since_success = worst.since_success.max(waiting.since_success);
    }
    worst
}

fn waiting(applied: Option<&PartitionProgress>, position: &Position, now_ms: i64) -> Lag {
    let events = position.unlanded(applied.map(|applied| applied.next_offset));
    if events == 0 {
        return Lag::default();
    }
    // A producer's clock may be ahead of ours.
    let age = |timestamp_ms: i64| Duration::from_millis(u64::try_from(now_ms - timestamp_ms).unwrap_or_default());
    let oldest = position.oldest_ms.map(age);
    let success_age = applied.map(|applied| applied.success_age);
    // `since_success` is at most the age of the oldest record. If a partition was idle for a day, and then a record
    // arrives, the partition has not been failing for a day.
    let since_success = match (oldest, success_age) {
        (Some(oldest), Some(success_age)) => oldest.min(success_age),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => Duration::ZERO,
    };
    Lag { events, oldest: oldest.or(success_age).unwrap_or_default(), since_success }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_MS: i64 = 1_000;

    fn applied(next_offset: i64, seconds: u64) -> PartitionProgress {
        PartitionProgress { next_offset, success_age: Duration::from_secs(seconds) }
    }

    #[test]
    fn there_is_no_lag_if_the_watermark_is_at_the_end_or_the_topic_is_empty() {
        let end = |first, end| Position { first, end, oldest_ms: None };
        assert_eq!(waiting(Some(&applied(7, 900)), &end(0, 7), 0), Lag::default());
        assert_eq!(waiting(None, &end(7, 7), 0), Lag::default());
        assert_eq!(waiting(Some(&applied(9, 900)), &end(0, 7), 0), Lag::default());
    }

    #[test]
    fn a_partition_counts_as_failing_since_its_last_success_but_not_before_its_oldest_unlanded_record_arrived() {
        let position = Position { first: 0, end: 10, oldest_ms: Some(100 * SECOND_MS) };
        let seconds = Duration::from_secs;
        let long_idle = waiting(Some(&applied(7, 86_400)), &position, 130 * SECOND_MS);
        assert_eq!(long_idle, Lag { events: 3, oldest: seconds(30), since_success: seconds(30) });
        let catching_up = waiting(Some(&applied(7, 2)), &position, 130 * SECOND_MS);
        assert_eq!(catching_up, Lag { events: 3, oldest: seconds(30), since_success: seconds(2) });
        let never = waiting(None, &position, 130 * SECOND_MS);
        assert_eq!(never, Lag { events: 10, oldest: seconds(30), since_success: seconds(30) });
        let ahead = waiting(Some(&applied(7, 2)), &position, 0);
        assert_eq!(ahead, Lag { events: 3, ..Lag::default() });
    }
}
