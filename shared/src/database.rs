//! PostgreSQL: the pool and the migrations.
//!
//! [`DatabaseSource`] is what variables say of how it is reached; [`Login`] keeps a pool's login valid.

mod login;
mod source;
mod token;

use std::borrow::Cow;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use include_dir::{Dir, include_dir};
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{Executor as _, Postgres};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

pub use self::login::Login;
pub use self::source::DatabaseSource;
use crate::aws::{Aws, LookUpError};
use crate::clock::Clock;
use crate::settings::SettingsError;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// Why the database is not ready.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The login was not found at AWS.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The server does not answer.
    #[error("DATABASE_URL: the database does not answer: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// The server refuses us, or we it: its certificate, the name, the password.
    #[error("DATABASE_URL: the connection is refused: {0}")]
    Refused(#[source] sqlx::Error),
    /// A migration failed, or one that was applied has changed since.
    #[error("migrations{}: {source}", .folder.as_deref().map(|f| format!(" in {}", f.display())).unwrap_or_default())]
    Migration {
        /// The folder they are from; none for the built-in ones.
        folder: Option<PathBuf>,
        /// What went wrong.
        source: MigrateError,
    },
}

/// How long a connection has to show that it is alive, when it is taken from the pool and when it is given back. One
/// that was cut without a word, while the function was frozen or by a server that is gone, does not answer, and is to
/// leave time and room for another: sqlx's own test of what is given back waits for as long as TCP tries.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl DatabaseError {
    /// Of a connection that was not opened.
    fn of(error: sqlx::Error) -> Self {
        // Authorisation, no such database, no such schema.
        let code = error.as_database_error().and_then(|error| error.code());
        let is_told = code.is_some_and(|code| ["28", "3D", "3F"].contains(&code.get(..2).unwrap_or_default()));
        // No TLS to be had; and a certificate that is not to be trusted, which rustls wraps.
        let is_untrusted = matches!(&error, sqlx::Error::Tls(_))
            || matches!(&error, sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData);
        let is_refusal = is_told || is_untrusted;
        if is_refusal { Self::Refused(error) } else { Self::Unreachable(error) }
    }

    /// Whether it may be otherwise in a moment, without anybody doing anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::LookUp(error) => error.passes(),
            Self::Settings(_) | Self::Refused(_) | Self::Migration { .. } => false,
        }
    }
}

/// A pool that connects when it is first used to the database that this address says how to reach.
///
/// # Errors
/// The address cannot be read.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn connect(url: &str, max_connections: u32) -> Result<PgPool, DatabaseError> {
    let source = DatabaseSource::of_url(url)?;
    Ok(Login::of_address(source, max_connections))
}

/// A pool for a command: its login is looked up now, and not renewed.
///
/// # Errors
/// The login is not found at AWS.
pub async fn connect_to(source: &DatabaseSource, max_connections: u32) -> Result<PgPool, DatabaseError> {
    let (pool, _login) = Login::open(source, &Aws::default(), &Clock::system(), max_connections).await?;
    Ok(pool)
}

/// Every connection gives up a lock after 10 s and a transaction in which nothing happens after 30 s: a function
/// that was frozen in the midst of one must not hold up the retry of its batch.
fn with_manners(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("sluice").options([
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("statement_timeout", "120s"),
        ("timezone", "UTC"),
        // A role named like a schema would else put that schema first.
        ("search_path", "public"),
    ])
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWERS_WITHIN, answer).await.unwrap_or_else(|_late| Err(sqlx::Error::Io(ErrorKind::TimedOut.into())))
}

/// Waits until every connection is back in the pool: a function that is frozen while one is tested on its way would
/// find the test unanswered when it is thawed.
pub async fn settle(pool: &PgPool) {
    const PATIENCE: Duration = Duration::from_millis(100);
    const SOON: Duration = Duration::from_millis(2);
    let begun = Instant::now();
    while pool.num_idle() < usize::try_from(pool.size()).unwrap_or(usize::MAX) && begun.elapsed() < PATIENCE {
        if begun.elapsed() < SOON { yield_now().await } else { sleep(Duration::from_millis(1)).await }
    }
}

/// Ends a connection, and the transaction that may be open on it, before the caller goes on. A server that does not
/// read has the socket closed in its face.
pub async fn end(connection: PoolConnection<Postgres>) {
    const PATIENCE: Duration = Duration::from_millis(250);
    let _closed_either_way = timeout(PATIENCE, connection.close()).await;
}

/// Applies the built-in migrations, then those in `<contracts_dir>/migrations` if that folder is there.
///
/// Returns what was applied just now, as `<version> <description>`.
///
/// # Errors
/// The database does not answer, a migration fails, or one that was applied has changed since.
pub async fn migrate(pool: &PgPool, contracts_dir: Option<&Path>) -> Result<Vec<String>, DatabaseError> {
    let mut applied = run(pool, Embedded, None).await?;
    let folder = contracts_dir.map(|folder| folder.join("migrations")).filter(|folder| folder.is_dir());
    if let Some(folder) = folder {
        applied.extend(run(pool, folder.as_path(), Some(&folder)).await?);
    }
    Ok(applied)
}

async fn run<'s>(
    pool: &PgPool,
    source: impl MigrationSource<'s>,
    folder: Option<&Path>,
) -> Result<Vec<String>, DatabaseError> {
    let failed = |source| DatabaseError::Migration { folder: folder.map(Path::to_owned), source };
    let mut migrator = Migrator::new(source).await.map_err(failed)?;
    // Two folders share the list of what was applied, so each finds the other's there.
    migrator.set_ignore_missing(true);

    let mut connection = pool.acquire().await.map_err(DatabaseError::of)?;
    connection.ensure_migrations_table().await.map_err(failed)?;
    let before: Vec<i64> = connection
        .list_applied_migrations()
        .await
        .map_err(failed)?
        .into_iter()
        .map(|migration| migration.version)
        .collect();
    // Index builds and table rewrites may take long.
    connection.execute("set statement_timeout = 0").await.map_err(DatabaseError::Unreachable)?;
    migrator.run(&mut *connection).await.map_err(failed)?;
    connection.execute("reset statement_timeout").await.map_err(DatabaseError::Unreachable)?;
    Ok(migrator
        .iter()
        .filter(|migration| !before.contains(&migration.version))
        .map(|migration| format!("{:04} {}", migration.version, migration.description))
        .collect())
}

/// The migrations in `shared/migrations`, built into the binary.
#[derive(Debug)]
struct Embedded;

impl MigrationSource<'static> for Embedded {
    fn resolve(self) -> Pin<Box<dyn Future<Output = Result<Vec<Migration>, BoxDynError>> + Send>> {
        Box::pin(async {
            let mut migrations = MIGRATIONS
                .files()
                .map(|file| {
                    let name = file.path().file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                    let (version, description) =
                        name.split_once('_').ok_or_else(|| format!("{name}: not named <version>_<description>.sql"))?;
                    let sql = file.contents_utf8().ok_or_else(|| format!("{name}: not UTF-8"))?;
                    Ok(Migration::new(
                        version.parse()?,
                        Cow::Owned(description.replace('_', " ")),
                        MigrationType::Simple,
                        Cow::Borrowed(sql),
                        false,
                    ))
                })
                .collect::<Result<Vec<_>, BoxDynError>>()?;
            migrations.sort_by_key(|migration| migration.version);
            Ok(migrations)
        })
    }
}
