//! Whether broker and database answer.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::Ingest;
use crate::error::Error;
use shared::http::answer;

/// How long they have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Both answer.
#[derive(Debug)]
pub(crate) struct Healthy;

impl IntoResponse for Healthy {
    fn into_response(self) -> Response {
        answer::json(StatusCode::OK, &json!({"status": "ok", "broker": "ok", "database": "ok"}))
    }
}

/// Asks both at once.
pub(crate) async fn check(ingest: &Ingest) -> Result<Healthy, Error> {
    let producer = ingest.producer.clone();
    let broker = tokio::task::spawn_blocking(move || producer.answers(PATIENCE));
    let database = tokio::time::timeout(PATIENCE, sqlx::query("select 1").execute(&ingest.pool));
    match futures::join!(broker, database) {
        (Ok(true), Ok(Ok(_))) => Ok(Healthy),
        (Ok(true), _) => Err(Error::Unhealthy("database")),
        (_, Ok(Ok(_))) => Err(Error::Unhealthy("broker")),
        _ => Err(Error::Unhealthy("broker and database")),
    }
}
