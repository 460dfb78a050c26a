//! Emulates Lambda's Kafka event source mapping on this machine: reads topics as a consumer group and invokes a
//! function with batches, according to <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>.
//!
//! - [`configuration`]: the topics and the batch sizes, read from `template.yaml`
//! - [`function`]: the function to invoke, in this process or over HTTP
//! - `group`: the thread that acts as the group's member, and that starts and stops the poller
//! - `poller`: puts the partitions' records into batches, with at most one batch of each partition in flight
//! - `delivery`: invokes the function with one batch until the function accepts it
//! - `batch`, `segment`, `record`: the JSON payload of an invocation

mod backoff;
mod batch;
pub mod configuration;
mod delivery;
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
use self::group::{MappingState, Member};

/// The time limit for the broker to answer the last commit and the request to leave the group.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// The same time limit in a hurried stop.
const HURRIED_PATIENCE: Duration = Duration::from_secs(1);

/// A running mapping: a member of its consumer group.
///
/// Dropping the mapping stops it without waiting.
#[derive(Debug)]
pub struct EventSourceMapping {
    group: String,
    stop: CancellationToken,
    hurry: CancellationToken,
    state: watch::Receiver<MappingState>,
}

impl EventSourceMapping {
    /// Joins the group and begins to invoke `function`, on the current runtime.
    ///
    /// # Errors
    /// librdkafka rejects a setting. An unreachable broker is not an error: the mapping retries indefinitely.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime.
    pub fn start(
        configuration: MappingConfiguration,
        kafka: &KafkaSettings,
        function: Arc<dyn Function>,
    ) -> Result<Self, KafkaError> {
        let group = configuration.group.clone();
        let stop = CancellationToken::new();
        let hurry = CancellationToken::new();
        let state = Member::join(configuration, kafka, function, stop.clone(), hurry.clone())?;
        Ok(Self { group, stop, hurry, state })
    }

    /// Drains the mapping: takes no further records, lets running invocations finish, commits their offsets and leaves
    /// the group. If the broker is unreachable, the mapping neither commits the offsets nor leaves the group, and
    /// uncommitted records are delivered again.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // Waits for all invocations to end, however long that takes. Cancelling the token `hurry` cuts the wait short.
        let is_drained = self.state.wait_for(|state| *state >= MappingState::Drained).await.is_ok();
        let patience = if self.hurry.is_cancelled() { HURRIED_PATIENCE } else { LEAVE_PATIENCE };
        let left = tokio::time::timeout(patience, self.state.wait_for(|state| *state == MappingState::Left)).await;
        if !is_drained || !matches!(left, Ok(Ok(_))) {
            tracing::warn!(
                group = self.group,
                "the broker does not answer, so the mapping stopped without leaving the group"
            );
        }
    }

    /// Returns a token that, once cancelled, makes [`EventSourceMapping::stop`] return without waiting for invocations.
    /// The batches of these invocations are delivered again.
    pub fn hurrier(&self) -> CancellationToken {
        self.hurry.clone()
    }
}

impl Drop for EventSourceMapping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
