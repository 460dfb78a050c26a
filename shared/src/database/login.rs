//! A pool whose login changes while it lives: a secret that rotates, a token that expires.
//!
//! sqlx opens connections by itself and asks nobody for a password. So the pool is told a new one: before a token is
//! too old, when a connection that lay idle is found dead (which is when a new one is opened), and when a request has
//! failed and the login turns out to be refused.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::{DatabaseError, DatabaseSource, in_time, with_manners};
use crate::aws::{Aws, LookUpError};
use crate::clock::Clock;

/// Tokens open connections for 15 minutes, and an invocation lasts 5 at most.
const RENEW_AFTER_MS: i64 = 9 * 60 * 1_000;
/// How long a login may take when it is only tried.
const PATIENCE: Duration = Duration::from_secs(3);
/// No login is known yet.
const NEVER: i64 = i64::MIN;

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
    turn: tokio::sync::Mutex<()>,
}

impl Login {
    /// A pool that connects when it is first used, and its login, looked up now.
    ///
    /// # Errors
    /// What the source names at AWS does not serve. That AWS does not answer is no error: it is asked again when the
    /// pool is used.
    pub async fn open(
        source: &DatabaseSource,
        aws: &Aws,
        clock: &Clock,
        max_connections: u32,
    ) -> Result<(PgPool, Self), LookUpError> {
        let (pool, login) = Self::of(source.clone(), aws.clone(), clock.clone(), max_connections);
        if source.changes()
            && let Err(error) = login.renew().await
        {
            if !error.passes() {
                return Err(error);
            }
            tracing::warn!("{error}");
        }
        Ok((pool, login))
    }

    /// A pool whose login is part of its address.
    pub(super) fn of_address(source: DatabaseSource, max_connections: u32) -> PgPool {
        Self::of(source, Aws::default(), Clock::system(), max_connections).0
    }

    fn of(source: DatabaseSource, aws: Aws, clock: Clock, max_connections: u32) -> (PgPool, Self) {
        let known = with_manners(source.known());
        let (pool, renewed_ms) = (OnceLock::new(), AtomicI64::new(NEVER));
        let login = Self(Arc::new(Inner { source, aws, clock, pool, renewed_ms, turn: tokio::sync::Mutex::default() }));
        let pool = login.pool_options(max_connections).connect_lazy_with(known);
        let _first = login.0.pool.set(pool.clone());
        (pool, login)
    }

    fn pool_options(&self, max_connections: u32) -> PgPoolOptions {
        let login = self.0.source.changes().then(|| self.clone());
        PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(5))
            // Tests the connection, and ends the transaction of a caller that was dropped while it began one: sqlx
            // 0.8.6 gives its connection back with the transaction open.
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

    /// Renews the login if it is about to expire, or if it is not known yet. To be called before every invocation: it
    /// costs a look at the clock.
    pub async fn renew_if_due(&self) {
        let renewed_ms = self.0.renewed_ms.load(Ordering::Relaxed);
        let is_old = || self.0.clock.now_ms().saturating_sub(renewed_ms) >= RENEW_AFTER_MS;
        let is_due = self.0.source.changes() && (renewed_ms == NEVER || (self.0.source.expires() && is_old()));
        if is_due && let Err(error) = self.renew().await {
            tracing::error!("{error}");
        }
    }

    /// Tries the login, and renews it if it is refused. To be called after a failure that a changed password can have
    /// caused. Answers whether it is another one now.
    pub async fn renew_if_refused(&self) -> bool {
        if !self.0.source.changes() {
            return false;
        }
        let before = self.0.renewed_ms.load(Ordering::Relaxed);
        let _turn = self.0.turn.lock().await;
        if self.0.renewed_ms.load(Ordering::Relaxed) != before {
            // Who was before us has seen to it.
            return true;
        }
        if !self.is_refused().await {
            return false;
        }
        match self.look_up().await {
            Ok(()) => {
                tracing::info!("the database refused the login, which has been renewed");
                true
            }
            Err(error) => {
                tracing::error!("the database refuses the login, which cannot be renewed: {error}");
                false
            }
        }
    }

    /// Does the work, and does it again if it failed and the login was refused, which then is renewed. So the work has
    /// to be such that it may be done twice.
    ///
    /// # Errors
    /// What the work fails with.
    pub async fn hold<T, E>(&self, work: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
        self.renew_if_due().await;
        // In boxes: the compiler follows the types of futures only so deep.
        match Box::pin(work()).await {
            Err(_) if self.renew_if_refused().await => Box::pin(work()).await,
            done => done,
        }
    }

    /// Renews the login every minute if it is due, for a process that is never frozen.
    pub async fn renew_forever(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.renew_if_due().await;
        }
    }

    /// Opens a connection, for a start that wants to know whether that works.
    ///
    /// # Errors
    /// The server does not answer in time, or refuses, and a renewed login with it.
    pub async fn connect(&self, patience: Duration) -> Result<(), DatabaseError> {
        let acquire = async || {
            let pool = self.pool().ok_or(sqlx::Error::PoolClosed)?;
            match tokio::time::timeout(patience, pool.acquire()).await {
                Ok(acquired) => acquired.map(drop),
                Err(_elapsed) => Err(sqlx::Error::PoolTimedOut),
            }
        };
        match acquire().await {
            Err(error) if is_refusal(&error) && self.renew_if_refused().await => acquire().await,
            acquired => acquired,
        }
        .map_err(DatabaseError::of)
    }

    async fn renew(&self) -> Result<(), LookUpError> {
        let _turn = self.0.turn.lock().await;
        self.look_up().await
    }

    async fn look_up(&self) -> Result<(), LookUpError> {
        let now_ms = self.0.clock.now_ms();
        let options = self.0.source.look_up(&self.0.aws, now_ms).await?;
        if let Some(pool) = self.pool() {
            pool.set_connect_options(with_manners(options));
        }
        // A renewal within the same millisecond is another one, too.
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

/// Whether the server does not let us in as who we say we are: SQLSTATE class 28.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with("28"))
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_kafka::config::{Credentials, SharedCredentialsProvider};

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    #[tokio::test]
    async fn a_token_for_rds_is_signed_anew_after_nine_minutes_and_not_before() {
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
