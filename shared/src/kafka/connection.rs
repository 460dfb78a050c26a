//! The producer's connection: the client that is used now, and what comes after one that has failed.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::future_producer::FutureProducerContext;
use rdkafka::producer::{FutureProducer, Producer as _};

use super::producer::SEND_TIMEOUT;
use super::{Context, KafkaSettings, KafkaSource};
use crate::aws::{Aws, LookUpError};
use crate::clock::Clock;

/// Why there is no client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProducerError {
    /// The cluster, or how we are known there, was not found at AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// A setting that librdkafka refuses.
    #[error("Kafka: {0}")]
    Settings(#[from] KafkaError),
    /// Brokers refuse us, or we them: certificates, names, passwords, tokens.
    #[error("Kafka: the connection is refused: {0}")]
    Refused(String),
    /// No broker answers.
    #[error("KAFKA_BOOTSTRAP_SERVERS: no answer from the cluster: {0}")]
    Silent(String),
}

impl ProducerError {
    /// Whether it may be otherwise in a moment, without anybody doing anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::LookUp(error) => error.passes(),
            Self::Silent(_) => true,
            Self::Settings(_) | Self::Refused(_) => false,
        }
    }
}

/// As `connections.max.idle.ms`, which librdkafka measures by a clock that may stand still in a frozen function.
const IDLE_MS: i64 = 180_000;

/// The client that is used now. One that has failed is replaced.
pub(super) struct Connection {
    origin: Origin,
    current: RwLock<Current>,
    looking_up: tokio::sync::Mutex<()>,
    last_used_ms: AtomicI64,
}

/// Where settings come from.
enum Origin {
    Known(KafkaSettings),
    LookedUp { source: KafkaSource, aws: Aws },
}

/// What is sent with; no client before the first look-up, and until the next one after a failure.
struct Current {
    client: Option<Client>,
    /// How many clients there were before.
    number: u64,
    /// What the last client was made from.
    settings: Option<KafkaSettings>,
}

/// A client, and its context, which librdkafka's hides.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) producer: FutureProducer<Context>,
    pub(super) context: Context,
}

/// A client, and how many there were before it.
pub(super) struct Numbered {
    pub(super) client: Client,
    number: u64,
}

impl Client {
    fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let context = settings.context();
        let producer = configuration(settings).create_with_context(context.clone())?;
        Ok(Self { producer, context })
    }

    /// librdkafka's own.
    pub(super) fn native(&self) -> &rdkafka::client::Client<FutureProducerContext<Context>> {
        self.producer.client()
    }
}

impl Connection {
    /// A connection that is begun in the background.
    pub(super) fn of(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let connection = Self::with(Origin::Known(settings.clone()));
        connection.make(settings.clone())?;
        Ok(connection)
    }

    /// A connection whose cluster is looked up when it is first used.
    pub(super) fn looked_up(source: KafkaSource, aws: Aws) -> Self {
        Self::with(Origin::LookedUp { source, aws })
    }

    fn with(origin: Origin) -> Self {
        let current = RwLock::new(Current { client: None, number: 0, settings: None });
        let last_used_ms = AtomicI64::new(Clock::system().now_ms());
        Self { origin, current, looking_up: tokio::sync::Mutex::default(), last_used_ms }
    }

    /// The client to use now.
    fn current(&self) -> Option<Numbered> {
        let now_ms = Clock::system().now_ms();
        let is_stale = is_stale(self.last_used_ms.swap(now_ms, Ordering::Relaxed), now_ms);
        let current = self.any();
        // What it was made from has not failed, and is not looked up again.
        let settings = self.last_settings().filter(|_| is_stale);
        match (current, settings) {
            (Some(stale), Some(settings)) => {
                self.replace_with(stale, Some(&settings));
                self.any()
            }
            (current, _) => current,
        }
    }

    fn any(&self) -> Option<Numbered> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.client.clone().map(|client| Numbered { client, number: current.number })
    }

    /// The client, made from what is looked up now if there is none.
    pub(super) async fn client(&self) -> Result<Numbered, ProducerError> {
        if let Some(used) = self.current() {
            return Ok(used);
        }
        let _turn = self.looking_up.lock().await;
        if let Some(used) = self.current() {
            return Ok(used);
        }
        let settings = match &self.origin {
            Origin::Known(settings) => settings.clone(),
            Origin::LookedUp { source, aws } => match (source.look_up(aws).await, self.last_settings()) {
                (Ok(settings), _) => settings,
                // What held before may hold still.
                (Err(error), Some(last)) if error.passes() => {
                    tracing::warn!("{error}; what was looked up before is used");
                    last
                }
                (Err(error), _) => return Err(error.into()),
            },
        };
        Ok(self.make(settings)?)
    }

    /// The same on a blocking thread.
    pub(super) fn client_here(&self) -> Option<Numbered> {
        match tokio::runtime::Handle::current().block_on(self.client()) {
            Ok(used) => Some(used),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }

    fn last_settings(&self) -> Option<KafkaSettings> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).settings.clone()
    }

    fn make(&self, settings: KafkaSettings) -> Result<Numbered, KafkaError> {
        let client = Client::new(&settings)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { client: Some(client.clone()), number: current.number + 1, settings: Some(settings) };
        Ok(Numbered { client, number: current.number })
    }

    /// Has the next send use a new client, unless one of the sends beside this has seen to it already.
    pub(super) fn replace(&self, failed: Numbered) {
        match &self.origin {
            // It connects until it is used.
            Origin::Known(settings) => self.replace_with(failed, Some(settings)),
            Origin::LookedUp { .. } => self.replace_with(failed, None),
        }
    }

    fn replace_with(&self, failed: Numbered, settings: Option<&KafkaSettings>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number == failed.number {
            let refused = |error: &KafkaError| tracing::error!(%error, "the Kafka client cannot be replaced");
            current.number += 1;
            current.client = settings.and_then(|settings| Client::new(settings).inspect_err(refused).ok());
        }
        drop(current);
        // The last to let go of a client waits for its threads to end.
        tokio::task::spawn_blocking(move || drop(failed));
    }
}

/// Whether a client that was last used then is not to be trusted any more. A clock that was set back says nothing.
fn is_stale(last_used_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(last_used_ms) > IDLE_MS
}

fn configuration(settings: &KafkaSettings) -> ClientConfig {
    let mut config = settings.client_config();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // Before the message's own timeout: a topic that is not there is told from a broker that does not answer.
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("linger.ms", "0")
        .set("message.timeout.ms", SEND_TIMEOUT.as_millis().to_string())
        .set("message.max.bytes", "1048588")
        // Java's default partitioner, so that others who produce to the topics agree on a key's partition.
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "131072");
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_nobody_used_for_long_is_replaced_by_one_that_is_used_then() -> Result<(), KafkaError> {
        let connection = Connection::of(&KafkaSettings::plaintext("127.0.0.1:1"))?;
        let number = || connection.current().map(|used| used.number);
        let first = number();
        connection.last_used_ms.fetch_sub(IDLE_MS + 1, Ordering::Relaxed);
        let second = number();
        assert!(second.is_some() && second != first);
        // As if the clock had been set back.
        connection.last_used_ms.fetch_add(10 * IDLE_MS, Ordering::Relaxed);
        assert_eq!(number(), second);
        Ok(())
    }
}
