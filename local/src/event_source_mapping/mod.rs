//! Lambda's Kafka event source mapping, on this machine: it reads topics as a consumer group and invokes a function
//! with batches, on the rules of <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>.
//!
//! - [`configuration`]: which topics, in what batches; read from `template.yaml`
//! - [`function`]: what is invoked, in this process or over HTTP
//! - `group`: the thread that is the group's member, and starts and stops the poller
//! - `poller`: puts the partitions' records into batches, one of each partition in flight
//! - `delivery`: one batch's way through the function: tried again, split, given up
//! - `batch`, `segment`, `record`: the event's JSON

mod answer;
mod backoff;
mod batch;
pub mod configuration;
mod delivery;
mod discard;
pub mod function;
mod group;
mod outage;
mod poller;
mod record;
mod segment;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use shared::kafka::KafkaSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::configuration::MappingConfiguration;
use self::function::Function;
use self::group::Member;

/// How long a broker may take to answer the last commit and the goodbye.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
const HURRIED_PATIENCE: Duration = Duration::from_secs(1);

/// How far a mapping has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// It reads.
    Reading,
    /// Nothing is in flight, and nothing further begins.
    Drained,
    /// It has left the group.
    Left,
}

/// A running mapping: a member of its consumer group.
///
/// Dropping it stops it without waiting.
#[derive(Debug)]
pub struct EventSourceMapping {
    group: String,
    stop: CancellationToken,
    hurry: CancellationToken,
    progress: watch::Receiver<Progress>,
}

impl EventSourceMapping {
    /// Joins the group and begins to invoke `function`, on the current runtime.
    ///
    /// # Errors
    /// A setting that librdkafka refuses. That the broker does not answer is no error: it is tried for ever.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(
        configuration: MappingConfiguration,
        kafka: &KafkaSettings,
        function: Arc<dyn Function>,
    ) -> Result<Self, KafkaError> {
        let group = configuration.group.clone();
        let stop = CancellationToken::new();
        let hurry = CancellationToken::new();
        let progress = Member::join(configuration, kafka, function, stop.clone(), hurry.clone())?;
        Ok(Self { group, stop, hurry, progress })
    }

    /// Drains: takes no further records, lets the invocations that run finish, commits their offsets, leaves the
    /// group. Where the broker is gone, neither commits nor leaves: what was not committed is delivered again.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // However long the invocations take, unless they are hurried.
        let is_drained = self.progress.wait_for(|progress| *progress >= Progress::Drained).await.is_ok();
        let patience = if self.hurry.is_cancelled() { HURRIED_PATIENCE } else { LEAVE_PATIENCE };
        let left = tokio::time::timeout(patience, self.progress.wait_for(|progress| *progress == Progress::Left)).await;
        if !is_drained || !matches!(left, Ok(Ok(_))) {
            tracing::warn!(group = self.group, "the broker does not answer, so the group was not left");
        }
    }

    /// Makes [`EventSourceMapping::stop`] not wait for invocations; their batches will be delivered again.
    pub fn hurrier(&self) -> CancellationToken {
        self.hurry.clone()
    }
}

impl Drop for EventSourceMapping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
