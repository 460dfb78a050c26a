//! Makes sure that there is one mail an hour, however often the schedule fires. A row in `sluice.reports` records
//! whether the hour's mail was sent.
//!
//! Each time the schedule fires, a run begins. In one transaction, the run locks the hour's row, hands the mail to the
//! mail server, and marks the report as sent. If the run is killed, its transaction is rolled back, so the next run
//! sends the mail. If the mail server had already accepted the mail, the next run sends a second copy. Both copies have
//! the same Message-ID, unless Amazon SES sends them: SES replaces the Message-ID.

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// An hour, identified by its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hour(Timestamp);

impl Hour {
    /// Returns the hour that contains a time.
    pub(crate) fn containing(time: Timestamp) -> Self {
        let seconds = time.as_second();
        Self(Timestamp::from_second(seconds - seconds.rem_euclid(3_600)).unwrap_or(time))
    }

    /// Formats the hour as in `2026-11-21 16:00`.
    pub(crate) fn name(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// Formats the hour as in `2026-11-21T16`.
    pub(crate) fn id(self) -> String {
        self.0.strftime("%Y-%m-%dT%H").to_string()
    }

    fn sql(self) -> String {
        self.0.to_string()
    }
}

/// The exclusive right to send an hour's report. The right ends when the claim is dropped.
#[derive(Debug)]
pub(crate) struct Claim<'c> {
    transaction: Transaction<'c, Postgres>,
    hour: Hour,
}

/// Claims an hour's report, or returns `None` if the report was sent before. Waits while another run is sending the
/// report.
///
/// # Errors
/// The database fails, or the other run takes too long.
pub(crate) async fn claim(connection: &mut PgConnection, hour: Hour) -> Result<Option<Claim<'_>>, sqlx::Error> {
    sqlx::query("insert into sluice.reports (hour) values ($1::timestamptz) on conflict do nothing")
        .bind(hour.sql())
        .execute(&mut *connection)
        .await?;
    let mut transaction = connection.begin().await?;
    let was_sent: bool =
        sqlx::query_scalar("select sent_at is not null from sluice.reports where hour = $1::timestamptz for update")
            .bind(hour.sql())
            .fetch_one(&mut *transaction)
            .await?;
    Ok((!was_sent).then_some(Claim { transaction, hour }))
}

impl Claim<'_> {
    /// Returns the connection that holds the lock.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Marks the report as sent.
    ///
    /// # Errors
    /// The database fails; the next run sends the report again.
    pub(crate) async fn note_sent(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("update sluice.reports set sent_at = clock_timestamp() where hour = $1::timestamptz")
            .bind(self.hour.sql())
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.commit().await
    }
}
