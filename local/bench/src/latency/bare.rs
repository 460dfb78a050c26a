//! The bare pipeline: sends an event straight to Kafka, reads it and inserts its row with one statement.

use std::time::Duration;

use futures::StreamExt as _;
use local::CommandError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;
use shared::kafka::KafkaSettings;
use sqlx::{Connection as _, PgConnection};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::event::Event;

const TOPIC: &str = "bare-latency";
const INSERT: &str = "insert into public.user_events (id, city, state, country, post_code, datetime)
    values ($1, $2, $3, $4, $5, $6::text::timestamp)";

/// A producer, and a task that inserts what the producer has sent.
pub(super) struct Bare {
    producer: FutureProducer,
    _inserting: AbortOnDropHandle<()>,
}

impl Bare {
    pub(super) async fn start(kafka: &KafkaSettings, database_url: &str) -> Result<Self, CommandError> {
        let admin: AdminClient<DefaultClientContext> = kafka.client_config().create()?;
        let topic = NewTopic::new(TOPIC, 1, TopicReplication::Fixed(1));
        admin.create_topics([&topic], &AdminOptions::new()).await?;
        let producer = kafka
            .client_config()
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .create()?;
        let consumer: StreamConsumer =
            kafka.client_config().set("group.id", TOPIC).set("auto.offset.reset", "earliest").create()?;
        consumer.subscribe(&[TOPIC])?;
        let connection = PgConnection::connect(database_url).await;
        let mut connection = connection.map_err(|error| CommandError::Bench(error.to_string()))?;
        let inserting = tokio::spawn(async move {
            let mut records = consumer.stream();
            while let Some(record) = records.next().await {
                // If this fails, the event never becomes visible, which fails the measurement.
                let Ok(record) = record else { continue };
                let _inserted = insert(&mut connection, record.payload().unwrap_or_default()).await;
            }
        });
        Ok(Self { producer, _inserting: AbortOnDropHandle::new(inserting) })
    }

    pub(super) fn send(&self, event: Event) -> impl Future<Output = Result<(), CommandError>> + use<> {
        let producer = self.producer.clone();
        async move {
            let record = FutureRecord::<(), str>::to(TOPIC).payload(&event.body);
            producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
            Ok(())
        }
    }
}

async fn insert(connection: &mut PgConnection, payload: &[u8]) -> Result<(), sqlx::Error> {
    let event: Value = serde_json::from_slice(payload).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    sqlx::query(INSERT)
        .bind(text("/id").and_then(|id| Uuid::parse_str(&id).ok()))
        .bind(text("/address/city"))
        .bind(text("/address/state"))
        .bind(text("/address/country"))
        .bind(text("/address/postCode"))
        .bind(text("/datetime"))
        .execute(connection)
        .await?;
    Ok(())
}
