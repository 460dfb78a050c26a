//! `GET /metrics`: the functions' counters, and how far landing currently lags behind Kafka.
//!
//! `shared::ledger::lag` compares Kafka with PostgreSQL's watermarks. This module writes the results as gauges.

use std::sync::Arc;
use std::time::Duration;

use shared::contract::{Contract, Registry};
use shared::kafka::KafkaSettings;
use shared::kafka::reader::{Ends, KafkaReader};
use shared::ledger::lag::{self, Lag};
use shared::ledger::progress::{self, Progress};
use shared::metrics::Metrics;
use shared::metrics::exposition::{Exposition, Kind};
use shared::process::clock::Clock;
use sqlx::PgPool;
use tokio::time::timeout;

/// The time limit for PostgreSQL's part of a scrape. Kafka's part has its own limits.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// Answers scrapes.
pub(crate) struct Monitor {
    metrics: Metrics,
    registry: Arc<Registry>,
    pool: PgPool,
    reader: KafkaReader,
}

impl Monitor {
    pub(crate) fn new(metrics: Metrics, registry: Arc<Registry>, pool: PgPool, kafka: KafkaSettings) -> Self {
        Self { metrics, registry, pool, reader: KafkaReader::new(kafka).for_ends() }
    }

    /// Returns the metrics in Prometheus's text format.
    pub(crate) async fn scrape(&self) -> String {
        let progress = match timeout(DATABASE_PATIENCE, progress::read(&self.pool)).await {
            Ok(Ok(progress)) => Some(progress),
            Ok(Err(error)) => {
                tracing::warn!(%error, "/metrics: the database does not answer");
                None
            }
            Err(_late) => None,
        };
        let topics: Vec<String> = self.registry.contracts().map(|contract| contract.topic.clone()).collect();
        let next_offsets = progress.as_ref().map(Progress::next_offsets).unwrap_or_default();
        let ends = self.reader.ends(topics, next_offsets).await;
        let ends = ends.inspect_err(|error| tracing::warn!(%error, "/metrics: Kafka does not answer")).ok();

        let mut text = Exposition::default();
        up(&mut text, "sluice_database_up", "Whether PostgreSQL answered this scrape.", progress.is_some());
        up(&mut text, "sluice_broker_up", "Whether Kafka answered this scrape.", ends.is_some());
        if let Some(progress) = &progress {
            self.write_counts(&mut text, progress);
        }
        if let (Some(progress), Some(ends)) = (&progress, &ends) {
            self.write_lag(&mut text, progress, ends);
        }
        self.metrics.prometheus() + &text.into_text()
    }

    fn write_counts(&self, text: &mut Exposition, progress: &Progress) {
        let gauges = [
            ("sluice_open_dead_letters", "Dead letters that are open, by stream.", &progress.open_dead_letters),
            ("sluice_stalled_partitions", "Partitions that cannot land, as /health lists them.", &progress.stalled),
        ];
        for (name, meaning, counts) in gauges {
            text.describe(name, Kind::Gauge, meaning);
            for contract in self.registry.contracts() {
                text.sample(name, &labels(contract), counts.get(&contract.topic).copied().unwrap_or_default());
            }
        }
    }

    fn write_lag(&self, text: &mut Exposition, progress: &Progress, ends: &Ends) {
        let now_ms = Clock::system().now_ms();
        let lags: Vec<(&Arc<Contract>, Lag)> = self
            .registry
            .contracts()
            .map(|contract| (contract, lag::of_topic(&contract.topic, progress, ends, now_ms)))
            .collect();
        text.describe("sluice_lag_events", Kind::Gauge, "Records in Kafka that have not landed.");
        for (contract, lag) in &lags {
            text.sample("sluice_lag_events", &labels(contract), lag.events);
        }
        text.describe(
            "sluice_lag_seconds",
            Kind::Gauge,
            "Age of the oldest record that has not landed; 0 if all records have landed.",
        );
        for (contract, lag) in &lags {
            if let Some(times) = lag.times {
                text.sample("sluice_lag_seconds", &labels(contract), times.oldest.as_secs_f64());
            }
        }
        let name = "sluice_since_last_success_seconds";
        let meaning = "Longest time in seconds for which a partition has landed nothing although \
                       records wait; 0 if no records wait.";
        text.describe(name, Kind::Gauge, meaning);
        for (contract, lag) in &lags {
            if let Some(times) = lag.times {
                text.sample(name, &labels(contract), times.since_success.as_secs_f64());
            }
        }
    }
}

fn up(text: &mut Exposition, name: &str, meaning: &str, is_up: bool) {
    text.describe(name, Kind::Gauge, meaning);
    text.sample(name, &[], u8::from(is_up));
}

fn labels(contract: &Contract) -> [(&str, &str); 2] {
    [("stream", contract.stream.as_str()), ("topic", contract.topic.as_str())]
}
