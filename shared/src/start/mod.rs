//! Starts a function: reads its variables, looks up the AWS resources that they name, and connects. As much as possible
//! is done in parallel.
//!
//! A function does not start if there is a problem that an operator has to fix: a wrong variable, a missing secret, a
//! rejected certificate or password. The error is one line. But a function does start if a server does not answer,
//! because Lambda would otherwise restart the function over and over during an outage. The first request tries to
//! connect again. If that fails, the request reports the failure. There is one exception: a function whose key for
//! tokens is a secret at AWS does not start if AWS does not answer.

#[cfg(feature = "identity")]
mod http;
mod settings;

use std::fmt::Display;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::task::spawn_blocking;

use crate::aws::{Aws, LookUpError};
use crate::contract::{ContractError, Registry};
use crate::database::{DatabaseError, Login};
use crate::kafka::reader::KafkaReader;
use crate::kafka::{KafkaSource, ProducerError};
use crate::process::clock::Clock;
use crate::process::settings::{SettingsError, from_env};
use crate::process::telemetry;

#[cfg(feature = "identity")]
pub use self::http::{HttpWorld, login_relay};
pub use self::settings::{Retention, Settings, WAIT_FOR_PARENT};

/// The time limit for connecting to the brokers and the database, after the lookups at AWS. Lambda allows 10 s for its
/// whole Init phase.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a function does not start. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A contract is wrong.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// A secret is missing.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The database refuses the connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The brokers refuse the connection.
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

/// The contracts and connections that every function uses.
pub struct World {
    /// The contracts.
    pub registry: Arc<Registry>,
    /// Connections to the database.
    pub pool: PgPool,
    /// The login of these connections.
    pub login: Login,
    /// The machine's clock.
    pub clock: Clock,
    /// The maximum time that an event waits for its parent.
    pub wait_for_parent: Duration,
    /// The times for which dead letters and login attempts are kept.
    pub retention: Retention,
}

/// Runs a function's `main` with a log. An error ends the process with one line in the log.
pub async fn run<E: Display>(function: impl Future<Output = Result<(), E>>) -> ExitCode {
    if let Err(error) = telemetry::start() {
        tracing::error!("{error}");
        return ExitCode::FAILURE;
    }
    let code = match function.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    telemetry::flush();
    code
}

/// Closes the pool's connections when Lambda ends the sandbox, so that PostgreSQL does not keep them open. Call this
/// before the first invocation is requested.
pub async fn close_on_shutdown(pool: PgPool) {
    on_shutdown(async move { pool.close().await }).await;
}

/// Runs `closing`, which closes connections, when Lambda ends the sandbox. Call this before the first invocation is
/// requested.
pub async fn on_shutdown(closing: impl Future<Output = ()> + Send + 'static) {
    // Lambda signals the end of the sandbox only if an extension is registered. The library panics if no extension can
    // be registered, as in an emulator without the Extensions API.
    let registering = tokio::spawn(async move {
        lambda_runtime::spawn_graceful_shutdown_handler(move || closing).await;
    });
    if registering.await.is_err() {
        tracing::warn!("connections will not be closed when this sandbox ends: no extension can be registered");
    }
}

impl World {
    /// Starts a function that reads Kafka, with the contracts and at most `max_connections` connections to the
    /// database. The reader looks up the brokers and connects to them on the first read.
    ///
    /// # Errors
    /// There is a problem that an operator has to fix.
    pub async fn connect_with_reader(max_connections: u32) -> Result<(Self, KafkaReader), StartError> {
        let (aws, source) = (Aws::default(), KafkaSource::read(from_env)?);
        let reader = KafkaReader::looked_up(source, aws.clone());
        Self::with(&aws, max_connections, async { Ok(reader) }).await
    }

    /// Loads the contracts and connects to the database, and runs `beside` at the same time.
    async fn with<T>(
        aws: &Aws,
        max_connections: u32,
        beside: impl Future<Output = Result<T, StartError>>,
    ) -> Result<(Self, T), StartError> {
        let settings = Settings::read(from_env)?;
        let clock = Clock::system();
        let database = async {
            let (pool, login) = Login::open(&settings.database, aws, &clock, max_connections).await?;
            if let Err(error) = login.connect(PATIENCE).await {
                if !error.is_temporary() {
                    return Err(error.into());
                }
                tracing::warn!("{error}");
            }
            Ok((pool, login))
        };
        // Loading takes some milliseconds of CPU, so it runs on a thread of its own while the connections are opened.
        let contracts_dir = settings.contracts_dir;
        let loading = spawn_blocking(move || Registry::load(contracts_dir.as_deref()).map(Arc::new));
        let contracts = async { Ok(loading.await.unwrap_or_else(|failed| resume_unwind(failed.into_panic()))?) };
        let ((pool, login), beside, registry) = futures::try_join!(database, beside, contracts)?;
        let (wait_for_parent, retention) = (settings.wait_for_parent, settings.retention);
        Ok((Self { registry, pool, login, clock, wait_for_parent, retention }, beside))
    }
}
