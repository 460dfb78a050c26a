//! What becomes of records that are given up.

use std::time::Duration;

use rdkafka::error::KafkaError;
use shared::kafka::{KafkaSettings, Outgoing, Producer, RecordHeader, SendError};

use super::batch::Batch;
use super::configuration::OnFailure;
use super::record::{self, Original};
use super::segment::{Mark, Origin};

/// How long a destination that does not take records is left alone.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why records are given up, as Lambda's invocation records say it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>
#[derive(Debug, Clone)]
pub(super) enum Reason {
    /// The function failed too often; what it said the last time.
    RetryAttemptsExhausted(String),
    /// They are older than what is sent to the function.
    RecordAgeExceeded,
}

impl Reason {
    fn condition(&self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted(_) => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }

    fn message(&self) -> Option<&str> {
        match self {
            Self::RetryAttemptsExhausted(message) => Some(message),
            Self::RecordAgeExceeded => None,
        }
    }
}

/// Where discarded records go.
pub(super) enum Destination {
    /// Nowhere: the mapping names none.
    Nowhere,
    /// A topic of the same cluster.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
    Topic { topic: String, producer: Producer },
    /// A queue, a bucket or the like, which is not there on this machine.
    Elsewhere(String),
}

impl Destination {
    pub(super) fn new(on_failure: Option<&OnFailure>, kafka: &KafkaSettings) -> Result<Self, KafkaError> {
        Ok(match on_failure {
            None => Self::Nowhere,
            Some(OnFailure::Topic(topic)) => Self::Topic { topic: topic.clone(), producer: Producer::new(kafka)? },
            Some(OnFailure::Elsewhere(name)) => Self::Elsewhere(name.clone()),
        })
    }

    /// Sends records to the destination, until it has taken them; says where they lay.
    pub(super) async fn take(&self, batch: &Batch, reason: &Reason) {
        let (condition, message) = (reason.condition(), reason.message());
        let (records, coordinates) = (batch.len(), batch.coordinates());
        match self {
            Self::Nowhere => {
                tracing::error!(condition, message, "{records} records are DISCARDED: {coordinates}");
            }
            Self::Elsewhere(name) => tracing::error!(
                condition,
                message,
                "{records} records are DISCARDED, as {name} is not served on this machine: {coordinates}"
            ),
            Self::Topic { topic, producer } => {
                tracing::warn!(condition, message, "{records} records go to the topic {topic}: {coordinates}");
                for segment in batch.segments() {
                    for (mark, json) in segment.records() {
                        send(producer, topic, &segment.origin, mark, json, reason).await;
                    }
                }
            }
        }
    }
}

async fn send(producer: &Producer, topic: &str, origin: &Origin, mark: &Mark, json: &[u8], reason: &Reason) {
    let (source, partition, offset) = (&origin.topic, origin.partition, mark.offset);
    let Some(Original { key, value, mut headers }) = record::read(json) else {
        tracing::error!(topic = source, partition, offset, "a record cannot be read again, and is DISCARDED");
        return;
    };
    headers.extend(metadata(origin, mark, reason));
    let outgoing = Outgoing { topic, key: key.as_deref(), value: value.as_deref(), headers: &headers };
    while let Some(Err(error)) = producer.send(&[outgoing]).await.pop() {
        match error {
            SendError::TooLarge => {
                tracing::error!(topic = source, partition, offset, "a record is too large, and is DISCARDED: {error}");
                return;
            }
            SendError::Unacknowledged(_) | SendError::UnknownTopic | SendError::Unconnected(_) => {
                tracing::warn!("the topic {topic} does not take discarded records, and is tried again: {error}");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

/// Lambda's page says that the records come with "failure metadata", but not how it is named. Here:
fn metadata(origin: &Origin, mark: &Mark, reason: &Reason) -> Vec<RecordHeader> {
    let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let mut headers = vec![
        header("source-topic", &origin.topic),
        header("source-partition", &origin.partition.to_string()),
        header("source-offset", &mark.offset.to_string()),
        header("condition", reason.condition()),
    ];
    headers.extend(reason.message().map(|message| header("error-message", message)));
    headers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::segment::tests::segment;
    use super::*;

    #[tokio::test]
    async fn where_records_lay_is_said_loudly_if_their_destination_is_not_on_this_machine() {
        let mut batch = Batch::default();
        batch.add(segment("city", [5, 6, 7, 9]));
        batch.add(segment("country", [1]));
        let reason = Reason::RetryAttemptsExhausted("as told".to_owned());
        let destinations =
            [Destination::Nowhere, Destination::Elsewhere("arn:aws:sqs:eu-west-1:1:failures".to_owned())];
        for destination in destinations {
            let Ok(log) = tempfile::NamedTempFile::new() else {
                panic!("no temporary file");
            };
            let Ok(writer) = log.reopen() else {
                panic!("no second handle");
            };
            let logging = tracing_subscriber::fmt().with_writer(Arc::new(writer)).with_ansi(false).finish();
            let logging = tracing::subscriber::set_default(logging);
            destination.take(&batch, &reason).await;
            drop(logging);
            let said = std::fs::read_to_string(log.path()).unwrap_or_default();
            let elsewhere = matches!(destination, Destination::Elsewhere(_));
            assert_eq!(said.contains("arn:aws:sqs:eu-west-1:1:failures"), elsewhere, "{said}");
            for part in ["ERROR", "5 records are DISCARDED", "city-0: 5 to 7, 9; country-0: 1", "as told"] {
                assert!(said.contains(part), "{said}");
            }
        }
    }
}
