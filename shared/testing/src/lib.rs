//! A separate database for each test, on the real PostgreSQL that `DATABASE_URL` points at. `cargo local with-servers`
//! starts such a server. For functions with routes, the module `function` adds topics and a client (feature `http`).

#[cfg(feature = "http")]
pub mod function;

use std::sync::atomic::{AtomicU32, Ordering};

use shared::database;
use sqlx::postgres::PgPool;
use sqlx::{Connection as _, Executor as _, PgConnection};

/// A fresh, migrated database. Dropping the value removes the database from the server.
#[derive(Debug)]
pub struct TestDatabase {
    /// Its pool.
    pub pool: PgPool,
    /// Its address.
    pub url: String,
    server_url: String,
    name: String,
}

impl TestDatabase {
    /// Creates a database on the server that `DATABASE_URL` points at.
    ///
    /// # Panics
    /// `DATABASE_URL` is not set, or the server does not answer, so the test has failed.
    #[expect(clippy::panic, reason = "if there is no database, the test has failed")]
    pub async fn create() -> Self {
        let Ok(server_url) = std::env::var("DATABASE_URL") else {
            panic!("DATABASE_URL is not set: run the tests under `cargo local with-servers -- cargo test`");
        };
        match Self::on(&server_url).await {
            Ok(database) => database,
            Err(error) => panic!("no test database: {error}"),
        }
    }

    /// Creates a database on the server of this address.
    ///
    /// # Errors
    /// PostgreSQL's error, or the error of a migration.
    pub async fn on(server_url: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}_{}", std::process::id(), rand::random::<u32>());
        let mut server = PgConnection::connect(server_url).await?;
        let template = template(&mut server, server_url).await?;
        server.execute(format!("create database {name} template {template}").as_str()).await?;
        let url = url_of(server_url, &name)?;
        let pool = database::connect(&url, 8)?;
        Ok(Self { pool, url, server_url: server_url.to_owned(), name })
    }

    /// Copies the database as it is now, for [`TestDatabase::restore`]. Cuts every connection to the database.
    ///
    /// # Errors
    /// PostgreSQL's error.
    pub async fn back_up(&self) -> Result<(), sqlx::Error> {
        let (name, backup) = (&self.name, self.backup());
        let mut server = self.close_to_others().await?;
        server.execute(format!("drop database if exists {backup}").as_str()).await?;
        server.execute(format!("create database {backup} template {name}").as_str()).await?;
        server.execute(format!("alter database {name} allow_connections true").as_str()).await?;
        Ok(())
    }

    /// Cuts every connection to the database, and restores the database from the copy. The copy is kept.
    ///
    /// # Errors
    /// PostgreSQL's error.
    pub async fn restore(&self) -> Result<(), sqlx::Error> {
        let (name, backup) = (&self.name, self.backup());
        let mut server = self.close_to_others().await?;
        server.execute(format!("drop database {name}").as_str()).await?;
        server.execute(format!("create database {name} template {backup}").as_str()).await?;
        Ok(())
    }

    /// Ends all connections to the database, and lets nobody open a new connection.
    async fn close_to_others(&self) -> Result<PgConnection, sqlx::Error> {
        let mut server = PgConnection::connect(&self.server_url).await?;
        let close = format!("alter database {} allow_connections false", self.name);
        server.execute(close.as_str()).await?;
        end_connections(&mut server, &self.name).await?;
        Ok(server)
    }

    fn backup(&self) -> String {
        format!("{}_backup", self.name)
    }

    /// Returns the rows of a query as a JSON array of objects.
    ///
    /// # Panics
    /// The query fails, so the test has failed.
    #[expect(clippy::panic, reason = "a test whose query fails has failed")]
    pub async fn json(&self, query: &str) -> serde_json::Value {
        let query = format!("select coalesce(json_agg(row_to_json(q)), '[]') from ({query}) q");
        match sqlx::query_scalar(&query).fetch_one(&self.pool).await {
            Ok(rows) => rows,
            Err(error) => panic!("{query}: {error}"),
        }
    }

    /// Returns the number that a query selects.
    ///
    /// # Panics
    /// The query fails, so the test has failed.
    #[expect(clippy::panic, reason = "a test whose query fails has failed")]
    pub async fn count(&self, query: &str) -> i64 {
        match sqlx::query_scalar(query).fetch_one(&self.pool).await {
            Ok(count) => count,
            Err(error) => panic!("{query}: {error}"),
        }
    }
}

/// Returns the name of a migrated database on the server. The first caller creates the database. Copying it takes a
/// third of the time of a migration. The database stays until its server is removed.
async fn template(
    server: &mut PgConnection,
    server_url: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    const EXISTS: &str = "select exists (select from pg_catalog.pg_database where datname = $1)";
    // Several test programs may begin at once.
    const LOCK: &str = "select pg_advisory_lock(hashtext('a template for tests'))";
    const UNLOCK: &str = "select pg_advisory_unlock_all()";
    // The name contains the migrations' fingerprint, so that changed migrations get a new template.
    let name = format!("template_{:x}", database::fingerprint().await?);
    if !sqlx::query_scalar(EXISTS).bind(&name).fetch_one(&mut *server).await? {
        server.execute(LOCK).await?;
        if !sqlx::query_scalar(EXISTS).bind(&name).fetch_one(&mut *server).await? {
            // The database gets its final name only after it is complete, so a killed test leaves no half-migrated
            // template.
            let unfinished = format!("unfinished_{name}");
            server.execute(format!("drop database if exists {unfinished} with (force)").as_str()).await?;
            server.execute(format!("create database {unfinished}").as_str()).await?;
            let pool = database::connect(&url_of(server_url, &unfinished)?, 1)?;
            database::migrate(&pool, None).await?;
            pool.close().await;
            end_connections(server, &unfinished).await?;
            server.execute(format!("alter database {unfinished} rename to {name}").as_str()).await?;
        }
        server.execute(UNLOCK).await?;
    }
    Ok(name)
}

/// Ends all connections to a database, and waits until each has ended. The server keeps a connection for a moment after
/// its client has closed it.
async fn end_connections(server: &mut PgConnection, database: &str) -> Result<(), sqlx::Error> {
    const END: &str = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1";
    sqlx::query(END).bind(database).execute(server).await?;
    Ok(())
}

/// Returns the address of another database on the same server.
fn url_of(server_url: &str, name: &str) -> Result<String, &'static str> {
    let (base, _) = server_url.rsplit_once('/').ok_or("DATABASE_URL names no database")?;
    Ok(format!("{base}/{name}"))
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server_url, names) = (self.server_url.clone(), [self.name.clone(), self.backup()]);
        // `drop` is not asynchronous, so a thread with its own runtime removes the database.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut server = PgConnection::connect(&server_url).await?;
                for name in names {
                    server.execute(format!("drop database if exists {name} with (force)").as_str()).await?;
                }
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        // If the removal fails, the database stays until its server is removed.
        let _removed = removal.join();
    }
}
