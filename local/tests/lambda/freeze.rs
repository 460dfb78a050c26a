//! Tests a function that is frozen while its broker and its database are killed and restarted.

use std::time::{Duration, Instant};

use local::servers::{DataFolder, Kafka, Postgres, PostgresOptions};
use shared::kafka::{KafkaSettings, SEND_TIMEOUT};

use super::function::{IngestLambda, TIMEOUT, position};

/// Returns how long the function is frozen. This time is longer than a send may take, so that a send in flight would
/// time out while the function is frozen.
fn freeze() -> Duration {
    let seconds = std::env::var("SLUICE_FREEZE_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds).max(SEND_TIMEOUT + Duration::from_secs(2))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_after_a_freeze_works_even_if_broker_and_database_were_killed_during_it() {
    let data = DataFolder::temporary().unwrap();
    let (kafka, postgres) = tokio::join!(Kafka::start(&data), Postgres::start(&data, PostgresOptions::default()));
    let (mut kafka, mut postgres) = (kafka.unwrap(), postgres.unwrap());
    let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
    let pool = shared::database::connect(&postgres.database_url(), 2).unwrap();
    shared::database::migrate(&pool, None).await.unwrap();
    let ingest = IngestLambda::start((&pool, &postgres.database_url()), &settings, TIMEOUT).await;
    assert_eq!(ingest.function.post("/events/route", &[], &position(1)).await.0, 202);

    let frozen = Instant::now();
    tokio::join!(kafka.kill9(), postgres.kill9());
    let (broker, database) = tokio::join!(kafka.restart(), postgres.restart());
    broker.and(database).unwrap();
    tokio::time::sleep_until((frozen + freeze()).into()).await;

    let thawed = Instant::now();
    let (status, body) = ingest.function.post("/events/route", &[], &position(2)).await;
    let first = thawed.elapsed();
    assert_eq!(status, 202, "{body}");
    assert!(first < Duration::from_secs(5), "the first request after the thaw took {first:?}");
    eprintln!("after a freeze of {:?}, the first request took {first:?}", thawed - frozen);
    assert_eq!(ingest.users(&settings).await, [1, 2]);

    pool.close().await;
    kafka.stop().await;
    postgres.stop().await;
}
