//! One mail an hour, however often the schedule fires: a row in `sluice.reports` decides.
//!
//! Who sends an hour's report holds the lock on its row from before the mail is handed over until it is noted that it
//! was. A function that is killed before loses the lock and has noted nothing, so the next run sends. Killed between
//! the mail server's acceptance and the commit, it has sent a mail that nobody noted: the next run sends the same one
//! again, under the same Message-ID.

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// An hour, by its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hour(Timestamp);

impl Hour {
    /// The hour that a time lies in.
    pub(crate) fn of(time: Timestamp) -> Self {
        let seconds = time.as_second();
        Self(Timestamp::from_second(seconds - seconds.rem_euclid(3_600)).unwrap_or(time))
    }

    /// As in `2026-11-21 16:00`.
    pub(crate) fn name(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M").to_string()
    }

    /// As in `2026-11-21T16`.
    pub(crate) fn id(self) -> String {
        self.0.strftime("%Y-%m-%dT%H").to_string()
    }

    fn sql(self) -> String {
        self.0.to_string()
    }
}

/// An hour's report that nobody sends but us, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim<'c> {
    transaction: Transaction<'c, Postgres>,
    hour: Hour,
}

/// Claims an hour's report; none if it was sent. Whoever comes while another sends waits for what comes of it.
///
/// # Errors
/// The database does not do its part, or another one sends for too long.
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
    /// The connection that holds the lock.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Notes that the report was sent.
    ///
    /// # Errors
    /// The database does not do its part: the report is sent again.
    pub(crate) async fn note_sent(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("update sluice.reports set sent_at = clock_timestamp() where hour = $1::timestamptz")
            .bind(self.hour.sql())
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.commit().await
    }
}
