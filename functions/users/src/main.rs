//! The function `users` on AWS Lambda.

use std::process::ExitCode;

use lambda_http::Error;
use shared::http::lambda;
use shared::http::login::logged_in;
use shared::identity::{Identity, Relay};
use shared::metrics::Metrics;
use shared::settings::from_env;
use shared::start::{HttpWorld, World};
use users::{Users, UsersSettings};

/// One request at a time on Lambda, beside which the outbox is sent.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    shared::telemetry::start();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let users = UsersSettings::read(from_env)?;
    let HttpWorld { world, identity, producer } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, .. } = world;
    let relay = Relay::of(&registry, &pool, &producer);
    let identity = Identity::new(pool.clone(), clock.clone(), &identity, relay);
    let users = Users::new(identity, pool.clone(), clock, users);
    lambda::run(logged_in(users::routes(users), login), pool, Metrics::default()).await
}
