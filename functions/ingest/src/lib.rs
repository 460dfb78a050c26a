//! HTTP in: checks events against their contracts, hands them to Kafka, and tells what became of them.
//!
//! An event's way: `routes` → `body` (what was posted, event by event) → `accept`, which has every event checked by
//! `check`, sends them at once and hands out receipts → `wait`, if that is asked for.

mod accept;
mod body;
mod check;
mod dead_letters;
mod entities;
mod error;
mod health;
mod idempotency;
mod openapi;
mod partitions;
mod prefer;
mod receipts;
mod routes;
mod streams;
mod submit;
mod wait;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::kafka::Producer;
use shared::metrics::Metrics;
use sqlx::PgPool;

use crate::partitions::Partitions;
pub use crate::routes::{routes, routes_for_anyone};

/// What the function works with.
pub struct Ingest {
    pool: PgPool,
    registry: Arc<Registry>,
    producer: Producer,
    clock: Clock,
    wait_for_parent: Duration,
    metrics: Metrics,
    partitions: Partitions,
    openapi: OnceLock<Bytes>,
}

impl Ingest {
    /// `wait_for_parent`: how long an event waits for its parent before it is rejected; `metrics`: where events are
    /// counted.
    pub fn new(
        pool: PgPool,
        registry: Arc<Registry>,
        producer: Producer,
        clock: Clock,
        wait_for_parent: Duration,
        metrics: Metrics,
    ) -> Self {
        let partitions = Partitions::default();
        Self { pool, registry, producer, clock, wait_for_parent, metrics, partitions, openapi: OnceLock::new() }
    }
}
