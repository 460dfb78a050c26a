//! Creates, fills and reads a test's own topics in the cluster that `KAFKA_BOOTSTRAP_SERVERS` names.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use shared::kafka::KafkaSettings;

/// Returns the cluster's settings.
pub fn settings() -> KafkaSettings {
    KafkaSettings::plaintext(super::from_with_servers("KAFKA_BOOTSTRAP_SERVERS"))
}

/// Returns a unique topic name.
pub fn topic_name(prefix: &str) -> String {
    super::unique(prefix)
}

pub async fn create_topic(kafka: &KafkaSettings, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = kafka.client_config().create().unwrap();
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let answers = admin.create_topics(&[topic], &AdminOptions::new()).await.unwrap();
    for answer in answers {
        answer.unwrap();
    }
}

pub async fn delete_topic(kafka: &KafkaSettings, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = kafka.client_config().create().unwrap();
    for answer in admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap() {
        answer.unwrap();
    }
}

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub struct Record {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// Creates a record with this value in partition 0.
    pub fn with_value(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// Moves the record to another partition.
    pub fn in_partition(self, partition: i32) -> Self {
        Self { partition, ..self }
    }
}

/// Produces records in order. Returns their offsets.
pub async fn produce(kafka: &KafkaSettings, topic: &str, records: &[Record]) -> Vec<i64> {
    let producer: FutureProducer = kafka
        .client_config()
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "2000000")
        .set("queue.buffering.max.kbytes", "1048576")
        .set("message.max.bytes", "1048588")
        .set("message.timeout.ms", "60000")
        .create()
        .unwrap();
    let reports = records.iter().map(|record| {
        let mut outgoing = FutureRecord::<[u8], [u8]>::to(topic).partition(record.partition);
        outgoing.key = record.key.as_deref();
        outgoing.payload = record.value.as_deref();
        outgoing.timestamp = record.timestamp_ms;
        if !record.headers.is_empty() {
            outgoing.headers = Some(record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            }));
        }
        producer.send_result(outgoing).map_err(|(error, _)| error).unwrap()
    });
    join_all(reports).await.into_iter().map(|report| report.unwrap().unwrap().offset).collect()
}

/// Returns a group's committed offsets for a topic's partitions. A partition without a committed offset has `None`.
pub async fn committed(kafka: &KafkaSettings, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let consumer: BaseConsumer = kafka.client_config().set("group.id", group).create().unwrap();
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&topic, 0, partitions - 1);
        let answer = consumer.committed_offsets(asked, Duration::from_secs(10)).unwrap();
        answer.elements().iter().map(|element| element.offset().to_raw().filter(|offset| *offset >= 0)).collect()
    })
    .await
    .unwrap()
}

/// Returns the number of a group's members.
pub async fn members(kafka: &KafkaSettings, group: &str) -> usize {
    let client: BaseConsumer = kafka.client_config().create().unwrap();
    let group = group.to_owned();
    tokio::task::spawn_blocking(move || {
        let groups = client.fetch_group_list(Some(&group), Duration::from_secs(10)).unwrap();
        groups.groups().iter().map(|group| group.members().len()).sum()
    })
    .await
    .unwrap()
}

/// Returns the partitions of a topic. The list is empty if the topic does not exist.
pub async fn partitions(kafka: &KafkaSettings, topic: &str) -> Vec<i32> {
    let client: BaseConsumer = kafka.client_config().create().unwrap();
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let metadata = client.fetch_metadata(Some(&topic), Duration::from_secs(10)).unwrap();
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect()
    })
    .await
    .unwrap()
}

/// Resets a consumer group to the start of a topic. The group must have no members.
pub async fn set_back(kafka: &KafkaSettings, group: &str, topic: &str, partitions: i32) {
    let offsets: Vec<(i32, i64)> = (0..partitions).map(|partition| (partition, 0)).collect();
    move_group(kafka, group, topic, &offsets).await;
}

/// Moves a consumer group to these offsets of a topic's partitions. The group must have no members.
pub async fn move_group(kafka: &KafkaSettings, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let consumer: BaseConsumer = kafka.client_config().set("group.id", group).create().unwrap();
    let mut list = TopicPartitionList::new();
    for &(partition, offset) in offsets {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).unwrap();
    }
    tokio::task::spawn_blocking(move || consumer.commit(&list, rdkafka::consumer::CommitMode::Sync))
        .await
        .unwrap()
        .unwrap();
}

/// Removes a partition's records before this offset, as retention does.
pub async fn delete_records(kafka: &KafkaSettings, topic: &str, partition: i32, before: i64) {
    let admin: AdminClient<DefaultClientContext> = kafka.client_config().create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(before)).unwrap();
    let deleted = admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
    for element in deleted.elements() {
        element.error().unwrap();
    }
}

/// Returns the values, keys and header values of all current records of a topic.
pub async fn values(kafka: &KafkaSettings, topic: &str) -> Vec<Vec<u8>> {
    let records = records_in(kafka, topic).await;
    let parts = records.into_iter().flat_map(|record| {
        let headers = record.headers.into_iter().map(|(_, value)| value);
        [record.value, record.key].into_iter().chain(headers)
    });
    parts.map(Option::unwrap_or_default).collect()
}

/// Returns all current records of a topic.
pub async fn records_in(kafka: &KafkaSettings, topic: &str) -> Vec<Record> {
    let partitions = partitions(kafka, topic).await;
    let consumer: BaseConsumer = kafka.client_config().set("group.id", "nobody").create().unwrap();
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || {
        let (mut assigned, mut missing) = (TopicPartitionList::new(), BTreeMap::new());
        for partition in partitions {
            let (low, high) = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(10)).unwrap();
            if low < high {
                assigned.add_partition_offset(&topic, partition, rdkafka::Offset::Offset(low)).unwrap();
                missing.insert(partition, high);
            }
        }
        consumer.assign(&assigned).unwrap();
        let mut records = Vec::new();
        while !missing.is_empty() {
            let record = consumer.poll(Duration::from_secs(30)).expect("a record").unwrap();
            if missing.get(&record.partition()) == Some(&(record.offset() + 1)) {
                missing.remove(&record.partition());
            }
            let headers = record.headers().into_iter().flat_map(Headers::iter);
            records.push(Record {
                partition: record.partition(),
                key: record.key().map(<[u8]>::to_vec),
                value: record.payload().map(<[u8]>::to_vec),
                headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
                timestamp_ms: record.timestamp().to_millis(),
            });
        }
        records
    })
    .await
    .unwrap()
}
