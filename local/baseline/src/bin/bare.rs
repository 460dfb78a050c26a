//! A minimal function with the same I/O as `ingest`: one query and one acknowledged send. Its database pool and its
//! Kafka producer connect while the runtime starts, as those of `ingest` do. The function has no contracts, no users
//! and no error handling.

use std::env::var;
use std::time::Duration;

use lambda_http::{Error, Request, Response, run, service_fn};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use sqlx::postgres::PgPoolOptions;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", var("KAFKA_BOOTSTRAP_SERVERS")?)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("enable.sparse.connections", "false")
        .set("linger.ms", "0")
        .create()?;
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&var("DATABASE_URL")?)?;
    let connecting = pool.clone();
    tokio::spawn(async move { connecting.acquire().await.map(drop) });
    let topic = var("TOPIC")?;
    run(service_fn(async |request: Request| {
        let _one: i32 = sqlx::query_scalar("select 1").fetch_one(&pool).await?;
        let record = FutureRecord::<(), [u8]>::to(&topic).payload(request.body().as_ref());
        let acknowledged = producer.send(record, Duration::from_secs(8)).await.map_err(|(error, _)| error)?;
        Ok::<_, Error>(Response::builder().status(202).body(format!("{acknowledged:?}"))?)
    }))
    .await
}
