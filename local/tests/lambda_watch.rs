//! Loads the GeoNames data while every function runs under `cargo lambda watch`, then checks that all processes can be
//! stopped.
//!
//! This test is not part of `./local/test`, because it builds the functions once more. To run the test, first run
//! `./local/up --lambda`, which installs the prerequisites. Then run
//! `cargo local with-servers -- cargo test --package local --test lambda_watch`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod support;

use std::time::Duration;

use reqwest::redirect::Policy;
use shared::contract::Registry;
use sqlx::{Connection as _, PgConnection};
use support::database::TestDatabase;
use support::gateway::{ADMIN, client_of, plan};
use support::geonames::GeoNames;
use support::kafka::settings;
use support::process::UpProcess;

#[tokio::test(flavor = "multi_thread")]
async fn the_geonames_data_lands_unchanged_through_cargo_lambda_watch() {
    let database = TestDatabase::create().await;
    let plan = plan();
    let registry = Registry::load(Some(plan.contracts())).unwrap();
    let servers = settings().bootstrap_servers;
    let mut up = UpProcess::start_on(&servers, &database.url, plan.contracts(), &["--lambda"]).await;

    let geonames = GeoNames::read();
    geonames.load(&client_of(ADMIN), &up.url, &registry).await;
    geonames.has_landed(&database).await;
    // The router of `cargo lambda watch` passes this address to `ingest`, as API Gateway may do.
    let client = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = client.get(format!("{}/console/", up.url)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (308, &"/console".parse().unwrap()));

    // Closes the test's own connections, so that only the functions' connections are counted.
    database.pool.close().await;
    let mut watcher = PgConnection::connect(&database.url).await.unwrap();
    let mut connections = async || -> i64 {
        const COUNT: &str = "select count(*) from pg_stat_activity
            where datname = current_database() and application_name = 'sluice'";
        sqlx::query_scalar(COUNT).fetch_one(&mut watcher).await.unwrap()
    };
    assert!(connections().await > 0);
    let processes = up.descendants();
    for function in ["ingest", "console", "users", "report", "consume"] {
        let runs = processes.iter().any(|process| process.name == function);
        assert!(runs, "{function} is none of {processes:?}");
    }
    up.stop().await;
    let ended = async {
        while processes.iter().any(|process| process.is_alive()) || connections().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("no process and no connection is left");
}
