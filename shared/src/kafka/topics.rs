//! Creates the contracts' topics that are missing, and checks the topics that exist.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{KafkaSettings, Producer, ProducerError, admin};
use crate::contract::Registry;

/// Why the topics could not be created or checked.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The cluster did not answer.
    #[error("KAFKA_BOOTSTRAP_SERVERS: no answer from {servers}: {source}")]
    Unreachable {
        /// The bootstrap servers.
        servers: String,
        /// Why.
        source: KafkaError,
    },
    /// There is no connection.
    #[error(transparent)]
    Unconnected(#[from] ProducerError),
    /// The cluster refused to create a topic.
    #[error("the cluster refused to create topic {topic}: {code}")]
    Refused {
        /// The topic.
        topic: String,
        /// The broker's error.
        code: RDKafkaErrorCode,
    },
}

/// The state of one contract's topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicState {
    /// The topic.
    pub topic: String,
    /// The number of partitions that the contract declares.
    pub wanted_partitions: i32,
    /// The number of partitions that the topic has.
    pub partitions: i32,
    /// Whether [`ensure`] created the topic.
    pub created: bool,
}

impl fmt::Display for TopicState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, partitions, wanted_partitions, created } = self;
        let plural = if *partitions == 1 { "" } else { "s" };
        if *created {
            write!(formatter, "topic {topic} created, {partitions} partition{plural}")
        } else if partitions == wanted_partitions {
            write!(formatter, "topic {topic} exists, {partitions} partition{plural}")
        } else {
            // Partitions are not added: keys would move to other partitions, away from their earlier events.
            write!(
                formatter,
                "topic {topic} exists with {partitions} partition{plural}, but its contract declares {wanted_partitions}; \
                 it stays unchanged"
            )
        }
    }
}

/// Creates the missing topics of all contracts, with the broker's default replication factor. Waits at most 5 s until
/// the broker knows the new topics. Counts the partitions of the topics that existed before. Those topics are never
/// changed: with more partitions, keys would move to other partitions.
///
/// # Errors
/// The cluster does not answer, or refuses to create a topic.
pub async fn ensure(settings: &KafkaSettings, registry: &Registry) -> Result<Vec<TopicState>, TopicError> {
    const PATIENCE: Duration = Duration::from_secs(30);
    const VISIBLE_WITHIN: Duration = Duration::from_secs(5);
    const LOOK_AGAIN: Duration = Duration::from_millis(100);
    // The producer connects first, because it fails at once if the connection is refused. rdkafka's admin client would
    // retry until its timeout.
    Producer::new(settings).map_err(ProducerError::Settings)?.connect(PATIENCE).await?;
    let unreachable = |source| TopicError::Unreachable { servers: settings.bootstrap_servers.clone(), source };
    let admin = admin::client(settings).await.map_err(unreachable)?;
    let wanted: Vec<NewTopic<'_>> = registry
        .contracts()
        // -1 stands for the broker's default replication factor (KIP-464).
        .map(|contract| NewTopic::new(&contract.topic, contract.partitions, TopicReplication::Fixed(-1)))
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let answers = admin.create_topics(&wanted, &options).await.map_err(unreachable)?;

    let mut states = Vec::with_capacity(wanted.len());
    for (contract, answer) in registry.contracts().zip(answers) {
        let created = match answer {
            Ok(_topic) => true,
            Err((_topic, RDKafkaErrorCode::TopicAlreadyExists)) => false,
            Err((topic, code)) => return Err(TopicError::Refused { topic, code }),
        };
        states.push(TopicState {
            topic: contract.topic.clone(),
            wanted_partitions: contract.partitions,
            partitions: contract.partitions,
            created,
        });
    }
    // A topic that was just created is missing from a broker's metadata until the controller's log has reached the
    // broker.
    let until = Instant::now() + VISIBLE_WITHIN;
    let admin = Arc::new(admin);
    loop {
        let asked = Arc::clone(&admin);
        let metadata = tokio::task::spawn_blocking(move || asked.inner().fetch_metadata(None, PATIENCE))
            .await
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(unreachable)?;
        let partitions = |topic: &str| {
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap_or(i32::MAX))
        };
        if states.iter().all(|state| partitions(&state.topic) > 0) || Instant::now() >= until {
            for state in states.iter_mut().filter(|state| !state.created) {
                state.partitions = partitions(&state.topic);
            }
            return Ok(states);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
