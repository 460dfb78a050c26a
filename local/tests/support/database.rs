//! A fresh database for each test, in the server that `DATABASE_URL` names.

use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

/// A database with Sluice's tables in it, dropped at the end.
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    /// A pool of connections to it.
    pub pool: PgPool,
    name: String,
    server: PgConnectOptions,
}

impl TestDatabase {
    /// Creates and migrates it.
    pub async fn create() -> Self {
        let server_url = super::from_with_servers("DATABASE_URL");
        let server: PgConnectOptions = server_url.parse().unwrap();
        let name = super::unique("test").replace('-', "_");
        let mut connection = server.connect().await.unwrap();
        connection.execute(format!("create database {name}").as_str()).await.unwrap();
        connection.close().await.unwrap();

        let mut url = reqwest::Url::parse(&server_url).unwrap();
        url.set_path(&name);
        let pool = shared::database::connect(url.as_str(), 10).unwrap();
        shared::database::migrate(&pool, None).await.unwrap();
        Self { url: url.into(), pool, name, server }
    }
}

impl Drop for TestDatabase {
    /// Even where the test failed; so not on the test's runtime, which may be going away.
    fn drop(&mut self) {
        let server = self.server.clone();
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = server.connect().await?;
                connection.execute(format!("drop database if exists {name} with (force)").as_str()).await?;
                connection.close().await
            })
        });
        if let Ok(Err(error)) = dropping.join() {
            eprintln!("the database {} was left behind: {error}", self.name);
        }
    }
}
