//! The function `ingest` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use lambda_http::Error;
use shared::http::lambda;
use shared::http::login::logged_in;
use shared::metrics::Metrics;
use shared::start::{self, HttpWorld, World};

/// Lambda runs one request at a time, so one connection is enough for requests. The second connection is for the task
/// that reads login attempts from the outbox (a table) and sends them to Kafka, because this task may run at the same
/// time as a request.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    let HttpWorld { world, identity, producer, reader } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, wait_for_parent, .. } = world;
    let metrics = Metrics::default();
    let ingest = ingest::Ingest::new(pool.clone(), registry, producer, reader, clock, wait_for_parent, metrics.clone());
    let routes = logged_in(ingest::routes(Arc::new(ingest), identity), login);
    start::close_on_shutdown(pool.clone()).await;
    lambda::run(routes, pool, metrics).await
}
