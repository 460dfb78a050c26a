//! The function `users` on AWS Lambda.

use std::process::ExitCode;

use lambda_http::Error;
use shared::http::lambda;
use shared::http::login::logged_in;
use shared::metrics::Metrics;
use shared::process::settings::from_env;
use shared::start::{self, HttpWorld, World};
use users::{Users, UsersSettings};

/// Lambda runs one request at a time, so one connection is enough for requests. The second connection is for the task
/// that reads login attempts from the outbox (a table) and sends them to Kafka, because this task may run at the same
/// time as a request.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    let users = UsersSettings::read(from_env)?;
    let HttpWorld { world, identity, .. } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, .. } = world;
    let users = Users::new(identity, pool.clone(), registry, clock, users);
    start::close_on_shutdown(pool.clone()).await;
    lambda::run(logged_in(users::routes(users), login), pool, Metrics::default()).await
}
