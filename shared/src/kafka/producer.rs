//! The producer: nothing is acknowledged to a caller before every in-sync replica has it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use super::connection::{Connection, ProducerError};
use super::{Context, KafkaSettings, KafkaSource};
use crate::aws::Aws;

/// How long librdkafka tries to deliver a record before it gives it up. The wait for its report is not bounded
/// otherwise, so a send that was reported as failed cannot arrive later.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(8);

const CONNECT_TURN: Duration = Duration::from_millis(500);

/// A record's header: its name and its value, which may be missing.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// A record on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// What decides the partition; without one, any.
    pub key: Option<&'a [u8]>,
    /// The event's own JSON; none is a tombstone.
    pub value: Option<&'a [u8]>,
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
    /// There is no client to send with.
    #[error(transparent)]
    Unconnected(#[from] ProducerError),
}

/// An idempotent producer with acks=all. Clones share the connection.
///
/// A client that has failed is replaced by a new one: after a fatal error librdkafka sends nothing any more, and a
/// client whose every connection died with its function or its broker has been seen not to find back. What was looked
/// up at AWS is then looked up again: brokers are replaced, passwords changed. Replaced is also one that nobody has used
/// for long: its function was frozen, and whoever sits between may have cut its connections without a word, which costs
/// the first send [`KafkaSettings::client_config`]'s socket timeout to find out.
#[derive(Clone)]
pub struct Producer(Arc<Connection>);

impl Producer {
    /// A producer; connects in the background.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Ok(Self(Arc::new(Connection::of(settings)?)))
    }

    /// A producer whose cluster is looked up when it is first used, unless [`Producer::connect`] comes before that.
    pub fn looked_up(source: KafkaSource, aws: Aws) -> Self {
        Self(Arc::new(Connection::looked_up(source, aws)))
    }

    /// Looks up what has to be, connects, and waits until a broker answers, for `patience` at most.
    ///
    /// # Errors
    /// It is not connected by then. What passes is tried again by whoever sends.
    pub async fn connect(&self, patience: Duration) -> Result<(), ProducerError> {
        let used = self.0.client().await?;
        let context = used.client.context.clone();
        let answers = async {
            let deadline = tokio::time::Instant::now() + patience;
            while tokio::time::Instant::now() < deadline {
                // In turns: nobody can call off a question, and a process that wants to end waits for it.
                let client = used.client.clone();
                let turn = CONNECT_TURN.min(patience);
                let ask = move || client.native().fetch_metadata(None, turn).is_ok();
                let answer = tokio::task::spawn_blocking(ask.clone());
                if matches!(answer.await, Ok(true)) {
                    // librdkafka asks for its producer's id when a broker answers that it stays connected to. The first
                    // answer came over the bootstrap connection, which it gives up. Without another one it happens
                    // that it tries again only after half a second, which the first send then takes.
                    let _again = tokio::task::spawn_blocking(ask);
                    return Ok(());
                }
            }
            Err(ProducerError::Silent(context.last_error().unwrap_or_else(|| "no word".to_owned())))
        };
        tokio::select! {
            biased;
            refusal = context.refused() => Err(ProducerError::Refused(refusal)),
            answered = answers => answered,
        }
    }

    /// Sends records and waits for every report: when this returns, none of them is in flight.
    ///
    /// Answers, in the records' order, where each lies or why it does not.
    pub async fn send(&self, records: &[Outgoing<'_>]) -> Vec<Result<Acknowledged, SendError>> {
        let used = match self.0.client().await {
            Ok(used) => used,
            Err(error) => return records.iter().map(|_| Err(error.clone().into())).collect(),
        };
        let reports: Vec<_> = records.iter().map(|record| enqueue(&used.client.producer, record)).collect();
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
        if has_failed || used.client.native().fatal_error().is_some() {
            self.0.replace(used);
        }
        answers
    }

    /// Whether the broker answers within `timeout`. Blocks: call it on a blocking thread.
    pub fn answers(&self, timeout: Duration) -> bool {
        self.0.client_here().is_some_and(|used| used.client.native().fetch_metadata(None, timeout).is_ok())
    }

    /// How many partitions a topic has; none when the cluster does not say so within `timeout`. Blocks: call it on a
    /// blocking thread.
    pub fn partitions(&self, topic: &str, timeout: Duration) -> Option<i32> {
        let metadata = self.0.client_here()?.client.native().fetch_metadata(Some(topic), timeout).ok()?;
        let topic = metadata.topics().first().filter(|topic| topic.error().is_none())?;
        i32::try_from(topic.partitions().len()).ok().filter(|count| *count > 0)
    }
}

fn has_timed_out(answer: &Result<Acknowledged, SendError>) -> bool {
    match answer {
        Err(SendError::Unacknowledged(error)) => error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut),
        Ok(_) | Err(SendError::TooLarge | SendError::UnknownTopic | SendError::Unconnected(_)) => false,
    }
}

fn enqueue(client: &FutureProducer<Context>, record: &Outgoing<'_>) -> Result<DeliveryFuture, SendError> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for (name, value) in record.headers {
        headers = headers.insert(Header { key: name, value: value.as_deref() });
    }
    let mut outgoing = FutureRecord::<[u8], [u8]>::to(record.topic).headers(headers);
    outgoing.payload = record.value;
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
