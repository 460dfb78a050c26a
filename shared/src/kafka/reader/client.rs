//! Reads from the real Kafka, with a librdkafka consumer that is assigned partitions and never subscribes to topics.
//!
//! The consumer is created on first use, so a function that never needs it does not pay for it. The consumer's calls
//! block, so they run on blocking threads, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::sleep;

use super::connection::{Fetches, QUESTION_TIMEOUT, ReaderClient, read_error};
use super::ends::Ends;
use super::{Bounds, Chunk, Limits, ReadError, Reader, committed, fetch};
use crate::aws::Aws;
use crate::kafka::settings_origin::SettingsOrigin;
use crate::kafka::{KafkaSettings, KafkaSource, ProducerError, admin};
use crate::process::clock::Clock;

/// The maximum time that a client may be idle, the same as `connections.max.idle.ms`. A client that was idle for longer
/// may have been frozen, and is replaced.
const IDLE_MS: i64 = 180_000;

/// The pause before repeating a request that failed because the group's coordinator was moving.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(100);

/// Reads Kafka. Clones share the connection.
#[derive(Clone)]
pub struct KafkaReader {
    origin: Arc<SettingsOrigin>,
    slot: Arc<Mutex<Slot>>,
    fetches: Fetches,
}

/// The client in use, if there is one.
#[derive(Default)]
struct Slot {
    client: Option<ReaderClient>,
    settings: Option<KafkaSettings>,
    last_used_ms: i64,
}

impl std::fmt::Debug for KafkaReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KafkaReader")
    }
}

impl KafkaReader {
    /// Creates a reader of the cluster with these settings. It connects on first use.
    pub fn new(settings: KafkaSettings) -> Self {
        Self::with(SettingsOrigin::Known(settings))
    }

    /// Creates a reader whose cluster is looked up at AWS on first use.
    pub fn looked_up(source: KafkaSource, aws: Aws) -> Self {
        Self::with(SettingsOrigin::LookedUp { source, aws })
    }

    fn with(origin: SettingsOrigin) -> Self {
        Self { origin: Arc::new(origin), slot: Arc::default(), fetches: Fetches::Ranges }
    }

    /// Returns another reader of the same cluster, with its own client. Use it only for [`KafkaReader::ends`].
    #[must_use]
    pub fn for_ends(&self) -> Self {
        Self { origin: Arc::clone(&self.origin), slot: Arc::default(), fetches: Fetches::Heads }
    }

    /// Returns where the partitions of topics begin and end, and for each partition the time of its first record that
    /// is not applied yet. The caller passes the next offsets to apply.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub async fn ends(
        &self,
        topics: Vec<String>,
        next_offsets: BTreeMap<(String, i32), i64>,
    ) -> Result<Ends, ReadError> {
        self.ask(move |client| client.ends(&topics, &next_offsets).map_err(|error| read_error(error, "", 0))).await
    }

    /// Runs a blocking request on a blocking thread. If the client fails, the next request replaces it.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ReaderClient) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let mut slot = Arc::clone(&self.slot).lock_owned().await;
        if slot.client.is_none() {
            slot.settings = Some(self.origin.settings(slot.settings.clone()).await.map_err(ProducerError::LookUp)?);
        }
        let fetches = self.fetches;
        let asking = tokio::task::spawn_blocking(move || ask_here(slot, fetches, question));
        asking.await.unwrap_or(Err(ReadError::Failed(KafkaError::Canceled)))
    }

    /// Returns the settings. Looks them up if they are not known yet.
    async fn settings(&self) -> Result<KafkaSettings, ReadError> {
        let mut slot = self.slot.lock().await;
        if let Some(settings) = &slot.settings {
            return Ok(settings.clone());
        }
        let settings = self.origin.settings(None).await.map_err(ProducerError::LookUp)?;
        slot.settings = Some(settings.clone());
        Ok(settings)
    }
}

