//! The member of the consumer group: a thread that serves librdkafka's events, and starts and stops a poller as the
//! group gives it partitions and takes them away.

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

use super::Progress;
use super::batch::{Envelope, Source};
use super::configuration::MappingConfiguration;
use super::delivery::Delivery;
use super::discard::Destination;
use super::function::Function;
use super::outage::Outage;
use super::poller::{self, Poller};
use super::segment::Origin;

pub(super) type GroupConsumer = BaseConsumer<Member>;

/// How often the thread looks whether it is to stop; events are served at once.
const TURN: Duration = Duration::from_millis(100);
/// How long the invocations that run may take to finish when the group takes the partitions away. The group waits for
/// us; what is not finished by then is delivered again by whoever gets the partition.
const REVOKE_PATIENCE: Duration = Duration::from_secs(10);

/// What one assignment of partitions hands to the next; librdkafka calls it when the group's assignment changes.
pub(super) struct Member {
    configuration: MappingConfiguration,
    bootstrap_servers: String,
    access: Context,
    function: Arc<dyn Function>,
    runtime: Handle,
    hurry: CancellationToken,
    consumer: OnceLock<Weak<GroupConsumer>>,
    destination: Arc<Destination>,
    poller: Mutex<Option<Poller>>,
    outage: Mutex<Outage>,
}

impl Member {
    /// Starts the thread, and tells how far it has come.
    pub(super) fn join(
        configuration: MappingConfiguration,
        kafka: &KafkaSettings,
        function: Arc<dyn Function>,
        stop: CancellationToken,
        hurry: CancellationToken,
    ) -> KafkaResult<watch::Receiver<Progress>> {
        let group = configuration.group.clone();
        let topics = configuration.topics.clone();
        let destination = Arc::new(Destination::new(configuration.on_error.destination.as_ref(), kafka)?);
        let member = Self {
            configuration,
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            access: kafka.context(),
            function,
            runtime: Handle::current(),
            hurry,
            consumer: OnceLock::new(),
            destination,
            poller: Mutex::default(),
            outage: Mutex::default(),
        };
        let consumer: Arc<GroupConsumer> = Arc::new(
            kafka
                .client_config()
                .set("group.id", &group)
                .set("auto.offset.reset", "earliest")
                .set("enable.auto.commit", "false")
                // Whoever dies without a word is replaced after this long. Brokers take no less by default.
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "1500")
                // Each partition's records wait in its own queue while its batch is in flight; from there on
                // librdkafka stops fetching. This, and two batches and an event, is what a partition holds at most.
                .set("queued.max.messages.kbytes", "8192")
                .set("fetch.queue.backoff.ms", "20")
                .set("fetch.error.backoff.ms", "100")
                // Partitions that are added, topics that are created later.
                .set("topic.metadata.refresh.interval.ms", "10000")
                .create_with_context(member)?,
        );
        // The callback needs the consumer as it is shared, to hand a part of it to each partition.
        let _first = consumer.context().consumer.set(Arc::downgrade(&consumer));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;

        let (report, progress) = watch::channel(Progress::Reading);
        std::thread::Builder::new()
            .name(group)
            .spawn(move || {
                while !stop.is_cancelled() {
                    serve(&consumer);
                }
                // However long the invocations take, unless they are hurried.
                let achieved = consumer.context().finish(None);
                report.send_replace(Progress::Drained);
                commit(&achieved, &consumer);
                // Closes it, which leaves the group.
                drop(consumer);
                report.send_replace(Progress::Left);
            })
            .map_err(|error| KafkaError::ClientCreation(format!("no thread for it: {error}")))?;
        Ok(progress)
    }

    /// Reads the partitions that were assigned. An assignment is always of all: it replaces the one before, which was
    /// revoked.
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
                policy: self.configuration.on_error.clone(),
                destination: Arc::clone(&self.destination),
                stop: CancellationToken::new(),
                abort: self.hurry.child_token(),
            },
            consumer,
        };
        let poller = start.begin(queues, &self.runtime);
        *self.poller.lock().unwrap_or_else(PoisonError::into_inner) = Some(poller);
    }

    /// Lets the poller finish, if there is one, and returns what it achieved.
    fn finish(&self, patience: Option<Duration>) -> TopicPartitionList {
        let poller = self.poller.lock().unwrap_or_else(PoisonError::into_inner).take();
        poller.map(|poller| poller.finish(patience)).unwrap_or_default()
    }
}

/// Serves the group's events for one turn.
fn serve(consumer: &GroupConsumer) {
    match consumer.poll(TURN) {
        None => {}
        // Each comes to `ClientContext::error`, too, with a reason.
        Some(Err(_error)) => {}
        // Every partition's queue is split off before its first record is fetched. Should one come here all the same,
        // its queue fetches it again.
        Some(Ok(message)) => {
            let offset = Offset::Offset(message.offset());
            if let Err(error) = consumer.seek(message.topic(), message.partition(), offset, REVOKE_PATIENCE) {
                tracing::error!("a record came past its partition's queue: {error}");
            }
        }
    }
}

/// Waits for the broker's answer, unlike the commits before: nothing comes after it that would make up for it.
fn commit(achieved: &TopicPartitionList, consumer: &GroupConsumer) {
    if achieved.count() > 0
        && let Err(error) = consumer.commit(achieved, CommitMode::Sync)
    {
        tracing::warn!("offsets were not committed, their batches will be delivered again: {error}");
    }
}

impl ClientContext for Member {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.access.token()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error, too.
        tracing::debug!(group = self.configuration.group, ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let group = &self.configuration.group;
        tracing::debug!(group, "{error}: {reason}");
        self.access.note(&error, reason);
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        if outage.is_worth_saying(Instant::now()) {
            tracing::warn!(group, "Kafka is not to be reached, and tried again: {error}: {reason}");
        }
    }
}

impl ConsumerContext for Member {
    fn pre_rebalance(&self, consumer: &GroupConsumer, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Before librdkafka begins to fetch, so that no record misses its queue.
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
                "offsets were not committed, the next batch's will be: {error}"
            );
        }
    }
}
