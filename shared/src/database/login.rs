//! A pool whose login changes while the pool is in use, because a secret rotates or a token expires.
//!
//! sqlx opens connections by itself and cannot ask for a password. So [`Login`] gives the pool a new password in three
//! cases:
//!
//! - No login is known yet, or a token is about to become too old.
//! - An idle connection turns out to be dead, and the server refuses the login that sqlx would use for a new
//!   connection.
//! - A request has failed, and the server refuses the login.

use std::future::Future;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{DatabaseError, DatabaseSource, session};
use crate::aws::{Aws, LookUpError};
use crate::process::clock::Clock;

/// The age at which a token is renewed. A token opens connections for 15 minutes, and an invocation may last 5 minutes.
const RENEW_AFTER_MS: i64 = 9 * 60 * 1_000;
/// The time limit for a trial login.
const PATIENCE: Duration = Duration::from_secs(3);
/// The value of `renewed_ms` before the first renewal, when no login is known yet.
const NEVER: i64 = i64::MIN;

/// The time limit for testing whether a connection is alive. A connection is tested when it is taken from the pool and
/// when it is returned. A connection that was cut silently does not answer, and enough time must then be left to open
/// another connection. sqlx's own test of returned connections would wait for TCP's timeout.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// A pool's login. Clones share it.
#[derive(Debug, Clone)]
pub struct Login(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: DatabaseSource,
    aws: Aws,
    clock: Clock,
    pool: OnceLock<PgPool>,
    renewed_ms: AtomicI64,
    renewing: tokio::sync::Mutex<()>,
}

impl Login {
    /// Creates a pool that connects on first use, with a login that is looked up now.
    ///
    /// # Errors
    /// The resource at AWS is unsuitable, or AWS refuses the lookup. It is not an error if AWS does not answer, because
    /// the lookup is repeated when the pool is used.
    pub async fn open(
        source: &DatabaseSource,
        aws: &Aws,
        clock: &Clock,
        max_connections: u32,
    ) -> Result<(PgPool, Self), LookUpError> {
        let (pool, login) = Self::for_source(source.clone(), aws.clone(), clock.clone(), max_connections);
        if source.changes()
            && let Err(error) = login.renew().await
        {
            if !error.is_temporary() {
                return Err(error);
            }
            tracing::warn!("{error}");
        }
        Ok((pool, login))
    }

    /// Creates a pool whose login is part of its address.
    pub(super) fn for_address(source: DatabaseSource, max_connections: u32) -> PgPool {
        Self::for_source(source, Aws::default(), Clock::system(), max_connections).0
    }

    fn for_source(source: DatabaseSource, aws: Aws, clock: Clock, max_connections: u32) -> (PgPool, Self) {
        let known = with_name(source.known());
        let (pool, renewed_ms) = (OnceLock::new(), AtomicI64::new(NEVER));
        let login =
            Self(Arc::new(Inner { source, aws, clock, pool, renewed_ms, renewing: tokio::sync::Mutex::default() }));
        let pool = login.pool_options(max_connections).connect_lazy_with(known);
        let _first = login.0.pool.set(pool.clone());
        (pool, login)
    }

