//! Kafka in, PostgreSQL out: writes batches of records exactly once.
//!
//! This file creates the function and distinguishes batches from schedule events. The most important other files:
//!
//! - `delivery` lands a batch: `batch` decodes the payload, `check` checks its records against their contracts, and
//!   `land` runs a transaction, in which `resume` drops records that were applied before, and `write` writes the rest
//!   in the contract's mode. `verdict` decides what an error means; if a row is at fault, `land` runs another
//!   transaction. If nothing about the batch is unusual, `land` runs a single statement instead
//! - `catch_up` asks Kafka two questions that a batch alone cannot answer. Is Kafka's log still the log whose records
//!   were applied? (`continuity` finds out, and `trust` remembers the answer.) Which records does the log have from the
//!   watermark to the batch, and in the batch's holes?
//! - `bigquery` lands batches in BigQuery instead, for the function `consume-bigquery`
//! - `compare` compares watermarks with Kafka on a schedule, without a batch; then `retention` erases old data
//! - `stall` records partitions that cannot land; `report` counts and logs results
//! - `lambda` runs the function on Lambda

// The compiler computes the layout of a future recursively, and the transaction's futures are nested more deeply than
// the default limit allows.
#![recursion_limit = "256"]

mod batch;
pub mod bigquery;
mod candidate;
mod catch_up;
mod check;
mod compare;
mod connection;
mod continuity;
mod delivery;
mod envelope;
mod error;
pub mod lambda;
mod land;
mod once;
mod overtaken;
mod policies;
mod replay;
mod report;
mod resume;
mod retention;
mod stall;
mod sweep;
mod trust;
mod verdict;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::contract::{Contract, Registry};
use shared::drift;
use shared::kafka::reader::Reader;
use shared::ledger::Destination;
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use shared::process::schedule::is_schedule;
use shared::start::Retention;
use sqlx::PgPool;

pub use self::batch::NotABatch;
use self::bigquery::Tables;
use self::connection::{Connections, in_time};
pub use self::error::ConsumeError;
use self::error::failed;
use self::land::Pauses;
pub use self::land::Summary;
use self::policies::Policies;
use self::sweep::Sweeps;
use self::trust::Trust;
pub use self::write::WriteError;

/// The function `consume`. [`Self::for_bigquery`] turns it into the function `consume-bigquery`.
#[derive(Debug)]
pub struct Consume {
    storage: Storage,
    connections: Connections,
    registry: Arc<Registry>,
    clock: Clock,
    wait_for_parent: Duration,
    metrics: Metrics,
    reader: Arc<dyn Reader>,
    trust: Trust,
    pauses: Pauses,
    policies: Policies,
    sweeps: Sweeps,
    retention: Retention,
}

/// Where the function writes rows.
#[derive(Debug)]
enum Storage {
    Postgresql,
    Bigquery(Arc<dyn Tables>),
}

impl Consume {
    /// Creates a function that writes to `pool` according to the contracts of `registry`. An event waits for its parent
    /// for at most `wait_for_parent`. By default, dead letters and login attempts are kept forever. Results are counted
    /// in `metrics`. Records that batches skip are read from Kafka through `reader`.
    pub fn new(
        pool: PgPool,
        registry: Arc<Registry>,
        clock: Clock,
        wait_for_parent: Duration,
        metrics: Metrics,
        reader: Arc<dyn Reader>,
    ) -> Self {
        let (trust, pauses) = (Trust::default(), Pauses::default());
        let (policies, sweeps) = (Policies::default(), Sweeps::default());
        let (connections, retention) = (Connections::new(pool), Retention::default());
        Self {
            storage: Storage::Postgresql,
            connections,
            registry,
            clock,
            wait_for_parent,
            metrics,
            reader,
            trust,
            pauses,
            policies,
            sweeps,
            retention,
        }
    }

    /// Writes to `tables` in BigQuery instead of tables in PostgreSQL. The ledger stays in PostgreSQL. The function
    /// then handles batches but no schedule events. The function that writes to PostgreSQL erases the old data of both
    /// functions.
    #[must_use]
    pub fn for_bigquery(self, tables: Arc<dyn Tables>) -> Self {
        Self { storage: Storage::Bigquery(tables), ..self }
    }

    fn destination(&self) -> Destination {
        match self.storage {
            Storage::Postgresql => Destination::Postgresql,
            Storage::Bigquery(_) => Destination::Bigquery,
        }
    }

    /// Limits how long dead letters and login attempts are kept. Each schedule event applies the limits.
    #[must_use]
    pub fn with_retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// Writes a batch, given as the JSON of Lambda's Kafka event, within `budget`. Records from the watermark to the
    /// batch, or to the batch's last hole, are read from Kafka and written first. If the payload is a schedule's event,
    /// the watermarks are compared with Kafka instead.
    ///
    /// # Errors
    /// The batch must be delivered again. Records before the batch, or before its last hole, may have been written.
    /// Nothing else of the batch was written to PostgreSQL; in BigQuery, some of its partitions may have landed.
    pub async fn invoke(&self, payload: &[u8], budget: Duration) -> Result<Summary, ConsumeError> {
        if matches!(self.storage, Storage::Postgresql) && is_schedule(payload) {
            return self.compare(budget).await;
        }
        self.deliver(payload, budget).await
    }

    /// Compares every contract with its tables and logs each difference. Returns no error, because the function must
    /// start even if one of the streams cannot land.
    pub async fn log_differences(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        let contracts: Vec<Arc<Contract>> = self.registry.contracts().cloned().collect();
        let comparing = async {
            let mut connection = self.connections.take(until).await?;
            let compared = drift::compare(connection.get(), &contracts).await.map_err(|error| failed(error.into()));
            self.connections.finish(connection, &compared.as_ref().map(|_| ())).await;
            compared
        };
        match in_time(until, comparing).await {
            Ok(differences) => {
                for difference in differences {
                    tracing::error!("{}", difference.with_effect());
                }
            }
            Err(error) => {
                tracing::warn!(cause = error.cause(), "cannot compare the contracts with their tables");
            }
        }
    }

    /// Closes the function's connections to the database, and the pool that opens them.
    pub async fn close(&self) {
        self.connections.close().await;
    }
}
