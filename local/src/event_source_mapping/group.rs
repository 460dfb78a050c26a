//! The member of the consumer group: a thread that serves librdkafka's events, and starts and stops the partitions
//! that the group gives it and takes from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
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
use super::function::Function;
use super::outage::Outage;
use super::partition::{self, Partition};

pub(super) type GroupConsumer = BaseConsumer<Member>;

/// How often the thread looks whether it is to stop; events are served at once.
const TURN: Duration = Duration::from_millis(100);
/// How long a partition that the group takes away may finish the invocation that runs. The group waits for us; what
/// is not finished by then is delivered again by whoever gets the partition.
const REVOKE_PATIENCE: Duration = Duration::from_secs(10);

/// What the partitions of one mapping share; librdkafka calls it when the group's assignment changes.
pub(super) struct Member {
    configuration: MappingConfiguration,
    bootstrap_servers: String,
    access: Context,
    function: Arc<dyn Function>,
    runtime: Handle,
    hurry: CancellationToken,
    consumer: OnceLock<Weak<GroupConsumer>>,
    partitions: Mutex<HashMap<(String, i32), Partition>>,
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
        let member = Self {
            configuration,
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            access: kafka.context(),
            function,
            runtime: Handle::current(),
            hurry,
            consumer: OnceLock::new(),
            partitions: Mutex::default(),
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
                // librdkafka stops fetching. This, and two batches, is what a partition holds at most.
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
                let achieved = consumer.context().finish_all();
                report.send_replace(Progress::Drained);
                commit(&achieved, &consumer);
                // Closes it, which leaves the group.
                drop(consumer);
                report.send_replace(Progress::Left);
            })
            .map_err(|error| KafkaError::ClientCreation(format!("no thread for it: {error}")))?;
        Ok(progress)
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<(String, i32), Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, topic: &str, number: i32) {
        let consumer = self.consumer.get().cloned().unwrap_or_default();
        let queue = consumer.upgrade().and_then(|consumer| consumer.split_partition_queue(topic, number));
        let Some(queue) = queue else {
            tracing::error!(topic, partition = number, "librdkafka has no queue for a partition");
            return;
        };
        let source = if self.configuration.is_self_managed {
            Source::SelfManaged
        } else {
            Source::ManagedStreaming { cluster_arn: "arn:aws:kafka:local:000000000000:cluster/sluice/local".to_owned() }
        };
        let partition = partition::Start {
            envelope: Envelope::new(&source, &self.bootstrap_servers, topic, number),
            topic: topic.to_owned(),
            number,
            batch_size: self.configuration.batch_size,
            window: self.configuration.window,
            function: Arc::clone(&self.function),
            hurry: self.hurry.child_token(),
            consumer,
        };
        let partition = partition.begin(queue, &self.runtime);
        self.partitions().insert((topic.to_owned(), number), partition);
    }

    /// Lets every partition finish, however long it takes, unless it is hurried.
    fn finish_all(&self) -> TopicPartitionList {
        finish(self.partitions().drain().map(|(_, partition)| partition).collect(), None)
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

/// Tells the partitions to finish, waits for them, and returns what they achieved.
fn finish(partitions: Vec<Partition>, patience: Option<Duration>) -> TopicPartitionList {
    let deadline = patience.map(|patience| Instant::now() + patience);
    for partition in &partitions {
        partition.stop();
    }
    let mut achieved = TopicPartitionList::new();
    for partition in partitions {
        if let Some(next_offset) = partition.finish(deadline) {
            // Refused is only an offset below zero.
            let _added = achieved.add_partition_offset(&partition.topic, partition.number, Offset::Offset(next_offset));
        }
    }
    achieved
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
            Rebalance::Assign(assigned) => {
                for element in assigned.elements() {
                    tracing::debug!(topic = element.topic(), partition = element.partition(), "assigned");
                    self.begin(element.topic(), element.partition());
                }
            }
            Rebalance::Revoke(revoked) => {
                let mut running = self.partitions();
                let revoked = revoked
                    .elements()
                    .iter()
                    .filter_map(|element| running.remove(&(element.topic().to_owned(), element.partition())))
                    .collect();
                drop(running);
                commit(&finish(revoked, Some(REVOKE_PATIENCE)), consumer);
            }
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
