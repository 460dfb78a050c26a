//! The hourly run: EventBridge invokes the function, which mails the report of the hour, once.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::hour::{self, Hour};
use crate::mail::MailError;
use crate::question::Question;
use crate::tally::Tally;
use crate::{Reports, summary};

/// A transaction in which nothing happens for 30 s is ended: a mail has to be on its way before.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub(crate) enum Outcome {
    /// The report was mailed.
    Sent,
    /// The hour's report had been mailed by an earlier run.
    AlreadySent,
    /// Nobody is to get it: it was written into the log.
    Logged,
}

/// Why a run failed. The next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The database does not do its part.
    #[error("the report was not sent: {0}")]
    Database(#[from] sqlx::Error),
    /// The mail was not taken.
    #[error("the report was not sent: {0}")]
    Mail(#[from] MailError),
}

impl Reports {
    /// Mails the report of the hour that `time` lies in; of this hour, if there is none.
    ///
    /// # Errors
    /// The report was not sent; the next run tries again.
    pub(crate) async fn run(&self, time: Option<Timestamp>) -> Result<Outcome, ScheduleError> {
        let outcome = self.send(time).await;
        match &outcome {
            Ok(outcome) => tracing::info!(?outcome, "scheduled report"),
            Err(error) => tracing::error!(%error, "the hourly report is not out; the next run tries again"),
        }
        outcome
    }

    async fn send(&self, time: Option<Timestamp>) -> Result<Outcome, ScheduleError> {
        let now_ms = self.clock.now_ms();
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let hour = Hour::of(time.unwrap_or(now));
        let question = Question::default();
        let mut connection = self.pool.acquire().await?;
        let Some(post) = &self.post else {
            let tally = Tally::new(question, summary::count(&mut *connection, &question).await?, now_ms);
            let report = serde_json::to_string(&tally).unwrap_or_default();
            tracing::info!(hour = hour.name(), report, "REPORT_TO is not set: the report is logged");
            return Ok(Outcome::Logged);
        };
        let sending = async {
            let Some(mut claim) = hour::claim(&mut connection, hour).await? else {
                return Ok(Outcome::AlreadySent);
            };
            let tally = Tally::new(question, summary::count(claim.connection(), &question).await?, now_ms);
            post.send(&tally, hour).await?;
            claim.note_sent().await?;
            Ok(Outcome::Sent)
        };
        let outcome = match tokio::time::timeout(PATIENCE, sending).await {
            Ok(outcome) => outcome,
            Err(_late) => Err(MailError::Late.into()),
        };
        if outcome.is_err() {
            // Its transaction may be open, or its server a standby.
            connection.close_on_drop();
        }
        outcome
    }
}
