//! Lambda's Kafka event source mapping, on this machine: it reads topics as a consumer group and invokes a function
//! with batches, on the rules of <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>.
//!
//! - [`configuration`]: which topics, in what batches; read from `template.yaml`
//! - [`function`]: what is invoked, in this process or over HTTP
//! - `group`: the thread that is the group's member, and starts and stops partitions
//! - `partition`: one partition's records in order, one batch in flight
//! - `batch`: the event's JSON

mod backoff;
mod batch;
pub mod configuration;
pub mod function;
mod group;
mod outage;
mod partition;

use std::sync::Arc;

use rdkafka::error::KafkaError;
use shared::kafka::KafkaSettings;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::configuration::MappingConfiguration;
use self::function::Function;
use self::group::Member;

/// A running mapping: a member of its consumer group.
///
/// Dropping it stops it without waiting.
#[derive(Debug)]
pub struct EventSourceMapping {
    group: String,
    stop: CancellationToken,
    hurry: CancellationToken,
    left: watch::Receiver<bool>,
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
        let left = Member::join(configuration, kafka, function, stop.clone(), hurry.clone())?;
        Ok(Self { group, stop, hurry, left })
    }

    /// Drains: takes no further records, lets the invocations that run finish, commits their offsets, leaves the
    /// group.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.has_left().await;
    }

    /// Makes [`EventSourceMapping::stop`] not wait for invocations; their batches will be delivered again.
    pub fn hurrier(&self) -> CancellationToken {
        self.hurry.clone()
    }

    async fn has_left(&mut self) {
        if self.left.wait_for(|left| *left).await.is_err() {
            tracing::warn!("the consumer of group {} ended without leaving it", self.group);
        }
    }
}

impl Drop for EventSourceMapping {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
