//! A function whose routes are tested. It has its own database, topics and Kafka clients.
//!
//! `consume` does not run: the tests themselves write into the ledger what `consume` would write.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails where its setup fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::database;
use shared::http::edge::serve;
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, Outgoing, Producer, SendError, topics};
use shared::ledger::Destination;
use shared::ledger::dead_letters::{self, NewDeadLetter};
use shared::ledger::records::{KeptRecord, LogPosition};
use shared::ledger::{Rejection, headers};
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use sqlx::postgres::PgPool;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::TestDatabase;

/// The time at which the tests' clock starts.
pub const NOW_MS: i64 = 1_557_258_853_563;
/// The maximum time that an event waits for its parent.
pub const WAIT_FOR_PARENT: Duration = Duration::from_secs(3_600);
/// An address at which nothing listens. The operating system does not assign this port.
const UNREACHABLE: &str = "127.0.0.1:1";

/// Returns the value of a variable.
///
/// # Panics
/// The variable is not set, so the test has failed.
pub fn from_environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run ./local/test, or cargo local with-servers -- cargo test"))
}

fn cluster() -> KafkaSettings {
    KafkaSettings::plaintext(from_environment("KAFKA_BOOTSTRAP_SERVERS"))
}

/// What a test builds its routes from.
pub struct Connections {
    /// The test's database.
    pub pool: PgPool,
    /// The built-in contracts with the test's topics.
    pub registry: Arc<Registry>,
    /// A producer.
    pub producer: Producer,
    /// A reader.
    pub reader: KafkaReader,
    /// A clock that stands at [`NOW_MS`].
    pub clock: Clock,
    /// The counters.
    pub metrics: Metrics,
}

/// The function under test.
pub struct TestFunction {
    /// Its routes, as they are served.
    pub router: Router,
    /// Its database.
    pub pool: PgPool,
    /// Its clock.
    pub clock: Clock,
    /// Its producer.
    pub producer: Producer,
    /// Its counters.
    pub metrics: Metrics,
    suffix: String,
    database: Option<TestDatabase>,
}

/// What the function under test lacks.
#[derive(Default)]
pub struct Lacking {
    /// No broker answers.
    pub broker: bool,
    /// No database answers.
    pub database: bool,
    /// Its topics do not exist.
    pub topics: bool,
    /// The contracts have no roles.
    pub roles: bool,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body as JSON. An empty body is null.
    pub body: Value,
}

impl Answer {
    /// Returns a header's text, which is empty if there is no such header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A response that is not JSON, such as a page.
#[derive(Debug)]
pub struct TextAnswer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

impl TextAnswer {
    /// Returns a header's text, which is empty if there is no such header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A record on a topic.
#[derive(Debug, PartialEq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: String,
    /// Its headers. A header without a value has the value `(null)`.
    pub headers: BTreeMap<String, String>,
}

impl TestFunction {
    /// Starts a function whose routes are built by `routes`. If `broker` is given, the function connects to the broker
    /// at this address. The function's topics are still created in the test cluster. No topics are created if `lacking`
    /// includes the broker or the topics.
    pub async fn start(lacking: Lacking, broker: Option<&str>, routes: impl FnOnce(Connections) -> Router) -> Self {
        let broker = match broker {
            _ if lacking.broker => UNREACHABLE.to_owned(),
            Some(address) => address.to_owned(),
            None => from_environment("KAFKA_BOOTSTRAP_SERVERS"),
        };
        let suffix = format!("-{}", Uuid::new_v4().simple());
        let registry = Arc::new(contracts(&suffix, lacking.roles));
        let (pool, database) = if lacking.database {
            (database::connect(&format!("postgres://sluice@{UNREACHABLE}/sluice"), 8).unwrap(), None)
        } else {
            let database = TestDatabase::create().await;
            (database.pool.clone(), Some(database))
        };
        let kafka = KafkaSettings::plaintext(broker);
        if !lacking.broker && !lacking.topics {
            topics::ensure(&cluster(), &registry).await.unwrap();
        }
        let producer = Producer::new(&kafka).unwrap();
        let clock = Clock::fixed(NOW_MS);
        let metrics = Metrics::default();
        let connections = Connections {
            pool: pool.clone(),
            registry,
            producer: producer.clone(),
            reader: KafkaReader::new(kafka),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let router = serve(routes(connections));
        Self { router, pool, clock, producer, metrics, suffix, database }
    }

    /// Returns the name that a built-in contract's topic has in this test.
    pub fn topic(&self, topic: &str) -> String {
        format!("{topic}{}", self.suffix)
    }

    /// Sends a request.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let TextAnswer { status, headers, text } = self.fetch(method, path, headers, body).await;
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Answer { status, headers, body }
    }

