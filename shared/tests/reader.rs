//! Tests the reader with the real Kafka that `KAFKA_BOOTSTRAP_SERVERS` names. Each of these tests has its own topic.
//! Failures that a real Kafka does not produce on demand are tested with a mock cluster, or with an address at which
//! nothing listens.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets anything unexpected has failed")]

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use shared::kafka::KafkaSettings;
use shared::kafka::reader::{Bounds, Chunk, KafkaReader, Limits, ReadError, Reader as _};

const LIMITS: Limits = Limits { max_records: 10_000, max_bytes: 10_000_000, max_time: Duration::from_secs(20) };
const PATIENCE: Duration = Duration::from_secs(20);

/// A test's own topic, with one partition.
struct Topic {
    kafka: KafkaSettings,
    name: String,
    reader: KafkaReader,
}

impl Topic {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(configuration: &[(&str, &str)]) -> Self {
        let Ok(servers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
            panic!("KAFKA_BOOTSTRAP_SERVERS is not set: run the tests under `cargo local with-servers -- cargo test`");
        };
        let kafka = KafkaSettings::plaintext(servers);
        let name = format!("reader-{}", rand::random::<u64>());
        let mut topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        for (key, value) in configuration {
            topic = topic.set(key, value);
        }
        let admin: AdminClient<DefaultClientContext> = kafka.client_config().create().unwrap();
        admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        Self { reader: KafkaReader::new(kafka.clone()), kafka, name }
    }

    fn producer(&self, transactional: bool) -> FutureProducer {
        let mut config = self.kafka.client_config();
        if transactional {
            config.set("transactional.id", &self.name);
        }
        config.create().unwrap()
    }

    async fn produce(&self, producer: &FutureProducer, values: std::ops::Range<i64>) {
        for value in values {
            let time_ms = 1_000 * (value + 1);
            let (key, value) = (format!("k{value}"), format!("v{value}"));
            let headers = OwnedHeaders::new()
                .insert(Header { key: "h", value: Some("x") })
                .insert::<str>(Header { key: "n", value: None });
            let record = FutureRecord::to(&self.name).key(&key).payload(&value).headers(headers).timestamp(time_ms);
            producer.send(record, PATIENCE).await.unwrap();
        }
    }

    async fn delete_before(&self, offset: i64) {
        let admin: AdminClient<DefaultClientContext> = self.kafka.client_config().create().unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, 0, Offset::Offset(offset)).unwrap();
        admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    }

    async fn read(&self, from: i64, until: i64, limits: Limits) -> Chunk {
        self.reader.read(&self.name, 0, from, until, limits).await.unwrap()
    }
}

fn offsets(chunk: &Chunk) -> Vec<i64> {
    chunk.records.iter().map(|record| record.offset).collect()
}

#[tokio::test]
async fn a_read_returns_complete_records_until_the_end_of_its_range_or_the_end_of_the_log_or_a_limit() {
    let topic = Topic::new().await;
    topic.produce(&topic.producer(false), 0..10).await;
    assert_eq!(topic.reader.partitions(&topic.name).await.unwrap(), Some(1));
    assert_eq!(topic.reader.bounds(&topic.name, 0).await.unwrap(), Bounds { start: 0, end: 10 });

    let chunk = topic.read(3, 6, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![3, 4, 5], 3, 6));
    let record = &chunk.records[0];
    assert_eq!(record.key.as_deref(), Some(b"k3".as_slice()));
    assert_eq!(record.value.as_deref(), Some(b"v3".as_slice()));
    assert_eq!(record.headers, [("h".to_owned(), Some(b"x".to_vec())), ("n".to_owned(), None)]);
    assert_eq!(record.timestamp_ms, 4_000);

    let chunk = topic.read(8, 100, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.until), (vec![8, 9], 10));
    let chunk = topic.read(2, 100, Limits { max_records: 3, ..LIMITS }).await;
    assert_eq!((offsets(&chunk), chunk.until), (vec![2, 3, 4], 5));
    let chunk = topic.read(2, 100, Limits { max_bytes: 1, ..LIMITS }).await;
    assert_eq!((offsets(&chunk), chunk.until), (vec![2], 3));
    let chunk = topic.read(10, 12, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![], 10, 10));
}

#[tokio::test]
async fn a_read_starts_after_the_records_that_retention_deleted() {
    let topic = Topic::new().await;
    topic.produce(&topic.producer(false), 0..10).await;
    topic.delete_before(4).await;
    let chunk = topic.read(1, 7, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![4, 5, 6], 4, 7));
    assert_eq!(chunk.bounds, Bounds { start: 4, end: 10 });
    let chunk = topic.read(1, 3, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![], 3, 3));
    topic.delete_before(10).await;
    let chunk = topic.read(5, 100, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![], 10, 10));
}

