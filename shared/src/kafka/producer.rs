//! The producer. A record is acknowledged to the caller only when every in-sync replica has it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use super::connection::{Connection, ProducerError};
use super::{Context, KafkaSettings, KafkaSource};
use crate::aws::Aws;

const CONNECT_STEP: Duration = Duration::from_millis(500);

/// A record header: a name and an optional value.
pub type RecordHeader = (String, Option<Vec<u8>>);

/// A record to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The key, which decides the partition. Without a key, any partition is used.
    pub key: Option<&'a [u8]>,
    /// The event's JSON. `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers in order. Names may repeat.
    pub headers: &'a [RecordHeader],
}

/// The position of an acknowledged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// Why a record was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The broker did not acknowledge in time, or the send queue is full.
    #[error("the broker did not acknowledge: {0}")]
    Unacknowledged(#[source] KafkaError),
    /// The record exceeds the broker's size limit.
    #[error("the record exceeds the broker's size limit")]
    TooLarge,
    /// The topic does not exist. `cargo local topics` creates it.
    #[error("the topic does not exist")]
    UnknownTopic,
    /// No client could be created.
    #[error(transparent)]
    Unconnected(#[from] ProducerError),
}

async fn unresolved(settings: Option<&KafkaSettings>) -> Option<String> {
    settings?.unresolved_servers().await.map(str::to_owned)
}

/// An idempotent producer with acks=all. Clones share the connection.
///
/// A client that failed is replaced: after a fatal error librdkafka sends nothing, and a client that lost all
/// connections sometimes does not recover. The settings are then looked up at AWS again, because brokers and passwords
/// change.
///
/// A client that was idle for three minutes is replaced, too. The function was probably frozen, and a load balancer may
/// have dropped the client's connections silently. The first send would notice that only after the socket timeout of
/// [`KafkaSettings::client_config`].
#[derive(Clone)]
pub struct Producer(Arc<Connection>);

impl Producer {
    /// Creates a producer that connects in the background.
    ///
    /// # Errors
    /// librdkafka rejects a setting.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Ok(Self(Arc::new(Connection::from_settings(settings)?)))
    }

    /// Creates a producer whose cluster is looked up on first use, or by [`Producer::connect`].
    pub fn looked_up(source: KafkaSource, aws: Aws) -> Self {
        Self(Arc::new(Connection::looked_up(source, aws)))
    }

    /// Looks up the settings, connects, and waits at most `patience` for a broker's answer.
    ///
    /// # Errors
    /// No broker answered in time, none of the brokers' names resolves, or the connection was refused. The next send
    /// tries again.
    pub async fn connect(&self, patience: Duration) -> Result<(), ProducerError> {
        let used = self.0.client().await?;
        let context = used.client.context.clone();
        let settings = self.0.last_settings();
        let answers = async {
            let deadline = tokio::time::Instant::now() + patience;
            while tokio::time::Instant::now() < deadline {
                // The time limit of each request is short, because a running request cannot be cancelled, and the
                // process cannot end before the request has ended.
                let client = used.client.clone();
                let step = CONNECT_STEP.min(patience);
                let ask = move || client.native().fetch_metadata(None, step).is_ok();
                let answer = tokio::task::spawn_blocking(ask.clone());
                if matches!(answer.await, Ok(true)) {
                    // librdkafka requests its producer id when a broker answers over a connection that will be kept.
                    // The first answer came over the bootstrap connection, which is dropped. Without a second answer,
                    // librdkafka sometimes requests the id only 500 ms later, which would delay the first send.
                    let _again = tokio::task::spawn_blocking(ask);
                    return Ok(());
                }
                if let Some(servers) = unresolved(settings.as_ref()).await {
                    let reason = "the name does not resolve to an address".to_owned();
                    return Err(ProducerError::Silent { servers, reason });
                }
            }
            let servers = settings.as_ref().map(|settings| settings.bootstrap_servers.clone()).unwrap_or_default();
            let reason = context.last_error().unwrap_or_else(|| "no answer in time".to_owned());
            Err(ProducerError::Silent { servers, reason })
        };
        tokio::select! {
            biased;
            refusal = context.refused() => Err(ProducerError::Refused(refusal)),
            answered = answers => answered,
        }
    }

    /// Sends records and waits for every delivery report, so that no record is in flight when this returns.
    ///
    /// Returns each record's position or error, in the order of the records.
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
                // The client was dropped before it delivered the report.
                Err(_canceled) => Err(send_error(KafkaError::Canceled)),
            },
        }))
        .await;
        let have_all_failed = !answers.is_empty() && answers.iter().all(has_timed_out);
        let has_one_failed = answers.iter().any(Result::is_err);
        if have_all_failed || (has_one_failed && used.client.native().fatal_error().is_some()) {
            self.0.replace(used);
        }
        answers
    }

    /// Returns whether a broker answers within `timeout`. Blocks, so it must be called on a blocking thread.
    pub fn answers(&self, timeout: Duration) -> bool {
        self.0.client_here().is_some_and(|used| used.client.native().fetch_metadata(None, timeout).is_ok())
    }

    /// Returns a topic's number of partitions, or `None` if the cluster does not answer within `timeout`. Blocks, so it
    /// must be called on a blocking thread.
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
