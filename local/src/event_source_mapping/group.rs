//! A member of the consumer group: a thread that serves librdkafka's events. The thread starts a poller when the group
//! assigns partitions, and stops the poller when the group revokes them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::kafka::{Context, KafkaSettings};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::batch::{Envelope, Source};
use super::configuration::MappingConfiguration;
use super::delivery::Delivery;
use super::function::Function;
use super::outage::Outage;
use super::poller::{self, Poller};
use super::segment::Origin;

/// The state of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MappingState {
    /// The mapping is reading.
    Reading,
    /// Nothing is in flight, and no further invocation begins.
    Drained,
    /// The mapping has left the group.
    Left,
}

type GroupConsumer = BaseConsumer<Member>;

/// The interval at which the thread checks whether it should stop. The thread serves events immediately.
const TURN: Duration = Duration::from_millis(100);
/// The time that running invocations may take to finish when the group revokes the partitions. Meanwhile, the group
/// waits for this member. If a batch is not finished within this time, the partition's next owner delivers the batch
/// again.
const REVOKE_PATIENCE: Duration = Duration::from_secs(10);

/// A member of the group. librdkafka calls its methods when the assignment of partitions changes. The member keeps its
/// state from one assignment to the next.
pub(super) struct Member {
    configuration: MappingConfiguration,
    bootstrap_servers: String,
    access: Context,
    function: Arc<dyn Function>,
    runtime: Handle,
    hurry: CancellationToken,
    consumer: OnceLock<Weak<GroupConsumer>>,
    poller: Mutex<Option<Poller>>,
    outage: Mutex<Outage>,
}

impl Member {
    /// Starts the thread. Returns a receiver of the mapping's state.
    pub(super) fn join(
        configuration: MappingConfiguration,
        kafka: &KafkaSettings,
        function: Arc<dyn Function>,
        stop: CancellationToken,
        hurry: CancellationToken,
    ) -> KafkaResult<watch::Receiver<MappingState>> {
        let group = configuration.group.clone();
        let topics = configuration.topics.clone();
        let member = Self {
            configuration,
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            access: kafka.context(),
            function,
            runtime: Handle::current(),
            hurry,
            consumer: OnceLock::new(),
            poller: Mutex::default(),
            outage: Mutex::default(),
        };
        let consumer: Arc<GroupConsumer> = Arc::new(
            kafka
                .client_config()
                .set("group.id", &group)
                .set("auto.offset.reset", "earliest")
                .set("enable.auto.commit", "false")
                // The time after which the group removes a member that died. By default, brokers accept no shorter
                // time.
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "1500")
                // While a partition's batch is in flight, the partition's next records wait in the partition's queue.
                // librdkafka stops fetching once the queue has this size. A partition thus uses at most this much
                // memory, plus the memory of two batches and of one invocation's payload.
                .set("queued.max.messages.kbytes", "8192")
                .set("fetch.queue.backoff.ms", "20")
                .set("fetch.error.backoff.ms", "100")
                // The mapping discovers new partitions and new topics at this interval.
                .set("topic.metadata.refresh.interval.ms", "10000")
                .create_with_context(member)?,
        );
        // `begin` needs the consumer's `Arc`, because `begin` splits a queue off the consumer for each partition.
        let _first = consumer.context().consumer.set(Arc::downgrade(&consumer));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;

