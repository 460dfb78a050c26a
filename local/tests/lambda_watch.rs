//! The examples that ship, with every function under `cargo lambda watch`.
//!
//! Not a part of `./local/test`, as the functions are built once more for it. `./local/up --lambda` installs what it
//! needs; then: `cargo local with-servers -- cargo test --package local --test lambda_watch`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

mod support;

use shared::contract::Registry;
use support::database::TestDatabase;
use support::gateway::{ADMIN, client_of, plan};
use support::geonames::GeoNames;
use support::kafka::settings;
use support::process::UpProcess;

#[tokio::test(flavor = "multi_thread")]
async fn the_geonames_load_passes_through_cargo_lambda_watch_unchanged() {
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
