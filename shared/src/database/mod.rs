//! PostgreSQL: the pool and the migrations.
//!
//! [`DatabaseSource`] reads environment variables that say how to reach the database. [`Login`] keeps a pool's login
//! valid. [`Owner`] is the owner's access, with which `migrate` prepares the database for the functions.

mod error;
pub mod error_class;
mod functions_login;
mod login;
mod owner;
mod session;
mod source;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use include_dir::{Dir, include_dir};
use sqlx::error::BoxDynError;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationSource, MigrationType, Migrator};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Executor as _};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

pub use self::error::DatabaseError;
pub use self::functions_login::{Authentication, FunctionsLogin};
pub use self::login::Login;
pub use self::owner::{Owner, OwnerSource};
pub use self::session::SESSION_SETTINGS;
pub use self::source::DatabaseSource;
use crate::aws::Aws;
use crate::process::clock::Clock;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// Creates a pool for this address. The pool connects on first use.
///
/// # Errors
/// The address is malformed.
///
/// # Panics
/// When called outside a tokio runtime.
pub fn connect(url: &str, max_connections: u32) -> Result<PgPool, DatabaseError> {
    let source = DatabaseSource::from_url(url)?;
    Ok(Login::for_address(source, max_connections))
}

/// Creates a pool for a short-lived command. The pool's login is looked up now, and is renewed only after the server
/// has refused it.
///
/// # Errors
/// The resource at AWS is unsuitable, or AWS refuses the lookup.
pub async fn connect_to(source: &DatabaseSource, max_connections: u32) -> Result<PgPool, DatabaseError> {
    let (pool, _login) = Login::open(source, &Aws::default(), &Clock::system(), max_connections).await?;
    Ok(pool)
}

/// Waits until every connection is back in the pool, for at most 100 ms. The pool tests each connection that is
/// returned. If Lambda froze the function during such a test, the test would fail after the function is thawed.
pub async fn wait_until_idle(pool: &PgPool) {
    const PATIENCE: Duration = Duration::from_millis(100);
    const SOON: Duration = Duration::from_millis(2);
    let begun = Instant::now();
    while pool.num_idle() < usize::try_from(pool.size()).unwrap_or(usize::MAX) && begun.elapsed() < PATIENCE {
        if begun.elapsed() < SOON { yield_now().await } else { sleep(Duration::from_millis(1)).await }
    }
}

/// Returns whether a connection is alive. A connection that was cut silently does not answer in time.
pub async fn is_alive(connection: &mut PgConnection) -> bool {
    login::in_time(connection.ping()).await.is_ok()
}

/// Closes a connection, and waits until it is closed. This also ends a transaction that is open on the connection. If
/// the server does not respond in time, only the socket is closed.
pub async fn end(connection: PgConnection) {
    const PATIENCE: Duration = Duration::from_millis(250);
    let _closed_either_way = timeout(PATIENCE, connection.close()).await;
}

/// Applies the built-in migrations, then those in `<contracts_dir>/migrations` if that folder exists.
///
/// Returns the newly applied migrations, each as `<version> <description>`.
///
/// # Errors
/// The database does not answer, a migration fails, a migration has changed since it was applied, or a file in the
/// folder has the number of a built-in migration or is not named like a migration.
pub async fn migrate(pool: &PgPool, contracts_dir: Option<&Path>) -> Result<Vec<String>, DatabaseError> {
    let mut applied = run(pool, Embedded, None).await?;
    let folder = contracts_dir.map(|folder| folder.join("migrations")).filter(|folder| folder.is_dir());
    if let Some(folder) = folder {
        refuse_other_names(&folder).await?;
        refuse_taken_numbers(&folder).await?;
        applied.extend(run(pool, folder.as_path(), Some(&folder)).await?);
    }
    Ok(applied)
}

/// Refuses `*.sql` files that are not named like migrations. sqlx would ignore most of them without a word, although
/// their authors surely want them to be applied.
async fn refuse_other_names(folder: &Path) -> Result<(), DatabaseError> {
    let other = first_other_name(folder).await.map_err(|error| DatabaseError::Migration {
        folder: Some(folder.to_owned()),
        source: MigrateError::Source(error.into()),
    })?;
    match other {
        Some(file) => Err(DatabaseError::OtherName { folder: folder.to_owned(), file }),
        None => Ok(()),
    }
}

/// Returns the alphabetically first `*.sql` file in the folder that is not named like a migration.
async fn first_other_name(folder: &Path) -> io::Result<Option<String>> {
    let mut entries = tokio::fs::read_dir(folder).await?;
    let mut first: Option<String> = None;
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_sql = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"));
        let is_earlier = first.as_ref().is_none_or(|first| name < *first);
        if is_sql && is_earlier && !is_migration(&name) && tokio::fs::metadata(&path).await?.is_file() {
            first = Some(name);
        }
    }
    Ok(first)
}

/// Returns whether sqlx reads a file of this name as a migration.
fn is_migration(name: &str) -> bool {
    let (number, description) = name.split_once('_').unwrap_or_default();
    number.parse::<i64>().is_ok() && description.ends_with(".sql")
}

/// Refuses migrations that have the numbers of built-in migrations. sqlx would mistake them for changed versions of the
/// built-in ones.
async fn refuse_taken_numbers(folder: &Path) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError::Migration { folder: Some(folder.to_owned()), source };
    let built_in = Migrator::new(Embedded).await.map_err(failed)?;
    let own = Migrator::new(folder).await.map_err(failed)?;
    match own.iter().find(|migration| built_in.version_exists(migration.version)) {
        Some(migration) => Err(DatabaseError::NumberTaken { folder: folder.to_owned(), version: migration.version }),
        None => Ok(()),
    }
}

/// Returns a number that changes whenever the built-in migrations change.
///
/// # Errors
/// A migration's name or text is malformed.
pub async fn fingerprint() -> Result<u64, BoxDynError> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    for migration in Embedded.resolve().await? {
        (migration.version, migration.checksum).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

async fn run<'s>(
    pool: &PgPool,
    source: impl MigrationSource<'s>,
    folder: Option<&Path>,
) -> Result<Vec<String>, DatabaseError> {
    let unreachable = |error| DatabaseError::unreachable(error, &pool.connect_options());
    let failed = |source| DatabaseError::Migration { folder: folder.map(Path::to_owned), source };
    let mut migrator = Migrator::new(source).await.map_err(failed)?;
    // The built-in migrations and those of the contracts share one list of applied migrations, so each migrator finds
    // entries of the other.
    migrator.set_ignore_missing(true);

    let mut connection =
        pool.acquire().await.map_err(|error| DatabaseError::from_connect(error, &pool.connect_options()))?;
    connection.ensure_migrations_table().await.map_err(failed)?;
    let before: Vec<i64> = connection
        .list_applied_migrations()
        .await
        .map_err(failed)?
        .into_iter()
        .map(|migration| migration.version)
        .collect();
    // Index builds and table rewrites may take long.
    connection.execute("set statement_timeout = 0").await.map_err(unreachable)?;
    migrator.run(&mut *connection).await.map_err(failed)?;
    session::settle(&mut connection).await.map_err(unreachable)?;
    Ok(migrator
        .iter()
        // sqlx reads `*.down.sql` files, too, but applies none of them.
        .filter(|migration| !migration.migration_type.is_down_migration() && !before.contains(&migration.version))
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