fn ask_here<T>(
    mut slot: OwnedMutexGuard<Slot>,
    fetches: Fetches,
    question: impl FnOnce(&ReaderClient) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let now_ms = Clock::system().now_ms();
    let is_stale = now_ms.saturating_sub(slot.last_used_ms) > IDLE_MS;
    slot.last_used_ms = now_ms;
    let client = match (slot.client.take().filter(|_| !is_stale), &slot.settings) {
        (Some(client), _) => client,
        (None, Some(settings)) => ReaderClient::new(settings, "read_committed", fetches)?,
        (None, None) => return Err(ReadError::Failed(KafkaError::Canceled)),
    };
    client.serve();
    let answer = question(&client).map_err(|error| client.explain(error));
    match &answer {
        Ok(_) | Err(ReadError::UnknownPartition { .. } | ReadError::Forbidden(_)) => slot.client = Some(client),
        // The next request creates a new client. The failed client is dropped here, on a blocking thread, because
        // dropping it waits until its own threads have ended.
        Err(ReadError::Failed(_) | ReadError::Unconnected(_)) => drop(client),
    }
    answer
}

impl Reader for KafkaReader {
    fn partitions<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Option<i32>, ReadError>> {
        let topic = topic.to_owned();
        self.ask(move |client| client.partitions(&topic)).boxed()
    }

    fn bounds<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<Bounds, ReadError>> {
        let topic = topic.to_owned();
        self.ask(move |client| client.bounds(&topic, partition)).boxed()
    }

    fn high_watermark<'a>(&'a self, topic: &'a str, partition: i32) -> BoxFuture<'a, Result<i64, ReadError>> {
        async move {
            let (settings, topic) = (self.settings().await?, topic.to_owned());
            let asking = tokio::task::spawn_blocking(move || {
                let client = ReaderClient::new(&settings, "read_uncommitted", Fetches::Heads)?;
                client.bounds(&topic, partition).map(|bounds| bounds.end)
            });
            asking.await.unwrap_or(Err(ReadError::Failed(KafkaError::Canceled)))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        from: i64,
        until: i64,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Chunk, ReadError>> {
        let topic = topic.to_owned();
        self.ask(move |client| fetch::read(client, &topic, partition, from..until, limits)).boxed()
    }

    fn offset_at_time<'a>(
        &'a self,
        topic: &'a str,
        partition: i32,
        timestamp_ms: i64,
    ) -> BoxFuture<'a, Result<Option<i64>, ReadError>> {
        let topic = topic.to_owned();
        self.ask(move |client| client.offset_at_time(&topic, partition, timestamp_ms)).boxed()
    }

    fn committed<'a>(
        &'a self,
        group: &'a str,
        topic: &'a str,
        partitions: &'a [i32],
    ) -> BoxFuture<'a, Result<Vec<Option<i64>>, ReadError>> {
        async move {
            let deadline = Instant::now() + QUESTION_TIMEOUT;
            loop {
                let (group, topic, partitions) = (group.to_owned(), topic.to_owned(), partitions.to_vec());
                let answer = self
                    .ask(move |client| committed::look_up(client, &group, &topic, &partitions, QUESTION_TIMEOUT))
                    .await;
                match answer {
                    Err(error) if committed::is_coordinator_moving(&error) && Instant::now() < deadline => {
                        sleep(COORDINATOR_PAUSE).await;
                    }
                    answer => return answer,
                }
            }
        }
        .boxed()
    }

    fn is_compacted<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<bool, ReadError>> {
        async move {
            let failed = |error| read_error(error, topic, 0);
            let admin = admin::client(&self.settings().await?).await.map_err(failed)?;
            let options = AdminOptions::new().request_timeout(Some(QUESTION_TIMEOUT));
            let answers = admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &options).await;
            // Dropping the admin client blocks until its threads have ended.
            tokio::task::spawn_blocking(move || drop(admin));
            let topic = answers.map_err(failed)?.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::UnknownTopic));
            let topic = topic.map_err(|code| failed(KafkaError::AdminOp(code)))?;
            let policy = topic.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
            Ok(policy.is_some_and(|policy| policy.split(',').any(|one| one.trim() == "compact")))
        }
        .boxed()
    }
}
