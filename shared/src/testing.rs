//! A database of its own for each test. Tests meet the real PostgreSQL that `DATABASE_URL` points at;
//! `cargo local with-servers` starts one.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgPool;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::database;

/// A fresh, migrated database, which is removed when it is dropped.
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
    /// `DATABASE_URL` is not set, or the server does not answer: such a test has failed.
    #[expect(clippy::panic, reason = "a test without its database has failed")]
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
    /// What PostgreSQL or a migration answers.
    pub async fn on(server_url: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}_{}", std::process::id(), rand::random::<u32>());
        let mut server = PgConnection::connect(server_url).await?;
        server.execute(format!("create database {name}").as_str()).await?;
        let (base, _) = server_url.rsplit_once('/').ok_or("DATABASE_URL names no database")?;
        let url = format!("{base}/{name}");
        let pool = database::connect(&url, 8)?;
        database::migrate(&pool, None).await?;
        Ok(Self { pool, url, server_url: server_url.to_owned(), name })
    }

    /// The rows that a query answers, as one JSON text: an array of objects.
    ///
    /// # Panics
    /// The query fails: the test has failed.
    #[expect(clippy::panic, reason = "a test whose query fails has failed")]
    pub async fn json(&self, query: &str) -> serde_json::Value {
        let query = format!("select coalesce(json_agg(row_to_json(q)), '[]') from ({query}) q");
        match sqlx::query_scalar(&query).fetch_one(&self.pool).await {
            Ok(rows) => rows,
            Err(error) => panic!("{query}: {error}"),
        }
    }

    /// The number that a query answers.
    ///
    /// # Panics
    /// The query fails: the test has failed.
    #[expect(clippy::panic, reason = "a test whose query fails has failed")]
    pub async fn count(&self, query: &str) -> i64 {
        match sqlx::query_scalar(query).fetch_one(&self.pool).await {
            Ok(count) => count,
            Err(error) => panic!("{query}: {error}"),
        }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server_url, name) = (self.server_url.clone(), self.name.clone());
        // Dropping is not asynchronous: a thread with a runtime of its own does it.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut server = PgConnection::connect(&server_url).await?;
                server.execute(format!("drop database if exists {name} with (force)").as_str()).await?;
                Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        // A database that stays behind goes with its server.
        let _removed = removal.join();
    }
}
