//! The function `console` on AWS Lambda. API Gateway invokes it for operators' requests, and EventBridge invokes it
//! every minute for the scheduled work.

use std::process::ExitCode;
use std::sync::Arc;

use console::{Console, ConsoleFunction};
use ingest::Ingest;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use shared::database;
use shared::http::login::logged_in;
use shared::identity::password::Blocklist;
use shared::metrics::{Metrics, embed};
use shared::start::{self, HttpWorld, World};
use users::{Registration, Users, UsersSettings};

/// Lambda runs one request at a time. A replay holds one connection for its transaction, and uses the other for
/// lookups.
const DATABASE_CONNECTIONS: u32 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    start::run(run()).await
}

async fn run() -> Result<(), Error> {
    let HttpWorld { world, identity, producer, reader } = HttpWorld::connect(DATABASE_CONNECTIONS).await?;
    let World { registry, pool, login, clock, wait_for_parent, .. } = world;
    let metrics = Metrics::default();
    // The console has no registration form.
    let settings = UsersSettings { registration: Registration::Closed, blocklist: Blocklist::Common };
    let users = Users::new(identity.clone(), pool.clone(), Arc::clone(&registry), clock.clone(), settings);
    let ingest = Ingest::new(pool.clone(), registry, producer, reader, clock, wait_for_parent, metrics.clone());
    let console = Arc::new(Console::new(Arc::new(ingest)));
    let routes = logged_in(console::routes(Arc::clone(&console), users, identity), login.clone());
    let function = ConsoleFunction::new(console, routes);
    start::close_on_shutdown(pool.clone()).await;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        // `login.run` may run failed work a second time. This is safe for the schedule's work, because the second
        // attempt does only what the first one has not committed. A request never runs twice: even a refused request
        // gets an answer, so it never counts as failed work.
        let answer = login.run(async || function.invoke(event.payload.get(), event.context.clone()).await).await;
        embed(&metrics);
        // Lambda may freeze the process as soon as the answer is returned.
        database::wait_until_idle(&pool).await;
        answer
    }))
    .await
}
