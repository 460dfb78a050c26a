//! The hourly run: EventBridge invokes the function, which mails the hour's report once.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::hour::{self, Hour};
use crate::mail::MailError;
use crate::question::Question;
use crate::tally::Tally;
use crate::{Reports, summary};

/// The time limit for sending. It must be below 30 s, because PostgreSQL ends transactions that stay idle that long.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "report")]
pub(crate) enum ReportDelivery {
    /// The report was mailed.
    Sent,
    /// An earlier run has mailed this hour's report.
    AlreadySent,
    /// There are no recipients: the report was written to the log.
    Logged,
}

/// Why a run failed. Lambda repeats the invocation with the same event, at most twice.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The database failed.
    #[error("the report was not sent: {0}")]
    Database(#[from] sqlx::Error),
    /// The mail server did not accept the mail.
    #[error("the report was not sent: {0}")]
    Mail(#[from] MailError),
}

impl Reports {
    /// Mails the report of the hour that contains `time`, or of the current hour if `time` is `None`.
    ///
    /// # Errors
    /// The report was not sent, or was sent but not marked as sent. Lambda repeats the invocation.
    pub(crate) async fn run(&self, time: Option<Timestamp>) -> Result<ReportDelivery, ScheduleError> {
        let result = self.send(time).await;
        match &result {
            Ok(delivery) => tracing::info!(?delivery, "the scheduled report is done"),
            Err(error) => {
                tracing::error!(%error, "the hourly report was not sent, or not marked as sent; Lambda retries at most twice");
            }
        }
        result
    }

    async fn send(&self, time: Option<Timestamp>) -> Result<ReportDelivery, ScheduleError> {
        let now_ms = self.clock.now_ms();
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let hour = Hour::containing(time.unwrap_or(now));
        let question = Question::default();
        let mut connection = self.pool.acquire().await?;
        let Some(post) = &self.post else {
            let tally = Tally::new(question, summary::count(&mut *connection, &question).await?, now_ms);
            let report = serde_json::to_string(&tally).unwrap_or_default();
            tracing::info!(
                hour = hour.name(),
                report,
                "REPORT_TO is not set: logging the report instead of mailing it"
            );
            return Ok(ReportDelivery::Logged);
        };
        let sending = async {
            let Some(mut claim) = hour::claim(&mut connection, hour).await? else {
                return Ok(ReportDelivery::AlreadySent);
            };
            let tally = Tally::new(question, summary::count(claim.connection(), &question).await?, now_ms);
            post.send(&tally, hour).await?;
            claim.note_sent().await?;
            Ok(ReportDelivery::Sent)
        };
        let result = match tokio::time::timeout(SEND_TIMEOUT, sending).await {
            Ok(result) => result,
            Err(_late) => Err(MailError::Late.into()),
        };
        if result.is_err() {
            // The connection is not used again, because its transaction may still be open, or the server may have
            // become a standby.
            connection.close_on_drop();
        }
        result
    }
}
