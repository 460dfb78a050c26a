//! The function `consume` on AWS Lambda.

use std::process::ExitCode;
use std::sync::Arc;

use consume::{Consume, lambda};
use lambda_runtime::Error;
use mimalloc::MiMalloc;
use shared::metrics::Metrics;
use shared::start::{self, World};

/// Batches of JSON documents are many small allocations, for which this allocator is faster than that of the C library.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    // One connection is enough, because a sandbox handles one invocation at a time.
    let (world, reader) = World::connect_with_reader(1).await?;
    let World { registry, pool, login, clock, wait_for_parent, retention } = world;
    let metrics = Metrics::default();
    let consume = Consume::new(pool, registry, clock, wait_for_parent, metrics.clone(), Arc::new(reader));
    let consume = Arc::new(consume.with_retention(retention));
    consume.log_differences().await;
    let closing = Arc::clone(&consume);
    start::on_shutdown(async move { closing.close().await }).await;
    lambda::run(&consume, &login, &metrics).await
}
