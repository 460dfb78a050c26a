//! The function with a fake of BigQuery's tables, and records for the function.

use std::sync::Arc;
use std::time::Duration;

use consume::{Consume, ConsumeError, Summary};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use sqlx::Executor as _;
use tempfile::TempDir;
use testing::TestDatabase;

use super::fake::MemoryTables;
use crate::memory_log::MemoryLog;
use crate::support::{BUDGET, NOW_MS, Record, event, record};

pub(crate) const TOPIC: &str = "readings";

/// The tables of the ledger to which the function writes.
pub(crate) const LEDGER: [&str; 8] = [
    "watermarks",
    "gaps",
    "dead_letters",
    "stalls",
    "activity",
    "bigquery_streams",
    "bigquery_event_ids",
    "bigquery_duplicates",
];

/// The environment of the function: database, Kafka and BigQuery.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) tables: Arc<MemoryTables>,
    registry: Arc<Registry>,
    _folder: TempDir,
}

impl World {
    /// Creates a world. If `has_places`, the table in BigQuery has columns for partition and offset.
    pub(crate) async fn new(seed: u64, has_places: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut columns = json!({"number": {"from": "/n", "type": "bigint"}});
        if has_places {
            columns["kafka_partition"] = json!({"meta": "partition", "type": "integer"});
            columns["kafka_offset"] = json!({"meta": "offset", "type": "bigint"});
        }
        let contract = json!({
            "type": "object",
            "required": ["n"],
            "properties": {"n": {"type": "integer"}},
            "x-sluice": {
                "topic": TOPIC, "partitions": 2, "mode": "append", "table": "public.readings",
                "columns": {"n": {"from": "/n", "type": "bigint"}},
                "bigquery": {"table": "lake.readings", "columns": columns}
            }
        });
        std::fs::write(folder.path().join("reading.json"), contract.to_string()).expect("the contract is written");
        let registry = Arc::new(Registry::load(Some(folder.path())).expect("the contract is right"));
        let database = TestDatabase::create().await;
        Self { database, log: Arc::default(), tables: MemoryTables::new(seed), registry, _folder: folder }
    }

    /// Empties the ledger, the log and the tables, so that another random history can begin.
    pub(crate) async fn reset(&mut self, seed: u64) {
        let deletes = LEDGER.map(|table| format!("delete from sluice.{table}")).join(";");
        self.database.pool.execute(deletes.as_str()).await.expect("the ledger is cleared");
        (self.log, self.tables) = (Arc::default(), MemoryTables::new(seed));
    }

    /// Starts the function in a new process.
    pub(crate) fn start(&self) -> Consume {
        let (pool, clock) = (self.database.pool.clone(), Clock::fixed(NOW_MS));
        let (registry, log) = (Arc::clone(&self.registry), Arc::clone(&self.log));
        let consume = Consume::new(pool, registry, clock, Duration::ZERO, Metrics::default(), log);
        consume.for_bigquery(Arc::<MemoryTables>::clone(&self.tables))
    }

    /// Puts records into Kafka.
    pub(crate) fn send(&self, records: &[Record]) {
        for record in records {
            self.log.put(&record.topic, record.partition, [record.in_log()]);
        }
    }

    /// Returns the partition and offset of each dead letter and duplicate. The member `what` is the dead letter's error
    /// code, or `duplicate`.
    pub(crate) async fn exceptions(&self) -> Value {
        self.database
            .json(
                r#"select * from (
                       select "partition", "offset", error_code as what from sluice.dead_letters
                       where destination = 'bigquery'
                       union all
                       select "partition", "offset", 'duplicate' from sluice.bigquery_duplicates
                   ) as e order by "partition", "offset""#,
            )
            .await
    }

    pub(crate) async fn watermarks(&self) -> Vec<(i32, i64)> {
        sqlx::query_as(
            r#"select "partition", next_offset from sluice.watermarks where destination = 'bigquery' order by 1"#,
        )
        .fetch_all(&self.database.pool)
        .await
        .expect("the watermarks are read")
    }
}

/// Returns a record with a number.
pub(crate) fn reading(partition: i32, offset: i64, number: i64) -> Record {
    Record { partition, ..record(TOPIC, offset, &json!({"n": number})) }
}

pub(crate) async fn deliver(consume: &Consume, records: &[Record]) -> Result<Summary, ConsumeError> {
    consume.invoke(&event(records), BUDGET).await
}
