//! The tests' shared setup: the function with its own database, and payloads as the event source mapping sends them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64_simd::STANDARD;
use consume::{Consume, ConsumeError, Summary};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::kafka::reader::LogRecord;
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use sqlx::PgPool;
use testing::TestDatabase;

use crate::memory_log::MemoryLog;

/// The function and its database.
pub(crate) struct Function {
    pub(crate) consume: Consume,
    pub(crate) database: TestDatabase,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// The log that takes the place of Kafka.
    pub(crate) log: Arc<MemoryLog>,
}

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// The function's timeout, as in template.yaml.
pub(crate) const BUDGET: Duration = Duration::from_secs(300);

impl Function {
    /// Creates a function with the built-in contracts.
    pub(crate) async fn new() -> Self {
        Self::with_contracts(None).await
    }

    pub(crate) async fn with_contracts(contracts_dir: Option<&Path>) -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool.clone();
        Self::connected(database, pool, contracts_dir).await
    }

    /// Creates a function that reaches its database through `pool`. The migrations use the pool of `database`.
    pub(crate) async fn connected(database: TestDatabase, pool: PgPool, contracts_dir: Option<&Path>) -> Self {
        shared::database::migrate(&database.pool, contracts_dir).await.expect("the migrations apply");
        let clock = Clock::fixed(NOW_MS);
        let registry = Arc::new(Registry::load(contracts_dir).expect("the contracts are right"));
        let (wait, metrics) = (Duration::from_secs(3_600), Metrics::default());
        let log = Arc::new(MemoryLog::default());
        let reader = Arc::clone(&log);
        let consume = Consume::new(pool, registry, clock.clone(), wait, metrics.clone(), reader);
        Self { consume, database, clock, metrics, log }
    }

    /// Puts records into Kafka, and delivers them.
    pub(crate) async fn deliver(&self, records: &[Record]) -> Result<Summary, ConsumeError> {
        for record in records {
            self.log.put(&record.topic, record.partition, [record.in_log()]);
        }
        self.deliver_only(records).await
    }

    /// Delivers records without putting them into Kafka.
    pub(crate) async fn deliver_only(&self, records: &[Record]) -> Result<Summary, ConsumeError> {
        self.consume.invoke(&event(records), BUDGET).await
    }

    pub(crate) async fn land(&self, records: &[Record]) -> Summary {
        self.deliver(records).await.expect("the batch lands")
    }

    /// Returns the outcomes of the records at these offsets of a topic's partition 0.
    pub(crate) async fn outcomes(&self, topic: &str, offsets: std::ops::Range<i64>) -> Vec<String> {
        let records: Vec<(i32, i64)> = offsets.map(|offset| (0, offset)).collect();
        let outcomes = shared::ledger::receipts::look_up(&self.database.pool, Some(&*self.log), topic, &records)
            .await
            .expect("the receipts are looked up");
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                shared::ledger::receipts::Outcome::Rejected(rejection)
                | shared::ledger::receipts::Outcome::Replayed { rejection, .. } => {
                    format!("rejected: {}", rejection.code)
                }
                other => format!("{:?}", other.status()).to_lowercase(),
            })
            .collect()
    }
}

/// A record as the mapping sends it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    /// Returns the record as Kafka stores it.
    pub(crate) fn in_log(&self) -> LogRecord {
        LogRecord {
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key: self.key.clone(),
            value: self.value.clone(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Some(value.clone().into_bytes())))
                .collect(),
        }
    }
}

/// Returns a record on partition 0.
pub(crate) fn record(topic: &str, offset: i64, value: &Value) -> Record {
    Record {
        topic: topic.to_owned(),
        partition: 0,
        offset,
        timestamp_ms: NOW_MS + offset,
        key: None,
        value: Some(value.to_string().into_bytes()),
        headers: Vec::new(),
    }
}

/// Returns a record for each value, on partition 0, with offsets from 0 up.
pub(crate) fn records(topic: &str, values: impl IntoIterator<Item = Value>) -> Vec<Record> {
    values.into_iter().zip(0..).map(|(value, offset)| record(topic, offset, &value)).collect()
}

/// Returns the payload with which the mapping delivers these records.
pub(crate) fn event(records: &[Record]) -> Vec<u8> {
    let mut partitions = serde_json::Map::new();
    for record in records {
        let encode = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode_to_string(bytes));
        let signed = |text: &str| text.bytes().map(u8::cast_signed).collect::<Vec<_>>();
        let headers: Vec<Value> = record.headers.iter().map(|(name, value)| json!({ name: signed(value) })).collect();
        let list = partitions
            .entry(format!("{}-{}", record.topic, record.partition))
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(json!({
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": record.timestamp_ms,
                "timestampType": "CREATE_TIME",
                "key": encode(&record.key),
                "value": encode(&record.value),
                "headers": headers,
            }));
        }
    }
    json!({"eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:local", "bootstrapServers": "b:9092",
           "records": partitions})
    .to_string()
    .into_bytes()
}

pub(crate) fn route(user: i64, seconds: f64) -> Value {
    json!({"userID": user, "timestamp": seconds, "coordinates": [52.5, 4.25]})
}

pub(crate) fn user_event(number: u128, city: &str) -> Value {
    json!({
        "id": uuid::Uuid::from_u128(number).to_string(),
        "address": {"city": city, "state": "Maryland", "country": null, "postCode": "21201"},
        "datetime": "2019-05-07 19:54:13.563"
    })
}
