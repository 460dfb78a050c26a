//! Why a batch did not land.

use shared::kafka::reader::ReadError;

use crate::batch::NotABatch;
use crate::bigquery::BigqueryError;
use crate::verdict::Verdict;
use crate::write::WriteError;

/// The name of errors that an operator has to repair.
pub(crate) const STOP: &str = "Sluice.Stop";

/// Why a batch, or a part of it, did not land. The event source mapping delivers the batch again.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The invocation's payload is not a batch of records.
    #[error(transparent)]
    NotABatch(#[from] NotABatch),
    /// No contract names this topic.
    #[error("no contract has the topic {0}: is CONTRACTS_DIR right?")]
    UnknownTopic(String),
    /// An environment fault, such as a database that does not answer.
    #[error("the batch did not land and will be delivered again: {0}")]
    Retry(#[source] WriteError),
    /// An operator fault, such as a drifted schema or a missing grant.
    #[error("the batch cannot land until an operator repairs this: {0}")]
    Stop(#[source] WriteError),
    /// BigQuery did not take the batch.
    #[error("the batch did not land in BigQuery and will be delivered again: {0}")]
    Bigquery(#[from] BigqueryError),
    /// The records before the batch could not be read from Kafka.
    #[error("the batch did not land and will be delivered again: {0}")]
    Kafka(#[from] ReadError),
    /// The batch could not land in this invocation: too many records are missing before it, a producer's transaction is
    /// open, or other processes keep moving the watermark. What has landed is committed, and the next delivery
    /// continues.
    #[error("the batch could not land in one invocation and will be delivered again")]
    CatchingUp,
    /// The batch did not land within the invocation's time.
    #[error("the batch did not land within the invocation's time and will be delivered again")]
    Deadline,
    /// A comparison of the watermarks with Kafka did not finish. The schedule starts the next one.
    #[error("not all watermarks were compared with Kafka, or missing records did not land: {}", .0.cause())]
    Comparison(Box<ConsumeError>),
}

impl ConsumeError {
    /// Returns the error's name, which must not change because alarms and dashboards rely on it. A failed comparison
    /// has the name of its cause.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotABatch(_) => "Sluice.NotABatch",
            Self::UnknownTopic(_) => "Sluice.UnknownTopic",
            Self::Retry(_) => "Sluice.Retry",
            Self::Stop(_) => STOP,
            Self::Bigquery(error) if error.is_temporary() => "Sluice.Retry",
            Self::Bigquery(_) => STOP,
            Self::Kafka(_) => "Sluice.Kafka",
            Self::CatchingUp => "Sluice.CatchingUp",
            Self::Deadline => "Sluice.Deadline",
            Self::Comparison(cause) => cause.name(),
        }
    }

    /// Returns whether the connection to the database has ended.
    pub(crate) fn ended_connection(&self) -> bool {
        match self {
            Self::Retry(error) | Self::Stop(error) => error.ended_connection(),
            Self::NotABatch(_)
            | Self::UnknownTopic(_)
            | Self::Bigquery(_)
            | Self::Kafka(_)
            | Self::CatchingUp
            | Self::Deadline
            | Self::Comparison(_) => false,
        }
    }

    /// Describes the error, without its consequence for a batch.
    pub(crate) fn cause(&self) -> String {
        match self {
            Self::NotABatch(error) => error.to_string(),
            Self::UnknownTopic(_) => self.to_string(),
            Self::Retry(error) | Self::Stop(error) => error.to_string(),
            Self::Bigquery(error) => error.to_string(),
            Self::Kafka(error) => error.to_string(),
            Self::CatchingUp => "one invocation could not read all missing records; the next one continues".to_owned(),
            Self::Deadline => "the invocation's time was up".to_owned(),
            Self::Comparison(cause) => cause.cause(),
        }
    }
}

/// Decides what an error during the landing means for the batch.
pub(crate) fn failed(error: WriteError) -> ConsumeError {
    match error.verdict() {
        Verdict::Stop => ConsumeError::Stop(error),
        // `Reject` blames a record. But the code that writes rows makes such a record a dead letter, and does not
        // return its error. So this error comes from another statement, and only a retry can help.
        Verdict::Retry | Verdict::Reject(_) => ConsumeError::Retry(error),
    }
}
