//! The part of the lag that Kafka knows: where each partition begins and ends, and the time of the partition's first
//! record that has not landed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};

use super::connection::{Heads, ReaderClient};

/// The time limit for Kafka to report where its topics end.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time limit for reading one record from every partition that lags. The next call reads from the partitions that
/// are left.
const READ_FOR: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
/// The maximum number of partitions from which one call reads a record.
const READ_AT_MOST: usize = 64;

/// What Kafka knows of each partition, by topic and partition.
pub type Ends = BTreeMap<(String, i32), Position>;

/// What Kafka knows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The first offset that Kafka still has.
    pub first: i64,
    /// The offset that the next record gets.
    pub end: i64,
    /// The time of the first record that has not landed, if there is such a record and it was read in time.
    pub oldest_ms: Option<i64>,
}

impl Position {
    /// Returns how many records have not landed, given the next offset to apply.
    pub fn unlanded(&self, next_offset: Option<i64>) -> i64 {
        (self.end - self.next(next_offset)).max(0)
    }

    fn next(&self, next_offset: Option<i64>) -> i64 {
        next_offset.unwrap_or_default().max(self.first)
    }
}

impl ReaderClient {
    /// Reads where the topics begin and end, and the time of each partition's first record that has not landed.
    /// `applied` has the next offsets to apply.
    pub(super) fn ends(&self, topics: &[String], applied: &BTreeMap<(String, i32), i64>) -> KafkaResult<Ends> {
        let metadata = self.consumer.fetch_metadata(None, PATIENCE)?;
        let is_ours = |name: &str| topics.iter().any(|topic| topic == name);
        let mut partitions = TopicPartitionList::new();
        for topic in metadata.topics().iter().filter(|topic| is_ours(topic.name())) {
            topic.partitions().iter().for_each(|partition| {
                partitions.add_partition(topic.name(), partition.id());
            });
        }
        let (first, end) = (self.offsets(&partitions, Offset::Beginning)?, self.offsets(&partitions, Offset::End)?);
        let mut ends = Ends::new();
        for (key, end) in end {
            let first = first.get(&key).copied().unwrap_or_default();
            ends.insert(key, Position { first, end, oldest_ms: None });
        }
        self.read_oldest(&mut ends, applied)?;
        Ok(ends)
    }

    /// Returns where partitions begin or end. Each leader is queried once for all of its partitions. `Offset::End` and
    /// `Offset::Beginning` are sent as the times -1 and -2, which stand for a log's end and start in the protocol
    /// (<https://kafka.apache.org/protocol#The_Messages_ListOffsets>).
    fn offsets(&self, partitions: &TopicPartitionList, which: Offset) -> KafkaResult<BTreeMap<(String, i32), i64>> {
        if partitions.count() == 0 {
            return Ok(BTreeMap::new());
        }
        let mut asked = partitions.clone();
        asked.set_all_offsets(which)?;
        let answered = self.consumer.offsets_for_times(asked, PATIENCE)?;
        let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
            Offset::Offset(offset) if element.error().is_ok() => {
                Some(((element.topic().to_owned(), element.partition()), offset))
            }
            Offset::Offset(_)
            | Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        };
        Ok(answered.elements().iter().filter_map(offset).collect())
    }

    fn read_oldest(&self, ends: &mut Ends, applied: &BTreeMap<(String, i32), i64>) -> KafkaResult<()> {
        let next_offset = |key: &(String, i32), position: &Position| position.next(applied.get(key).copied());
        let lags = |key: &(String, i32), position: &Position| position.unlanded(applied.get(key).copied()) > 0;
        let mut heads = self.heads.take();
        heads.retain(|key, (offset, oldest_ms)| {
            // Only found records are remembered. If there was no record at or after an offset, one may have arrived
            // since.
            ends.get(key).is_some_and(|position| oldest_ms.is_some() && next_offset(key, position) == *offset)
        });
        let unread: Vec<((String, i32), i64)> = ends
            .iter()
            .filter(|(key, position)| lags(key, position) && !heads.contains_key(*key))
            .map(|(key, position)| (key.clone(), next_offset(key, position)))
            .take(READ_AT_MOST)
            .collect();
        if !unread.is_empty() {
            self.read_heads(&unread, &mut heads)?;
        }
        for (key, position) in ends.iter_mut() {
            match heads.get(key) {
                Some((_, Some(oldest_ms))) => position.oldest_ms = Some(*oldest_ms),
                // No readable record follows, so the offsets up to the end belong to transaction markers and aborted
                // transactions.
                Some((offset, None)) => position.end = *offset,
                None => {}
            }
        }
        self.heads.replace(heads);
        Ok(())
    }

    fn read_heads(&self, unread: &[((String, i32), i64)], heads: &mut Heads) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        for ((topic, partition), offset) in unread {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.consumer.assign(&assignment)?;
        let mut missing: BTreeMap<(String, i32), i64> = unread.iter().cloned().collect();
        let begun = Instant::now();
        while !missing.is_empty() && begun.elapsed() < READ_FOR {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let key = (message.topic().to_owned(), message.partition());
                    if let Some(offset) = missing.remove(&key) {
                        heads.insert(key, (offset, message.timestamp().to_millis()));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    // The error does not name the topic, so the error counts only if exactly one of the missing
                    // partitions has this number.
                    let ended: Vec<_> = missing.keys().filter(|(_, number)| *number == partition).cloned().collect();
                    if let [key] = ended.as_slice()
                        && let Some(offset) = missing.remove(key)
                    {
                        heads.insert(key.clone(), (offset, None));
                    }
                }
                Some(Err(error)) => tracing::debug!(%error, "a record that has not landed cannot be read"),
                None => {}
            }
        }
        self.consumer.unassign()
    }
}
