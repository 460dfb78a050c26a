//! A librdkafka consumer that is assigned partitions, and its requests to the cluster. The requests block the thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{Bounds, ReadError};
use crate::kafka::{Context, KafkaSettings, ProducerError, admin};

/// The time limit of a request that reads no records.
pub(super) const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause before repeating a request that failed because the partition's leader was moving.
const LEADER_MOVES_FOR: Duration = Duration::from_millis(100);

/// The consumer group that the client names. librdkafka assigns no partition to a client that names no group. The group
/// has no members and commits nothing.
const GROUP: &str = "sluice-reader";

/// For each partition, an offset and the time of the first record at or after that offset. The time is `None` if there
/// is no such record.
pub(super) type Heads = BTreeMap<(String, i32), (i64, Option<i64>)>;

/// A client with its context, which rdkafka's client hides.
pub(super) struct ReaderClient {
    pub(super) consumer: BaseConsumer<Context>,
    context: Context,
    /// What [`ReaderClient::ends`] has read.
    pub(super) heads: RefCell<Heads>,
}

/// The amount of data that a client fetches at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetches {
    /// Much, because the client reads ranges.
    Ranges,
    /// Little, because the client needs only the first record of each partition.
    Heads,
}

impl ReaderClient {
    /// Creates a client with this isolation level.
    pub(super) fn new(settings: &KafkaSettings, isolation: &str, fetches: Fetches) -> Result<Self, ReadError> {
        let context = settings.context();
        let mut config = settings.client_config();
        config
            .set("group.id", GROUP)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // If the log no longer has a range, the read must fail instead of skipping the range.
            .set("auto.offset.reset", "error")
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.error.backoff.ms", "100")
            .set("queued.max.messages.kbytes", "16384");
        match fetches {
            Fetches::Ranges => {}
            Fetches::Heads => {
                config
                    .set("queued.min.messages", "1")
                    .set("queued.max.messages.kbytes", "1024")
                    .set("fetch.message.max.bytes", "65536");
            }
        }
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context.clone()).map_err(ProducerError::Settings)?;
        if context.has_tokens() {
            // librdkafka requests a token only when it is polled, but the client sends its first request earlier.
            let token = context.token().map_err(|error| ProducerError::Refused(error.to_string()))?;
            admin::set_token(consumer.client(), token).map_err(ProducerError::Settings)?;
        }
        Ok(Self { consumer, context, heads: RefCell::default() })
    }

    /// Serves librdkafka's events, such as a request for a new token. Between reads, no partition is assigned, so no
    /// record arrives here.
    pub(super) fn serve(&self) {
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    /// Replaces the error of a request with its cause, if the client has recorded the cause.
    pub(super) fn explain(&self, error: ReadError) -> ReadError {
        match error {
            ReadError::Failed(_) => match self.context.refusal() {
                Some(refusal) => ProducerError::Refused(refusal).into(),
                None => error,
            },
            ReadError::Unconnected(_) | ReadError::UnknownPartition { .. } | ReadError::Forbidden(_) => error,
        }
    }

    /// Returns a partition's bounds.
    pub(super) fn bounds(&self, topic: &str, partition: i32) -> Result<Bounds, ReadError> {
        let bounds = ask_leader(|timeout| self.consumer.fetch_watermarks(topic, partition, timeout));
        let (start, end) = bounds.map_err(|error| read_error(error, topic, partition))?;
        Ok(Bounds { start, end })
    }

    /// Returns the offset of the first record that is not older than a time.
    pub(super) fn offset_at_time(
        &self,
        topic: &str,
        partition: i32,
        timestamp_ms: i64,
    ) -> Result<Option<i64>, ReadError> {
        let failed = |error| read_error(error, topic, partition);
        let mut times = TopicPartitionList::new();
        times.add_partition_offset(topic, partition, Offset::Offset(timestamp_ms)).map_err(failed)?;
        let found = ask_leader(|timeout| {
            let offsets = self.consumer.offsets_for_times(times.clone(), timeout)?;
            let found = offsets.find_partition(topic, partition);
            found.map(|found| found.error().map(|()| found.offset())).transpose()
        });
        Ok(match found.map_err(failed)? {
            Some(Offset::Offset(offset)) => Some(offset),
            // librdkafka reports `End` if there is no such record.
            Some(Offset::End | Offset::Beginning | Offset::Stored | Offset::Invalid | Offset::OffsetTail(_)) | None => {
                None
            }
        })
    }

    /// Returns a topic's number of partitions.
    pub(super) fn partitions(&self, topic: &str) -> Result<Option<i32>, ReadError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), QUESTION_TIMEOUT);
        let metadata = metadata.map_err(|error| read_error(error, topic, 0))?;
        let found = metadata.topics().first().filter(|topic| topic.error().is_none());
        Ok(found.and_then(|topic| i32::try_from(topic.partitions().len()).ok()).filter(|count| *count > 0))
    }
}

/// Sends a request to a partition's leader, and repeats it while the leader moves, for at most [`QUESTION_TIMEOUT`].
/// librdkafka looks for the new leader by itself, but the request still fails (see its function
/// `rd_kafka_handle_ListOffsets`). A leader moves when a broker restarts. A topic that was just created has no leader
/// for a moment.
fn ask_leader<T>(mut question: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + QUESTION_TIMEOUT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match question(left) {
            Err(error) if leader_moves(&error) && left > LEADER_MOVES_FOR => thread::sleep(LEADER_MOVES_FOR),
            answer => return answer,
        }
    }
}

fn leader_moves(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::KafkaStorageError
        )
    )
}

/// Converts an error of librdkafka.
pub(super) fn read_error(error: KafkaError, topic: &str, partition: i32) -> ReadError {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => ReadError::UnknownPartition { topic: topic.to_owned(), partition },
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => ReadError::Forbidden(error),
        _ => ReadError::Failed(error),
    }
}
