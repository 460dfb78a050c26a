//! Tests the embedded servers: they start, keep their data through `kill -9`, and leave nothing behind.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod support;

use std::time::Duration;

use local::servers::{DataFolder, Kafka, Postgres, PostgresOptions, ServerError};
use shared::kafka::KafkaSettings;
use sqlx::{Connection as _, Executor as _, PgConnection};
use support::kafka::{Record, create_topic, produce, topic_name};

#[tokio::test(flavor = "multi_thread")]
async fn kafka_keeps_its_records_through_kill_9_and_a_restart_and_another_start_on_the_same_folder() {
    let data = DataFolder::temporary().unwrap();
    let mut kafka = Kafka::start(&data).await.unwrap();
    let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
    let topic = topic_name("kept");
    create_topic(&settings, &topic, 1).await;
    assert_eq!(produce(&settings, &topic, &[Record::with_value("a"), Record::with_value("b")]).await, [0, 1]);

    kafka.kill9().await;
    kafka.restart().await.unwrap();
    assert_eq!(kafka.bootstrap_servers(), settings.bootstrap_servers);
    assert_eq!(produce(&settings, &topic, &[Record::with_value("c")]).await, [2]);

    kafka.stop().await;
    let mut another = Kafka::start(&data).await.unwrap();
    assert_eq!(another.bootstrap_servers(), settings.bootstrap_servers, "the address stays the same");
    assert_eq!(produce(&settings, &topic, &[Record::with_value("d")]).await, [3]);
    another.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_its_rows_through_kill_9_and_a_restart_and_another_start_on_the_same_folder() {
    let data = DataFolder::temporary().unwrap();
    let mut postgres =
        Postgres::start(&data, PostgresOptions { logical_replication: true, ..PostgresOptions::default() })
            .await
            .unwrap();
    let url = postgres.database_url();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("create table kept as select 7 as number").await.unwrap();
    let level: String = sqlx::query_scalar("show wal_level").fetch_one(&mut connection).await.unwrap();
    assert_eq!(level, "logical");

    postgres.kill9().await;
    postgres.restart().await.unwrap();
    assert_eq!(postgres.database_url(), url);
    assert_eq!(kept_number(&url).await, 7);

    postgres.stop().await;
    let mut another = Postgres::start(&data, PostgresOptions::default()).await.unwrap();
    assert_eq!(another.database_url(), url, "the address stays the same");
    assert_eq!(kept_number(&url).await, 7);
    another.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_moves_to_another_port_when_its_old_port_is_taken() {
    let data = DataFolder::temporary().unwrap();
    let mut postgres = Postgres::start(&data, PostgresOptions::default()).await.unwrap();
    let url = postgres.database_url();
    postgres.stop().await;
    let port = url.rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
    let taken = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).unwrap();

    let mut moved = Postgres::start(&data, PostgresOptions::default()).await.unwrap();

    assert_ne!(moved.database_url(), url);
    moved.stop().await;
    drop(taken);
}

async fn kept_number(url: &str) -> i32 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("select number from kept").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_server_is_noticed_and_reported_in_one_line() {
    let data = DataFolder::temporary().unwrap();
    let mut postgres = Postgres::start(&data, PostgresOptions::default()).await.unwrap();
    let pid_file = std::fs::read_to_string(data.path().join("postgresql/cluster/postmaster.pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid_file.lines().next().unwrap().parse().unwrap()).unwrap();

    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();

    let died = tokio::time::timeout(Duration::from_secs(10), postgres.died()).await.unwrap();
    assert!(matches!(died, ServerError::Died { .. }));
    let line = died.to_string();
    assert!(line.starts_with("PostgreSQL died (signal: 9 (SIGKILL))"), "{line}");
    assert_eq!(line.lines().count(), 1);
    postgres.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_folder_is_removed_when_it_is_dropped() {
    let data = DataFolder::temporary().unwrap();
    let folder = data.path().to_owned();
    let mut postgres = Postgres::start(&data, PostgresOptions::default()).await.unwrap();
    postgres.stop().await;
    assert!(folder.exists());

    drop(data);

    assert!(!folder.exists());
}
