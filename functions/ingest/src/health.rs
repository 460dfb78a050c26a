//! The health check: whether the broker and the database respond, and which partitions are stalled.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use shared::http::answer;
use shared::http::database::within;
use shared::ledger::stalls::{self, Stall};

use crate::Ingest;
use crate::error::Error;

/// The time limit for the broker.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for the database. It includes the wait for a connection, which is longer during a burst of requests.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);

/// The result if the broker and the database respond. The events of stalled partitions are accepted, and wait in Kafka.
#[derive(Debug)]
pub(crate) struct Healthy {
    stalled: Vec<Stall>,
}

impl IntoResponse for Healthy {
    fn into_response(self) -> Response {
        let body = json!({"status": "ok", "broker": "ok", "database": "ok", "stalled": self.stalled});
        answer::json(StatusCode::OK, &body)
    }
}

/// Checks the broker and the database concurrently.
pub(crate) async fn check(ingest: &Ingest) -> Result<Healthy, Error> {
    let producer = ingest.producer.clone();
    let broker = tokio::task::spawn_blocking(move || producer.answers(BROKER_TIMEOUT));
    let database = within(DATABASE_TIMEOUT, stalls::list(&ingest.pool));
    match futures::join!(broker, database) {
        (Ok(true), Ok(stalled)) => Ok(Healthy { stalled }),
        (Ok(true), _) => Err(Error::Unhealthy("database")),
        (_, Ok(_)) => Err(Error::Unhealthy("broker")),
        _ => Err(Error::Unhealthy("broker and database")),
    }
}