    fn pool_options(&self, max_connections: u32) -> PgPoolOptions {
        let login = self.0.source.changes().then(|| self.clone());
        PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(5))
            .after_connect(|connection, _| Box::pin(session::settle(connection)))
            // `begin; rollback` tests the connection, and ends a transaction that is still open on it. If a caller's
            // future is dropped while a transaction begins, sqlx 0.8.6 returns the connection to the pool and leaves
            // the transaction open.
            .test_before_acquire(false)
            .before_acquire(move |connection, _| {
                let login = login.clone();
                Box::pin(async move {
                    let tested = in_time(connection.execute("begin; rollback")).await.map(|_| true);
                    if let (Err(_dead), Some(login)) = (&tested, login) {
                        login.renew_if_refused().await;
                    }
                    tested
                })
            })
            .after_release(|connection, _| Box::pin(async move { in_time(connection.ping()).await.map(|()| true) }))
    }

    /// Renews the login if it is about to expire or not known yet. Call this before every invocation. Usually, this
    /// only reads the clock.
    pub async fn renew_if_due(&self) {
        let renewed_ms = self.0.renewed_ms.load(Ordering::Relaxed);
        let is_old = || self.0.clock.now_ms().saturating_sub(renewed_ms) >= RENEW_AFTER_MS;
        let is_due = self.0.source.changes() && (renewed_ms == NEVER || (self.0.source.expires() && is_old()));
        // The renewal is boxed: otherwise, the future of every invocation would reserve memory for the renewal.
        if is_due && let Err(error) = Box::pin(self.renew()).await {
            tracing::error!("{error}");
        }
    }

    /// Tries to log in, and renews the login if the server refuses it. Call this after a failure that a changed
    /// password may have caused. Returns whether the login changed.
    pub async fn renew_if_refused(&self) -> bool {
        if !self.0.source.changes() {
            return false;
        }
        let before = self.0.renewed_ms.load(Ordering::Relaxed);
        let _renewing = self.0.renewing.lock().await;
        if self.0.renewed_ms.load(Ordering::Relaxed) != before {
            // Another caller has renewed the login.
            return true;
        }
        if !self.is_refused().await {
            return false;
        }
        match self.look_up().await {
            Ok(()) => {
                tracing::info!("the database refused the login; the login has been renewed");
                true
            }
            Err(error) => {
                tracing::error!("the database refuses the login, which cannot be renewed: {error}");
                false
            }
        }
    }

    /// Runs the work. If the work fails because the login was refused, renews the login and runs the work once more. So
    /// the work must be repeatable.
    ///
    /// # Errors
    /// The work's error.
    pub async fn run<T, E>(&self, work: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
        self.renew_if_due().await;
        // The work is boxed, because the compiler limits how deeply futures may nest.
        match Box::pin(work()).await {
            Err(_) if self.renew_if_refused().await => Box::pin(work()).await,
            done => done,
        }
    }

    /// Checks every minute whether the login is due for renewal, and renews it if it is due. Meant for processes that
    /// Lambda never freezes.
    pub async fn renew_forever(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.renew_if_due().await;
        }
    }

    /// Opens a connection, to check at startup that the login works.
    ///
    /// # Errors
    /// The server does not answer in time, or refuses even a renewed login.
    pub async fn connect(&self, patience: Duration) -> Result<(), DatabaseError> {
        let acquire = async || {
            let pool = self.pool().ok_or(sqlx::Error::PoolClosed)?;
            match tokio::time::timeout(patience, pool.acquire()).await {
                Ok(acquired) => acquired.map(drop),
                Err(_elapsed) => Err(sqlx::Error::PoolTimedOut),
            }
        };
        let acquired = match acquire().await {
            Err(error) if is_refusal(&error) && self.renew_if_refused().await => acquire().await,
            acquired => acquired,
        };
        let options = || self.pool().map(|pool| pool.connect_options()).unwrap_or_default();
        acquired.map_err(|error| DatabaseError::from_connect(error, &options()))
    }

    /// Closes the pool's idle connections without notifying the server, which may not answer.
    pub fn drop_idle_connections(&self) {
        let idle = std::iter::from_fn(|| self.pool()?.try_acquire());
        idle.for_each(|connection| drop(connection.detach()));
    }

    /// Returns whether the pool provides a connection within this time. Also returns true if the server refuses the
    /// login: the server answers, and the login is renewed after the next query has failed.
    pub async fn connects_within(&self, limit: Duration) -> bool {
        let Some(pool) = self.pool() else { return false };
        match tokio::time::timeout(limit, pool.acquire()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => is_refusal(&error),
            Err(_late) => false,
        }
    }

    async fn renew(&self) -> Result<(), LookUpError> {
        let _renewing = self.0.renewing.lock().await;
        self.look_up().await
    }

    async fn look_up(&self) -> Result<(), LookUpError> {
        let now_ms = self.0.clock.now_ms();
        let options = self.0.source.look_up(&self.0.aws, now_ms).await?;
        if let Some(pool) = self.pool() {
            pool.set_connect_options(with_name(options));
        }
        // Two renewals within one millisecond must still have different times.
        let last = self.0.renewed_ms.load(Ordering::Relaxed);
        self.0.renewed_ms.store(now_ms.max(last.saturating_add(1)), Ordering::Relaxed);
        Ok(())
    }

    async fn is_refused(&self) -> bool {
        let Some(options) = self.pool().map(|pool| PgConnectOptions::clone(&pool.connect_options())) else {
            return false;
        };
        if self.0.renewed_ms.load(Ordering::Relaxed) == NEVER {
            return true;
        }
        match tokio::time::timeout(PATIENCE, options.connect()).await {
            Ok(Ok(connection)) => {
                let _closed = connection.close().await;
                false
            }
            Ok(Err(error)) => is_refusal(&error),
            Err(_elapsed) => false,
        }
    }

    fn pool(&self) -> Option<&PgPool> {
        self.0.pool.get()
    }
}

/// Returns whether the server refused the login (SQLSTATE class 28).
pub(super) fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("28"))
}

/// Makes PostgreSQL list the connections under the name `sluice`.
fn with_name(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("sluice")
}

pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWERS_WITHIN, answer)
        .await
        .unwrap_or_else(|_late| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_kafka::config::{Credentials, SharedCredentialsProvider};

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    #[tokio::test]
    async fn a_token_for_rds_is_signed_again_after_nine_minutes_and_not_before() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let source = DatabaseSource::read(|name| match name {
            "DATABASE_URL" => Some("postgres://app@db.example.org/d".to_owned()),
            "DATABASE_AUTH" => Some("iam".to_owned()),
            _ => None,
        });
        let clock = Clock::fixed(1_700_000_000_000);
        let opened = match source {
            Ok(source) => Login::open(&source, &Aws::with(config), &clock, 1).await.ok(),
            Err(_) => None,
        };
        let password = async |after_ms: i64| {
            clock.advance(after_ms);
            let (pool, login) = opened.as_ref()?;
            login.renew_if_due().await;
            Some(pool.connect_options().to_url_lossy().password()?.to_owned())
        };
        let first = password(0).await;
        assert!(first.as_ref().is_some_and(|token| token.contains("Action%3Dconnect%26DBUser%3Dapp")), "{first:?}");
        assert_eq!(password(8 * MINUTE_MS).await, first);
        let second = password(MINUTE_MS).await;
        assert!(second.is_some() && second != first);
        assert_eq!(password(8 * MINUTE_MS).await, second);
    }
}
