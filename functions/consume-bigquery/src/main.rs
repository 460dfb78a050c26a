//! The function `consume-bigquery` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use consume::{Consume, lambda};
use consume_bigquery::{Bigquery, BigquerySettings, refuse_unsupported};
use lambda_runtime::Error;
use mimalloc::MiMalloc;
use shared::metrics::Metrics;
use shared::process::settings::from_env;
use shared::start::{self, World};

/// Batches of JSON documents are many small allocations, for which this allocator is faster than that of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    let bigquery = Bigquery::connect(&BigquerySettings::read(from_env)?).await?;
    // One connection is enough, because a sandbox handles one invocation at a time.
    let (world, reader) = World::connect_with_reader(1).await?;
    let World { registry, pool, login, clock, wait_for_parent, retention: _ } = world;
    refuse_unsupported(&registry)?;
    let metrics = Metrics::default();
    let consume = Consume::new(pool, registry, clock, wait_for_parent, metrics.clone(), Arc::new(reader));
    let consume = Arc::new(consume.for_bigquery(Arc::new(bigquery)));
    let closing = Arc::clone(&consume);
    start::on_shutdown(async move { closing.close().await }).await;
    lambda::run(&consume, &login, &metrics).await
}