    /// Sends a request whose answer may be a page.
    pub async fn fetch(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> TextAnswer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        TextAnswer { status: head.status, headers: head.headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    /// Sends a POST request.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send("POST", path, headers, body).await
    }

    /// Limits the size in bytes of the records that the broker accepts. A new limit takes effect with a delay, so this
    /// function sends larger records until the broker rejects one.
    pub async fn limit_records(&self, topic: &str, bytes: usize) {
        let admin: AdminClient<DefaultClientContext> = cluster().client_config().create().unwrap();
        let topic = self.topic(topic);
        let limit = bytes.to_string();
        let config = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", &limit);
        admin.alter_configs(&[config], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let value = vec![b'x'; bytes + 1];
        let record = Outgoing { topic: &topic, key: None, value: Some(&value), headers: &[] };
        while !matches!(self.producer.send(&[record]).await[..], [Err(SendError::TooLarge)]) {}
    }

    /// Returns all records of a topic, by partition and offset.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (topic, kafka) = (self.topic(topic), cluster());
        tokio::task::spawn_blocking(move || read_topic(&kafka, &topic)).await.unwrap()
    }

    /// Sets a partition's watermark. `max_timestamp_ms` is the time of the latest applied record.
    pub async fn apply(&self, topic: &str, partition: i32, next_offset: i64, max_timestamp_ms: i64) {
        sqlx::query(
            r#"insert into sluice.watermarks
               (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_offset, last_hash)
               values ($1, $2, $3, $4, 0, 0, $3 - 1, 0)
               on conflict (topic, "partition", destination)
               do update set next_offset = excluded.next_offset, max_timestamp_ms = excluded.max_timestamp_ms"#,
        )
        .bind(self.topic(topic))
        .bind(partition)
        .bind(next_offset)
        .bind(max_timestamp_ms)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Stores a dead letter and returns its id.
    pub async fn reject(&self, topic: &str, partition: i32, offset: i64, payload: &[u8], headers: &Value) -> i64 {
        let rejection = Rejection {
            constraint: Some("the constraint".into()),
            table: Some("the table".into()),
            column: Some("the column".into()),
            ..Rejection::new("already_exists", "it exists already").at("/the/pointer")
        };
        self.reject_because(topic, (partition, offset), payload, headers, &rejection).await
    }

    /// Stores a dead letter with this rejection, and returns the dead letter's id.
    pub async fn reject_because(
        &self,
        topic: &str,
        (partition, offset): (i32, i64),
        payload: &[u8],
        headers: &Value,
        rejection: &Rejection,
    ) -> i64 {
        let topic = self.topic(topic);
        let record = KeptRecord {
            position: LogPosition { topic: &topic, partition, offset, incarnation: 1 },
            key: Some(b"the key"),
            payload,
            headers: &headers::from_json(headers),
            timestamp_ms: NOW_MS,
        };
        let letter = NewDeadLetter { record, rejection };
        let mut connection = self.pool.acquire().await.unwrap();
        dead_letters::insert(&mut connection, Destination::Postgresql, &[letter]).await.unwrap();
        sqlx::query_scalar("select max(id) from sluice.dead_letters").fetch_one(&mut *connection).await.unwrap()
    }

    /// Stores an event that waits for its parent.
    pub async fn keep_waiting(&self, topic: &str, partition: i32, offset: i64, since_ms: i64) {
        sqlx::query(
            r#"insert into sluice.waiting
               (topic, "partition", "offset", incarnation, stream, entity_key, parent_stream, parent_key, payload,
                headers, record_timestamp_ms, since_ms)
               values ($1, $2, $3, 1, 'city', 'c', 'country', 'p', '{}', '[]', 0, $4)"#,
        )
        .bind(self.topic(topic))
        .bind(partition)
        .bind(offset)
        .bind(since_ms)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Marks an event as a duplicate.
    pub async fn repeat(&self, topic: &str, partition: i32, offset: i64) {
        sqlx::query(r#"insert into sluice.duplicates (topic, "partition", "offset", incarnation, seen_at_ms, stream) values ($1, $2, $3, 1, 0, 'route')"#)
            .bind(self.topic(topic))
            .bind(partition)
            .bind(offset)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Deletes the test's topics and database.
    pub async fn end(self) {
        let registry = contracts(&self.suffix, false);
        let admin: AdminClient<DefaultClientContext> = cluster().client_config().create().unwrap();
        let topics: Vec<&str> = registry.contracts().map(|contract| contract.topic.as_str()).collect();
        admin.delete_topics(&topics, &AdminOptions::new()).await.unwrap();
        self.pool.close().await;
        drop(self.database);
    }
}

/// Returns the built-in contracts with this test's topics.
fn contracts(suffix: &str, without_roles: bool) -> Registry {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts")).unwrap() {
        let path = file.unwrap().path();
        let mut contract: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let topic = format!("{}{suffix}", contract["x-sluice"]["topic"].as_str().unwrap());
        contract["x-sluice"]["topic"] = json!(topic);
        if without_roles {
            contract["x-sluice"]["roles"] = json!([]);
        }
        std::fs::write(folder.path().join(path.file_name().unwrap()), contract.to_string()).unwrap();
    }
    Registry::load(Some(folder.path())).unwrap()
}

/// Returns a partition's first and next offset. Right after its creation, a partition briefly has no leader, so the
/// request is repeated.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, PATIENCE) {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition)) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            watermarks => return watermarks.unwrap(),
        }
    }
}

fn read_topic(kafka: &KafkaSettings, topic: &str) -> Vec<Record> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let consumer: BaseConsumer = kafka.client_config().set("group.id", topic).create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut assignment = TopicPartitionList::new();
    let mut expected = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = watermarks(&consumer, topic, partition.id());
        expected += usize::try_from(high - low).unwrap();
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    while records.len() < expected {
        let message = consumer.poll(PATIENCE).expect("a record that the broker has").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().map(|headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map_or("(null)".to_owned(), text))).collect()
        });
        records.push(Record {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            value: text(message.payload().unwrap()),
            headers: headers.unwrap_or_default(),
        });
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}
