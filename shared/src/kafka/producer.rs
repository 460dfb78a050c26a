//! The producer: nothing is acknowledged to a caller before every in-sync replica has it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};

use super::KafkaSettings;
use crate::clock::Clock;

/// How long librdkafka tries to deliver a record before it gives it up. The wait for its report is not bounded
/// otherwise, so a send that was reported as failed cannot arrive later.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(8);

/// A record's header: its name and its value, which may be missing.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// A record on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What decides the partition; without one, any.
    pub key: Option<&'a [u8]>,
    /// The event's own JSON.
    pub value: &'a [u8],
    /// In order; names may repeat.
    pub headers: &'a [RecordHeader],
}

/// Where an acknowledged record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The record's time, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// Why a record was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The broker, or the way to it, did not do its part in time; or the queue before it is full.
    #[error("the broker did not acknowledge: {0}")]
    Unacknowledged(#[source] KafkaError),
    /// The broker takes no record of this size.
    #[error("the record is larger than the broker takes")]
    TooLarge,
    /// The topic is not there: `cargo local topics` creates it.
    #[error("the topic does not exist")]
    UnknownTopic,
}

/// An idempotent producer with acks=all. Clones share the connection.
///
/// A client that has failed is replaced by a new one: after a fatal error librdkafka sends nothing any more, and a
/// client whose every connection died with its function or its broker has been seen not to find back. So is one that
/// nobody has used for long: its function was frozen, and whoever sits between may have cut its connections without a
/// word, which costs the first send [`KafkaSettings::client_config`]'s socket timeout to find out.
#[derive(Clone)]
pub struct Producer {
    config: ClientConfig,
    current: Arc<RwLock<Numbered>>,
    last_used_ms: Arc<AtomicI64>,
}

/// As `connections.max.idle.ms`, which librdkafka measures by a clock that may stand still in a frozen function.
const IDLE_MS: i64 = 180_000;

/// A client, and how many there were before it.
#[derive(Clone)]
struct Numbered {
    client: FutureProducer,
    number: u64,
}

impl Producer {
    /// A producer; connects in the background.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let mut config = settings.client_config();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // Before the message's own timeout: a topic that is not there is told from a broker that does not answer.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("linger.ms", "0")
            .set("message.timeout.ms", SEND_TIMEOUT.as_millis().to_string())
            .set("message.max.bytes", "1048588")
            // Java's default partitioner, so that others who produce to the topics agree on a key's partition.
            .set("partitioner", "murmur2_random")
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072");
        let first = Numbered { client: config.create()?, number: 0 };
        let last_used_ms = Arc::new(AtomicI64::new(Clock::system().now_ms()));
        Ok(Self { config, current: Arc::new(RwLock::new(first)), last_used_ms })
    }

    /// Sends records and waits for every report: when this returns, none of them is in flight.
    ///
    /// Answers, in the records' order, where each lies or why it does not.
    pub async fn send(&self, records: &[Outgoing<'_>]) -> Vec<Result<Acknowledged, SendError>> {
        let used = self.current();
        let reports: Vec<_> = records.iter().map(|record| enqueue(&used.client, record)).collect();
        let answers = join_all(reports.into_iter().map(async |report| match report {
            Err(error) => Err(error),
            Ok(report) => match report.await {
                Ok(Ok(delivery)) => Ok(Acknowledged {
                    partition: delivery.partition,
                    offset: delivery.offset,
                    timestamp_ms: delivery.timestamp.to_millis().unwrap_or_default(),
                }),
                Ok(Err((error, _record))) => Err(send_error(error)),
                // The client was dropped before it reported.
                Err(_canceled) => Err(send_error(KafkaError::Canceled)),
            },
        }))
        .await;
        let has_failed = !answers.is_empty() && answers.iter().all(has_timed_out);
        if has_failed || used.client.client().fatal_error().is_some() {
            self.replace(used);
        }
        answers
    }

    /// Whether the broker answers within `timeout`. Blocks: call it on a blocking thread.
    pub fn answers(&self, timeout: Duration) -> bool {
        self.current().client.client().fetch_metadata(None, timeout).is_ok()
    }

    /// How many partitions a topic has; none when the cluster does not say so within `timeout`. Blocks: call it on a
    /// blocking thread.
    pub fn partitions(&self, topic: &str, timeout: Duration) -> Option<i32> {
        let metadata = self.current().client.client().fetch_metadata(Some(topic), timeout).ok()?;
        let topic = metadata.topics().first().filter(|topic| topic.error().is_none())?;
        i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)
    }

    /// The client to use now.
    fn current(&self) -> Numbered {
        let now_ms = Clock::system().now_ms();
        if is_stale(self.last_used_ms.swap(now_ms, Ordering::Relaxed), now_ms) {
            self.replace(self.any());
        }
        self.any()
    }

    fn any(&self) -> Numbered {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the next send use a new client, unless one of the sends beside this has seen to it already.
    fn replace(&self, failed: Numbered) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number == failed.number {
            match self.config.create() {
                Ok(client) => *current = Numbered { client, number: failed.number + 1 },
                Err(error) => tracing::error!(%error, "the Kafka client cannot be replaced"),
            }
        }
        drop(current);
        // The last to let go of a client waits for its threads to end.
        tokio::task::spawn_blocking(move || drop(failed));
    }
}

/// Whether a client that was last used then is not to be trusted any more. A clock that was set back says nothing.
fn is_stale(last_used_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(last_used_ms) > IDLE_MS
}

fn has_timed_out(answer: &Result<Acknowledged, SendError>) -> bool {
    match answer {
        Err(SendError::Unacknowledged(error)) => error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut),
        Ok(_) | Err(SendError::TooLarge | SendError::UnknownTopic) => false,
    }
}

fn enqueue(client: &FutureProducer, record: &Outgoing<'_>) -> Result<DeliveryFuture, SendError> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in record.headers {
        headers = headers.insert(Header { key: name, value: value.as_deref() });
    }
    let mut outgoing = FutureRecord::<[u8], [u8]>::to(record.topic).payload(record.value).headers(headers);
    outgoing.key = record.key;
    client.send_result(outgoing).map_err(|(error, _record)| send_error(error))
}

fn send_error(error: KafkaError) -> SendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => SendError::TooLarge,
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => SendError::UnknownTopic,
        _ => SendError::Unacknowledged(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_nobody_used_for_long_is_replaced_by_one_that_is_used_then() -> Result<(), KafkaError> {
        let producer = Producer::new(&KafkaSettings { bootstrap_servers: "127.0.0.1:1".to_owned() })?;
        assert_eq!(producer.current().number, 0);
        producer.last_used_ms.fetch_sub(IDLE_MS + 1, Ordering::Relaxed);
        assert_eq!([producer.current().number, producer.current().number], [1, 1]);
        // As if the clock had been set back.
        producer.last_used_ms.fetch_add(10 * IDLE_MS, Ordering::Relaxed);
        assert_eq!(producer.current().number, 1);
        Ok(())
    }
}
