//! A function with a database and topics of its own, and what its callers and others see of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use ingest::Ingest;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::contract::Registry;
use shared::dead_letter::{NewDeadLetter, Rejection};
use shared::http::edge::serve;
use shared::kafka::{KafkaSettings, Producer};
use shared::metrics::Metrics;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tower::ServiceExt as _;

/// When the tests take place.
pub(crate) const NOW_MS: i64 = 1_557_258_853_563;
/// How long an event waits for its parent in them.
pub(crate) const WAIT_FOR_PARENT: Duration = Duration::from_secs(3_600);
/// A port at which nobody listens: the system hands it out to nobody either.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

pub(crate) fn from_environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run ./local/test, or cargo local with-servers -- cargo test"))
}

fn cluster() -> KafkaSettings {
    KafkaSettings::plaintext(from_environment("KAFKA_BOOTSTRAP_SERVERS"))
}

/// The function under test.
pub(crate) struct Function {
    pub(crate) router: Router,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) producer: Producer,
    pub(crate) metrics: Metrics,
    suffix: String,
    database: Option<OwnDatabase>,
}

/// What is different from a function that has all it needs.
#[derive(Default)]
pub(crate) struct Lacking {
    pub(crate) broker: bool,
    pub(crate) database: bool,
    pub(crate) topics: bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A record as others read it.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Function {
    pub(crate) async fn start() -> Self {
        Self::start_lacking(Lacking::default()).await
    }

    pub(crate) async fn start_lacking(lacking: Lacking) -> Self {
        let broker = if lacking.broker { NOBODY.to_owned() } else { from_environment("KAFKA_BOOTSTRAP_SERVERS") };
        Self::start_at(lacking, &broker).await
    }

    /// One that is told another address of the broker than it has.
    pub(crate) async fn start_with_broker_at(address: &str) -> Self {
        Self::start_at(Lacking::default(), address).await
    }

    async fn start_at(lacking: Lacking, broker: &str) -> Self {
        let suffix = format!("-{}", uuid::Uuid::new_v4().simple());
        let registry = Arc::new(contracts(&suffix));
        let (url, database) = if lacking.database {
            (format!("postgres://sluice@{NOBODY}/sluice"), None)
        } else {
            let database = OwnDatabase::create().await;
            (database.url.clone(), Some(database))
        };
        let pool = shared::database::connect(&url, 10).unwrap();
        if database.is_some() {
            shared::database::migrate(&pool, None).await.unwrap();
        }
        let kafka = KafkaSettings::plaintext(broker.to_owned());
        if !lacking.broker && !lacking.topics {
            shared::kafka::topics::ensure(&cluster(), &registry).await.unwrap();
        }
        let producer = Producer::new(&kafka).unwrap();
        let clock = Clock::fixed(NOW_MS);
        let metrics = Metrics::default();
        let ingest =
            Ingest::new(pool.clone(), registry, producer.clone(), clock.clone(), WAIT_FOR_PARENT, metrics.clone());
        let router = serve(ingest::routes_for_anyone(Arc::new(ingest)));
        Self { router, pool, clock, producer, metrics, suffix, database }
    }

    /// The topic that a built-in contract's topic is in this test.
    pub(crate) fn topic(&self, topic: &str) -> String {
        format!("{topic}{}", self.suffix)
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Answer { status: head.status, headers: head.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        self.send("POST", path, headers, body).await
    }

    /// Has the broker take records of at most so many bytes.
    pub(crate) async fn limit_records(&self, topic: &str, bytes: usize) {
        let admin: AdminClient<DefaultClientContext> = cluster().client_config().create().unwrap();
        let topic = self.topic(topic);
        let bytes = bytes.to_string();
        let config = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("max.message.bytes", &bytes);
        admin.alter_configs(&[config], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    }

    /// All records of a topic, by partition and offset.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Record> {
        let (topic, kafka) = (self.topic(topic), cluster());
        tokio::task::spawn_blocking(move || read_topic(&kafka, &topic)).await.unwrap()
    }

    /// Tells that a partition has been applied up to before `next_offset`, with records as late as `max_timestamp_ms`.
    pub(crate) async fn apply(&self, topic: &str, partition: i32, next_offset: i64, max_timestamp_ms: i64) {
        sqlx::query(
            r#"insert into sluice.watermarks
               (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_hash)
               values ($1, $2, $3, $4, 0, 0, 0)
               on conflict (topic, "partition")
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

    /// Stores a dead letter. Answers its id.
    pub(crate) async fn reject(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        payload: &[u8],
        headers: &Value,
    ) -> i64 {
        let topic = self.topic(topic);
        let rejection = Rejection { code: "already_exists".to_owned(), reason: "it exists already".to_owned() };
        let letter = NewDeadLetter {
            topic: &topic,
            partition,
            offset,
            incarnation: 1,
            key: Some(b"the key"),
            payload,
            headers,
            record_timestamp_ms: NOW_MS,
            rejection: &rejection,
        };
        let mut connection = self.pool.acquire().await.unwrap();
        shared::dead_letter::insert(&mut connection, &[letter]).await.unwrap();
        sqlx::query_scalar("select max(id) from sluice.dead_letters").fetch_one(&mut *connection).await.unwrap()
    }

    /// Has an event wait for its parent.
    pub(crate) async fn keep_waiting(&self, topic: &str, partition: i32, offset: i64, since_ms: i64) {
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

    /// Notes that an event repeats another.
    pub(crate) async fn repeat(&self, topic: &str, partition: i32, offset: i64) {
        sqlx::query(r#"insert into sluice.duplicates (topic, "partition", "offset", incarnation, seen_at_ms, stream) values ($1, $2, $3, 1, 0, 'route')"#)
            .bind(self.topic(topic))
            .bind(partition)
            .bind(offset)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Drops what the test had for itself.
    pub(crate) async fn end(self) {
        let registry = contracts(&self.suffix);
        let admin: AdminClient<DefaultClientContext> = cluster().client_config().create().unwrap();
        let topics: Vec<&str> = registry.contracts().map(|contract| contract.topic.as_str()).collect();
        admin.delete_topics(&topics, &AdminOptions::new()).await.unwrap();
        self.pool.close().await;
        drop(self.database);
    }
}

/// The built-in contracts with topics of this test's own.
fn contracts(suffix: &str) -> Registry {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/contracts")).unwrap() {
        let path = file.unwrap().path();
        let mut contract: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let topic = format!("{}{suffix}", contract["x-sluice"]["topic"].as_str().unwrap());
        contract["x-sluice"]["topic"] = json!(topic);
        std::fs::write(folder.path().join(path.file_name().unwrap()), contract.to_string()).unwrap();
    }
    Registry::load(Some(folder.path())).unwrap()
}

/// A partition's first and next offset. Right after its creation a partition has no leader for a moment.
fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> (i64, i64) {
    const PATIENCE: Duration = Duration::from_secs(10);
    let begun = std::time::Instant::now();
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

/// A database that is dropped at the end, even of a test that fails.
struct OwnDatabase {
    url: String,
    name: String,
    server: PgConnectOptions,
}

impl OwnDatabase {
    async fn create() -> Self {
        let server_url = from_environment("DATABASE_URL");
        let server: PgConnectOptions = server_url.parse().unwrap();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = server.connect().await.unwrap();
        connection.execute(format!("create database {name}").as_str()).await.unwrap();
        connection.close().await.unwrap();
        let (address, query) = server_url.split_once('?').unwrap_or((&server_url, ""));
        let (server_address, _database) = address.rsplit_once('/').unwrap();
        Self { url: format!("{server_address}/{name}?{query}"), name, server }
    }
}

impl Drop for OwnDatabase {
    /// Not on the test's runtime, which may be going away.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = server.connect().await?;
                connection.execute(format!("drop database if exists {name} with (force)").as_str()).await?;
                connection.close().await
            })
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("the database {} was left behind: {error}", self.name);
        }
    }
}

/// A gzipped text.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
