//! Tests the end of a sandbox: Lambda thaws the process and sends it SIGTERM.

use std::time::Duration;

use local::lambda::LambdaError;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, PgConnection};

use super::function::{IngestLambda, TIMEOUT, position};
use super::support::database::TestDatabase;
use super::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_closes_its_connections_before_its_sandbox_ends() {
    let (database, kafka) = (TestDatabase::create().await, kafka::settings());
    let mut ingest = IngestLambda::start((&database.pool, &database.url), &kafka, TIMEOUT).await;
    assert_eq!(ingest.function.post("/events/route", &[], &position(1)).await.0, 202);
    // Closes the test's own connections, so that only the function's connections are counted.
    database.pool.close().await;
    let mut watcher = PgConnection::connect(&database.url).await.unwrap();
    let mut connections = async || -> i64 {
        const COUNT: &str = "select count(*) from pg_stat_activity
            where datname = current_database() and application_name = 'sluice'";
        sqlx::query_scalar(COUNT).fetch_one(&mut watcher).await.unwrap()
    };
    assert!(connections().await > 0);

    let process = ingest.function.lambda.sandboxes()[0].first_process().unwrap();
    let process = Pid::from_raw(process.cast_signed()).unwrap();
    for signal in [Signal::CONT, Signal::TERM] {
        kill_process(process, signal).unwrap();
    }
    let ended =
        tokio::time::timeout(Duration::from_secs(30), ingest.function.lambda.ended()).await.expect("the sandbox ends");
    let LambdaError::Ended { status, log, .. } = ended else { panic!("{ended}") };
    assert!(status.success() && log.contains("Graceful shutdown completed"), "{status}: {log}");
    // PostgreSQL's processes for these connections end a moment later.
    let closed = async {
        while connections().await > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("the connections are closed");
}
