//! The producer's connection: the current client, which is replaced if it fails.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::future_producer::FutureProducerContext;
use rdkafka::producer::{FutureProducer, Producer as _};

use super::settings_origin::SettingsOrigin;
use super::{Context, KafkaSettings, KafkaSource};
use crate::aws::{Aws, LookUpError};
use crate::process::clock::Clock;

/// The time for which librdkafka tries to deliver a record. Callers have no timeout of their own: they wait for the
/// delivery report. So librdkafka never sends a record after the caller has given up.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(8);

/// Why there is no client.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProducerError {
    /// Looking up the cluster or its credentials at AWS failed.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// librdkafka rejects a setting.
    #[error("Kafka: {0}")]
    Settings(#[from] KafkaError),
    /// The broker refuses us, or we refuse the broker, because of certificates, names, passwords or tokens.
    #[error("Kafka: the connection is refused: {0}")]
    Refused(String),
    /// No broker answers.
    #[error("KAFKA_BOOTSTRAP_SERVERS: cannot connect to {servers}: {reason}")]
    Silent {
        /// The bootstrap servers.
        servers: String,
        /// The last error that librdkafka reported.
        reason: String,
    },
}

impl ProducerError {
    /// Returns whether the error may go away by itself.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::LookUp(error) => error.is_temporary(),
            Self::Silent { .. } => true,
            Self::Settings(_) | Self::Refused(_) => false,
        }
    }
}

/// The maximum time that a client may be idle. `connections.max.idle.ms` is set to the same time, but librdkafka
/// measures that time with a clock that may stop while a function is frozen.
const IDLE_MS: i64 = 180_000;

/// The current client. A client that failed is replaced.
pub(super) struct Connection {
    origin: SettingsOrigin,
    current: RwLock<Current>,
    looking_up: tokio::sync::Mutex<()>,
    last_used_ms: AtomicI64,
}

/// The client in use. There is none before the first lookup, nor between a failure and the next lookup.
struct Current {
    client: Option<Client>,
    /// A number that identifies the client. It grows whenever a client is created or replaced.
    number: u64,
    /// The settings of the last client.
    settings: Option<KafkaSettings>,
}

/// A client with its context, which rdkafka's client hides.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) producer: FutureProducer<Context>,
    pub(super) context: Context,
}

/// A client, with the number that identifies it.
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

    /// Returns rdkafka's client.
    pub(super) fn native(&self) -> &rdkafka::client::Client<FutureProducerContext<Context>> {
        self.producer.client()
    }
}

impl Connection {
    /// Creates a connection that is opened in the background.
    pub(super) fn from_settings(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        let connection = Self::with(SettingsOrigin::Known(settings.clone()));
        connection.make(settings.clone())?;
        Ok(connection)
    }

    /// Creates a connection whose cluster is looked up on first use.
    pub(super) fn looked_up(source: KafkaSource, aws: Aws) -> Self {
        Self::with(SettingsOrigin::LookedUp { source, aws })
    }

    fn with(origin: SettingsOrigin) -> Self {
        let current = RwLock::new(Current { client: None, number: 0, settings: None });
        let last_used_ms = AtomicI64::new(Clock::system().now_ms());
        Self { origin, current, looking_up: tokio::sync::Mutex::default(), last_used_ms }
    }

    /// Returns the current client.
    fn current(&self) -> Option<Numbered> {
        let now_ms = Clock::system().now_ms();
        let is_stale = is_stale(self.last_used_ms.swap(now_ms, Ordering::Relaxed), now_ms);
        let current = self.any();
        // A stale client has not failed, so its settings are used again instead of being looked up.
        let settings = if is_stale { self.last_settings() } else { None };
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

    /// Returns the current client, or creates one from freshly looked-up settings.
    pub(super) async fn client(&self) -> Result<Numbered, ProducerError> {
        match self.current() {
            Some(used) => Ok(used),
            // The lookup is boxed: otherwise, the future of every send would reserve memory for it.
            None => Box::pin(self.look_up()).await,
        }
    }

    async fn look_up(&self) -> Result<Numbered, ProducerError> {
        let _turn = self.looking_up.lock().await;
        if let Some(used) = self.current() {
            return Ok(used);
        }
        let settings = self.origin.settings(self.last_settings()).await?;
        Ok(self.make(settings)?)
    }

    /// Does the same as [`Self::client`], but from a blocking thread, and logs the error.
    pub(super) fn client_here(&self) -> Option<Numbered> {
        match tokio::runtime::Handle::current().block_on(self.client()) {
            Ok(used) => Some(used),
            Err(error) => {
                tracing::warn!("{error}");
                None
            }
        }
    }

    pub(super) fn last_settings(&self) -> Option<KafkaSettings> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).settings.clone()
    }

    fn make(&self, settings: KafkaSettings) -> Result<Numbered, KafkaError> {
        let client = Client::new(&settings)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Current { client: Some(client.clone()), number: current.number + 1, settings: Some(settings) };
        Ok(Numbered { client, number: current.number })
    }

    /// Makes the next send use a new client, unless a concurrent send has already replaced the failed one.
    pub(super) fn replace(&self, failed: Numbered) {
        match &self.origin {
            // The new client connects in the background, before the next send uses it.
            SettingsOrigin::Known(settings) => self.replace_with(failed, Some(settings)),
            SettingsOrigin::LookedUp { .. } => self.replace_with(failed, None),
        }
    }

    fn replace_with(&self, failed: Numbered, settings: Option<&KafkaSettings>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.number == failed.number {
            let refused = |error: &KafkaError| tracing::error!(%error, "cannot replace the Kafka client");
            current.number += 1;
            current.client = settings.and_then(|settings| Client::new(settings).inspect_err(refused).ok());
        }
        drop(current);
        // Dropping the last reference to a client waits for its threads to end.
        tokio::task::spawn_blocking(move || drop(failed));
    }
}

/// Returns whether a client that was last used at `last_used_ms` may have lost its connections. If the clock was set
/// back, the client does not count as stale.
fn is_stale(last_used_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(last_used_ms) > IDLE_MS
}

fn configuration(settings: &KafkaSettings) -> ClientConfig {
    let mut config = settings.client_config();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // This time is shorter than the message timeout, so that a missing topic is not mistaken for a silent broker.
        .set("topic.metadata.propagation.max.ms", "5000")
        .set("linger.ms", "0")
        .set("message.timeout.ms", SEND_TIMEOUT.as_millis().to_string())
        .set("message.max.bytes", "1048588")
        // This is the default partitioner of Kafka's Java client, so Java producers choose the same partition for a
        // key.
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "131072");
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_was_idle_for_long_is_replaced() -> Result<(), KafkaError> {
        let connection = Connection::from_settings(&KafkaSettings::plaintext("127.0.0.1:1"))?;
        let number = || connection.current().map(|used| used.number);
        let first = number();
        connection.last_used_ms.fetch_sub(IDLE_MS + 1, Ordering::Relaxed);
        let second = number();
        assert!(second.is_some() && second != first);
        // Simulates a clock that was set back.
        connection.last_used_ms.fetch_add(10 * IDLE_MS, Ordering::Relaxed);
        assert_eq!(number(), second);
        Ok(())
    }
}