        let (report, state) = watch::channel(MappingState::Reading);
        std::thread::Builder::new()
            .name(group)
            .spawn(move || {
                while !stop.is_cancelled() {
                    serve(&consumer);
                }
                // Waits for all invocations to end, however long that takes. Cancelling the token `hurry` cuts the wait
                // short.
                let achieved = consumer.context().finish(None);
                report.send_replace(MappingState::Drained);
                commit(&achieved, &consumer);
                // Closes the consumer, which leaves the group.
                drop(consumer);
                report.send_replace(MappingState::Left);
            })
            .map_err(|error| KafkaError::ClientCreation(format!("its thread could not be started: {error}")))?;
        Ok(state)
    }

    /// Starts reading the assigned partitions. An assignment always lists all partitions of this member, because the
    /// previous assignment was revoked.
    fn begin(&self, assigned: &TopicPartitionList) {
        let consumer = self.consumer.get().cloned().unwrap_or_default();
        let mut queues = Vec::with_capacity(assigned.count());
        for element in assigned.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            tracing::debug!(topic, partition, "assigned");
            match consumer.upgrade().and_then(|consumer| consumer.split_partition_queue(topic, partition)) {
                Some(queue) => queues.push((Origin::new(topic, partition), queue)),
                None => tracing::error!(topic, partition, "librdkafka has no queue for a partition"),
            }
        }
        let source = if self.configuration.is_self_managed {
            Source::SelfManaged
        } else {
            Source::ManagedStreaming { cluster_arn: "arn:aws:kafka:local:000000000000:cluster/sluice/local".to_owned() }
        };
        let start = poller::Start {
            batch_size: self.configuration.batch_size,
            window: self.configuration.window,
            delivery: Delivery {
                group: self.configuration.group.clone(),
                envelope: Envelope::new(&source, &self.bootstrap_servers),
                function: Arc::clone(&self.function),
                stop: CancellationToken::new(),
                abort: self.hurry.child_token(),
            },
            consumer,
        };
        let poller = start.begin(queues, &self.runtime);
        *self.poller.lock().unwrap_or_else(PoisonError::into_inner) = Some(poller);
    }

    /// Stops the poller, if there is one, and returns the offsets that the poller reached.
    fn finish(&self, patience: Option<Duration>) -> TopicPartitionList {
        let poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner).take();
        poller.map(|poller| poller.finish(patience)).unwrap_or_default()
    }
}

/// Serves the group's events for one interval.
fn serve(consumer: &GroupConsumer) {
    match consumer.poll(TURN) {
        None => {}
        // `ClientContext::error` also receives each of these errors, together with a reason, and decides whether to log
        // the error.
        Some(Err(_error)) => {}
        // Every partition's queue is split off before librdkafka fetches the partition's first record. If a record
        // arrives here nevertheless, seeking back to its offset makes librdkafka fetch the record again, into the
        // queue.
        Some(Ok(message)) => {
            let offset = Offset::Offset(message.offset());
            if let Err(error) = consumer.seek(message.topic(), message.partition(), offset, REVOKE_PATIENCE) {
                tracing::error!("a record bypassed its partition's queue: {error}");
            }
        }
    }
}

/// Commits the last offsets and waits for the broker's answer. Earlier commits do not wait, because a later commit
/// makes up for a lost commit.
fn commit(achieved: &TopicPartitionList, consumer: &GroupConsumer) {
    if achieved.count() > 0
        && let Err(error) = consumer.commit(achieved, CommitMode::Sync)
    {
        tracing::warn!("offsets were not committed, so the last batches will be delivered again: {error}");
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.access.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // The level `debug` is enough, because librdkafka also reports important errors through `ClientContext::error`.
        tracing::debug!(group = self.configuration.group, ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let group = &self.configuration.group;
        tracing::debug!(group, "{error}: {reason}");
        self.access.note(&error, reason);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_worth_saying(Instant::now()) {
            tracing::warn!(group, "Kafka is unreachable, retrying: {error}: {reason}");
        }
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Splits the queues off before librdkafka begins to fetch, so that no record bypasses its partition's
            // queue.
            Rebalance::Assign(assigned) => self.begin(assigned),
            Rebalance::Revoke(_all) => commit(&self.finish(Some(REVOKE_PATIENCE)), consumer),
            Rebalance::Error(error) => {
                tracing::warn!(group = self.configuration.group, "rebalancing: {error}");
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(
                group = self.configuration.group,
                "offsets were not committed, but the next batch's commit includes them: {error}"
            );
        }
    }
}
