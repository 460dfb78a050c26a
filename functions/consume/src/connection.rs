//! The function's connections to the database, and the deadline of an invocation.
//!
//! A connection is kept outside its pool from one batch to the next. The pool would test the connection whenever it is
//! taken out or returned, which would cost three round trips per batch.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use shared::database;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::timeout_at;

use crate::ConsumeError;
use crate::error::failed;

/// For this long after a batch, its connection may be used again without a test.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// The maximum age of a connection. An older connection is replaced, because the database's host name may now belong to
/// another server.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// The number of records after which a connection's statements are first planned again, and the factor by which the
/// number grows each time. PostgreSQL keeps the plans of prepared statements. A plan that it made for an empty table may
/// read the whole table, and would do so for every batch until the table is analysed.
const FIRST_PLANS_LAST: usize = 1_000;
const PLANS_LAST_LONGER_BY: usize = 4;

/// Idle connections, and the pool that opens new ones.
#[derive(Debug)]
pub(crate) struct Connections {
    pool: PgPool,
    idle: Mutex<Vec<Connection>>,
}

/// A connection, which is closed when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    inner: PgConnection,
    opened: Instant,
    /// When the connection was last used, by two clocks: one never goes back, and the other keeps running while a
    /// function is frozen. `None` if the connection was just opened.
    used: Option<(Instant, SystemTime)>,
    /// The number of records, of all streams, in the batches that the connection has landed.
    landed: usize,
    /// The number of landed records after which the statements are planned again.
    replan_at: usize,
}

impl Connections {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, idle: Mutex::default() }
    }

    /// Returns a kept connection that is alive, or opens one.
    pub(crate) async fn take(&self, deadline: Instant) -> Result<Connection, ConsumeError> {
        self.take_kept(deadline, Duration::ZERO).await
    }

    /// Returns a kept connection, or opens one. A connection that was used within the last second is not tested. If it
    /// turns out to be dead, the caller must repeat the work.
    pub(crate) async fn take_untested(&self, deadline: Instant) -> Result<Connection, ConsumeError> {
        self.take_kept(deadline, TRUSTED_FOR).await
    }

    /// Takes the most recently used connection, or opens one. A kept connection is tested unless it was used within
    /// `trusted_for`.
    async fn take_kept(&self, deadline: Instant, trusted_for: Duration) -> Result<Connection, ConsumeError> {
        let kept = async {
            loop {
                let Some(mut last) = self.idle().pop() else { return Ok(None) };
                let is_usable = last.was_used_within(trusted_for) || database::is_alive(&mut last.inner).await;
                if is_usable && last.opened.elapsed() < LIFETIME {
                    return Ok(Some(last));
                }
            }
        };
        match in_time(deadline, kept).await? {
            Some(connection) => Ok(connection),
            None => self.open(deadline).await,
        }
    }

    /// Opens a connection.
    pub(crate) async fn open(&self, deadline: Instant) -> Result<Connection, ConsumeError> {
        let opening = async { self.pool.acquire().await.map_err(|error| failed(error.into())) };
        let inner = in_time(deadline, opening).await?.detach();
        let (opened, used) = (Instant::now(), None);
        Ok(Connection { inner, opened, used, landed: 0, replan_at: FIRST_PLANS_LAST })
    }

    /// Keeps a connection for the next batch. If the work failed, closes the connection instead.
    pub(crate) async fn finish<E>(&self, mut connection: Connection, result: &Result<(), E>) {
        if result.is_ok() {
            connection.used = Some((Instant::now(), SystemTime::now()));
            self.idle().push(connection);
        } else {
            // The connection itself may be the cause: its server may have become a standby, or a table may have changed
            // since the connection's statements were prepared. The next batch opens a new connection. The old one is
            // closed now, because the function may be frozen after its answer, and a transaction that is still open by
            // then would hold up the retry.
            database::end(connection.inner).await;
        }
    }

    /// Closes the idle connections and the pool.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            database::end(connection.inner).await;
        }
        self.pool.close().await;
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Returns whether an earlier invocation used the connection. Its server may be gone by now.
    pub(crate) fn is_kept(&self) -> bool {
        self.used.is_some()
    }

    pub(crate) fn get(&mut self) -> &mut PgConnection {
        &mut self.inner
    }

    /// Counts the records of a batch that the connection has landed.
    pub(crate) fn count(&mut self, records: usize) {
        self.landed += records;
    }

    /// Makes PostgreSQL plan the statements again if the tables may have grown a lot since it planned them.
    pub(crate) async fn renew_plans(&mut self) -> Result<(), sqlx::Error> {
        if self.landed >= self.replan_at {
            self.replan_at = self.landed * PLANS_LAST_LONGER_BY;
            self.inner.clear_cached_statements().await?;
        }
        Ok(())
    }

    fn was_used_within(&self, limit: Duration) -> bool {
        self.used.is_some_and(|(instant, time)| {
            instant.elapsed() < limit && time.elapsed().is_ok_and(|elapsed| elapsed < limit)
        })
    }
}

/// Does some work, but stops it at the deadline.
pub(crate) async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, ConsumeError>>,
) -> Result<T, ConsumeError> {
    timeout_at(deadline.into(), work).await.unwrap_or(Err(ConsumeError::Deadline))
}