#[tokio::test]
async fn a_read_passes_over_transaction_markers_and_aborted_records() {
    let topic = Topic::new().await;
    let producer = topic.producer(true);
    producer.init_transactions(PATIENCE).unwrap();
    for (values, commits) in [(0..2, true), (2..4, false), (4..5, true)] {
        producer.begin_transaction().unwrap();
        topic.produce(&producer, values).await;
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    // Offsets 2, 5 and 7 are the transactions' markers. The records at offsets 3 and 4 were aborted.
    let chunk = topic.read(0, 100, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.until), (vec![0, 1, 6], 8));
    let chunk = topic.read(2, 6, LIMITS).await;
    assert_eq!((offsets(&chunk), chunk.from, chunk.until), (vec![], 2, 6));
    // No record can be read at or after the start of an open transaction.
    producer.begin_transaction().unwrap();
    topic.produce(&producer, 5..7).await;
    assert_eq!(topic.reader.bounds(&topic.name, 0).await.unwrap().end, 8);
    assert_eq!(topic.reader.high_watermark(&topic.name, 0).await.unwrap(), 10);
    assert_eq!(topic.read(7, 100, LIMITS).await.until, 8);
    producer.commit_transaction(PATIENCE).unwrap();
}

#[tokio::test]
async fn offset_at_time_returns_the_offset_of_the_first_record_at_or_after_the_given_time() {
    let topic = Topic::new().await;
    topic.produce(&topic.producer(false), 0..5).await;
    let at = async |time_ms| topic.reader.offset_at_time(&topic.name, 0, time_ms).await.unwrap();
    assert_eq!((at(0).await, at(3_001).await, at(5_000).await, at(5_001).await), (Some(0), Some(3), Some(4), None));
}

#[tokio::test]
async fn the_committed_offsets_of_another_group_are_read_without_joining_the_group() {
    let topic = Topic::new().await;
    topic.produce(&topic.producer(false), 0..5).await;
    let group = format!("group of {}", topic.name);
    let committed = async || topic.reader.committed(&group, &topic.name, &[0, 1]).await.unwrap();
    assert_eq!(committed().await, [None, None]);
    let consumer: BaseConsumer = topic.kafka.client_config().set("group.id", &group).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(&topic.name, 0, Offset::Offset(3)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    assert_eq!(committed().await, [Some(3), None]);
}

#[tokio::test]
async fn a_compacted_topic_is_recognised() {
    for (policy, is_compacted) in [("compact", true), ("compact,delete", true), ("delete", false)] {
        let topic = Topic::with(&[("cleanup.policy", policy)]).await;
        assert_eq!(topic.reader.is_compacted(&topic.name).await.unwrap(), is_compacted, "{policy}");
    }
}

#[tokio::test]
async fn an_error_names_the_topic_and_partition_that_do_not_exist() {
    let topic = Topic::new().await;
    assert_eq!(topic.reader.partitions("reader-of-nothing").await.unwrap(), None);
    for (name, partition) in [("reader-of-nothing", 0), (topic.name.as_str(), 7)] {
        let error = topic.reader.bounds(name, partition).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Kafka has no partition {name}-{partition}"));
        let error = topic.reader.read(name, partition, 0, 1, LIMITS).await.unwrap_err();
        assert!(matches!(error, ReadError::UnknownPartition { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_causes_a_temporary_error() {
    let reader = KafkaReader::new(KafkaSettings::plaintext("127.0.0.1:1"));
    let error = reader.bounds("t", 0).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
}

#[tokio::test]
async fn a_request_is_repeated_while_the_leader_of_the_partition_moves() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let reader = KafkaReader::new(KafkaSettings::plaintext(cluster.bootstrap_servers()));
    let moves = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 4];
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &moves);
    assert_eq!(reader.bounds("t", 0).await.unwrap(), Bounds { start: 0, end: 0 });
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &moves);
    assert_eq!(reader.offset_at_time("t", 0, 1).await.unwrap(), None);
}

#[tokio::test]
async fn a_request_is_repeated_while_the_coordinator_of_the_group_moves() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", 1, 1).unwrap();
    let reader = KafkaReader::new(KafkaSettings::plaintext(cluster.bootstrap_servers()));
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
    ] {
        cluster.request_errors(RDKafkaApiKey::OffsetFetch, &[error; 4]);
        assert_eq!(reader.committed("g", "t", &[0]).await.unwrap(), [None], "{error:?}");
    }
}
