//! Tests loading the built-in examples with every function under `cargo lambda watch`.
//!
//! Not part of `./local/test`, because it builds the functions once more. `./local/up --lambda` installs its
//! prerequisites; then run `cargo local with-servers -- cargo test --package local --test lambda_watch`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod support;

use shared::contract::Registry;
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
    up.stop().await;
}
