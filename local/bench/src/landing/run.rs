//! Lands the events of some topics, as the function `consume` and one event source mapping per topic do.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use consume::Consume;
use shared::contract::Registry;
use shared::database;
use shared::kafka::KafkaSettings;
use shared::kafka::reader::KafkaReader;
use shared::metrics::Metrics;
use shared::process::clock::Clock;

use local::CommandError;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::{Function, InProcess, Invocation};

/// Events to land, and where they land.
pub(super) struct Run<'r> {
    pub(super) kafka: &'r KafkaSettings,
    pub(super) registry: &'r Arc<Registry>,
    pub(super) topics: &'r [String],
    /// The number of events in all topics.
    pub(super) events: u64,
    pub(super) database_url: &'r str,
    pub(super) batch_size: usize,
}

impl Run<'_> {
    /// Lands all events. Returns the events per second from the first invocation to the last commit.
    pub(super) async fn land(&self) -> Result<f64, CommandError> {
        let pool = database::connect(self.database_url, 4)?;
        let (registry, wait) = (Arc::clone(self.registry), Duration::from_secs(3_600));
        let reader = Arc::new(KafkaReader::new(self.kafka.clone()));
        let consume = Consume::new(pool.clone(), registry, Clock::system(), wait, Metrics::default(), reader);
        let function = Arc::new(Timed { function: InProcess(Arc::new(consume)), span: Mutex::new(None) });
        let mut mappings = Vec::with_capacity(self.topics.len());
        for topic in self.topics {
            let mut configuration = MappingConfiguration::for_topic(topic);
            // A group of its own, so that each run reads the topic from its start.
            configuration.group = format!("bench-{}", uuid::Uuid::new_v4());
            configuration.batch_size = self.batch_size;
            // The last batch is not full, so it is delivered only when its window closes. The window is short so that
            // this wait hardly affects the result.
            configuration.window = Duration::from_millis(20);
            let function = Arc::clone(&function) as Arc<dyn Function>;
            mappings.push(EventSourceMapping::start(configuration, self.kafka, function)?);
        }
        let applied = "select coalesce(sum(next_offset), 0)::bigint from sluice.watermarks where topic = any($1)";
        let applied = || sqlx::query_scalar::<_, i64>(applied).bind(self.topics).fetch_one(&pool);
        while applied().await.map_err(failed)? < self.events.cast_signed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        futures::future::join_all(mappings.into_iter().map(EventSourceMapping::stop)).await;
        pool.close().await;
        let span = function.span.lock().map_or(None, |span| *span);
        let seconds = span.map_or(f64::INFINITY, |(first, last)| last.duration_since(first).as_secs_f64());
        Ok(rate(self.events, seconds))
    }
}

/// Returns the events per second.
#[expect(clippy::cast_precision_loss, reason = "event counts are small")]
pub(super) fn rate(events: u64, seconds: f64) -> f64 {
    events as f64 / seconds
}

pub(super) fn failed(error: sqlx::Error) -> CommandError {
    CommandError::Bench(error.to_string())
}

/// A function that records when its first invocation began and when its last invocation ended.
struct Timed {
    function: InProcess,
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Function for Timed {
    fn invoke(&self, payload: Bytes) -> Invocation<'_> {
        let begun = Instant::now();
        Box::pin(async move {
            let outcome = self.function.invoke(payload).await;
            if let Ok(mut span) = self.span.lock() {
                let first = span.map_or(begun, |(first, _)| first.min(begun));
                *span = Some((first, Instant::now()));
            }
            outcome
        })
    }
}
