//! What the handlers share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use shared::contract::Registry;
use shared::kafka::Producer;
use shared::kafka::reader::KafkaReader;
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use sqlx::PgPool;

use crate::partitions::Partitions;

/// The function's state. `console` uses the same connections.
pub struct Ingest {
    /// Connections to the database.
    pub pool: PgPool,
    /// The contracts.
    pub registry: Arc<Registry>,
    /// The producer, which sends to Kafka.
    pub producer: Producer,
    /// The reader of Kafka.
    pub reader: KafkaReader,
    /// The clock.
    pub clock: Clock,
    /// The maximum time that an event waits for its parent.
    pub wait_for_parent: Duration,
    /// The counters.
    pub metrics: Metrics,
    pub(crate) partitions: Partitions,
    pub(crate) openapi: OnceLock<Bytes>,
}

impl Ingest {
    /// Creates a state that sends events through `producer`, counts them in `metrics`, and looks records up through
    /// `reader`. An event is rejected when it has waited for its parent for longer than `wait_for_parent`.
    pub fn new(
        pool: PgPool,
        registry: Arc<Registry>,
        producer: Producer,
        reader: KafkaReader,
        clock: Clock,
        wait_for_parent: Duration,
        metrics: Metrics,
    ) -> Self {
        let partitions = Partitions::default();
        Self { pool, registry, producer, reader, clock, wait_for_parent, metrics, partitions, openapi: OnceLock::new() }
    }
}
