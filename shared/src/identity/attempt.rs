//! The records of login attempts on their way to the topic `login`. A record is committed to an outbox together with
//! the attempt's effect, and is then sent from the outbox. If the broker does not answer, the record is sent later. The
//! login waits for the broker for at most `PATIENCE`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::http::database::{in_time, spawn};
use crate::kafka::{Outgoing, Producer, RecordHeader};
use crate::record::headers::IDEMPOTENCY_KEY;

/// How the password was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// `POST /login`.
    Login,
    /// Basic credentials.
    Basic,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AttemptOutcome {
    Success,
    Failure,
    Blocked,
}

/// The record of an attempt, in the form that the contract `login` describes.
#[derive(Debug, Serialize)]
pub(super) struct Attempt<'a> {
    pub(super) user: &'a str,
    pub(super) at: String,
    pub(super) outcome: AttemptOutcome,
    pub(super) via: Via,
    pub(super) source_ip: Option<&'a str>,
    pub(super) request_id: &'a str,
}

/// Puts an attempt into the outbox.
pub(super) async fn record(connection: &mut PgConnection, attempt: &Attempt<'_>) -> Result<(), sqlx::Error> {
    let text = serde_json::to_string(attempt).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query("insert into sluice.login_outbox (id, attempt) values ($1, $2)")
        .bind(Uuid::new_v4())
        .bind(text)
        .execute(connection)
        .await?;
    Ok(())
}

/// Sends the attempts that are in the outbox.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    pool: PgPool,
    producer: Producer,
    topic: String,
    /// The earliest time of the next try after a failure. The task that is sending holds the lock.
    not_before: Mutex<Instant>,
}

/// The maximum time that a request waits until its attempt is sent.
const PATIENCE: Duration = Duration::from_millis(250);
/// The pause after a failure before the next try.
const PAUSE: Duration = Duration::from_secs(5);
const AT_ONCE: i64 = 500;

impl Relay {
    /// Creates a relay from the outbox in `pool` to the topic of login attempts.
    pub fn to_topic(topic: String, pool: PgPool, producer: Producer) -> Self {
        Self(Arc::new(Inner { pool, producer, topic, not_before: Mutex::new(Instant::now()) }))
    }

    /// Sends the attempts in the outbox, and briefly waits for the broker to acknowledge them, because on Lambda
    /// nothing runs between requests. Attempts that are not acknowledged in time stay in the outbox, and are sent
    /// together with a later attempt. An attempt that is sent twice lands once.
    pub async fn send(&self) {
        let inner = Arc::clone(&self.0);
        let _sent_or_late = tokio::time::timeout(PATIENCE, spawn(async move { inner.drain().await })).await;
    }

    /// Sends the attempts in the outbox once a second, without end.
    pub async fn send_forever(self) {
        const EVERY: Duration = Duration::from_secs(1);
        loop {
            self.send().await;
            tokio::time::sleep(EVERY).await;
        }
    }
}

impl Inner {
    async fn drain(&self) {
        let mut not_before = self.not_before.lock().await;
        if Instant::now() < *not_before {
            return;
        }
        loop {
            match self.drain_some().await {
                Ok(Drained::All) => return,
                Ok(Drained::Some) => {}
                Ok(Drained::Unacknowledged) => break,
                Err(error) => {
                    tracing::warn!(%error, "cannot read login attempts from the outbox");
                    break;
                }
            }
        }
        *not_before = Instant::now() + PAUSE;
    }

    async fn drain_some(&self) -> Result<Drained, sqlx::Error> {
        const SELECT: &str = "select id, attempt from sluice.login_outbox order by number limit $1";
        let found: Vec<(Uuid, String)> = in_time(sqlx::query_as(SELECT).bind(AT_ONCE).fetch_all(&self.pool)).await?;
        if found.is_empty() {
            return Ok(Drained::All);
        }
        let headers: Vec<[RecordHeader; 1]> =
            found.iter().map(|(id, _)| [(IDEMPOTENCY_KEY.to_owned(), Some(id.to_string().into_bytes()))]).collect();
        let records: Vec<Outgoing<'_>> = found
            .iter()
            .zip(&headers)
            .map(|((_, attempt), headers)| Outgoing {
                topic: &self.topic,
                key: None,
                value: Some(attempt.as_bytes()),
                headers,
            })
            .collect();
        let answers = self.producer.send(&records).await;
        let sent: Vec<Uuid> =
            found.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|((id, _), _)| *id).collect();
        const DELETE: &str = "delete from sluice.login_outbox where id = any($1)";
        in_time(sqlx::query(DELETE).bind(&sent).execute(&self.pool)).await?;
        if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            tracing::warn!(left = found.len() - sent.len(), %error, "login attempts stay in the outbox for now");
            return Ok(Drained::Unacknowledged);
        }
        let is_all = i64::try_from(found.len()).is_ok_and(|found| found < AT_ONCE);
        Ok(if is_all { Drained::All } else { Drained::Some })
    }
}

enum Drained {
    All,
    Some,
    Unacknowledged,
}
