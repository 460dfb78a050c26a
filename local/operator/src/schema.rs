//! `cargo local migrate` and `cargo local topics`: prepare the database and the cluster.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use shared::aws::Aws;
use shared::contract::Registry;
use shared::database::{self, DatabaseSource};
use shared::drift::{self, Difference};
use shared::kafka::{KafkaSettings, topics};

use crate::environment::Environment;
use crate::error::OperatorError;
use crate::terminal::say;

/// Applies the migrations to the database that the environment names, then compares the contracts with their tables.
/// Prints each difference, and exits with status 1 if there is any.
#[derive(Debug, Args)]
pub struct Migrate {}

impl Migrate {
    /// Applies the migrations and prints each difference between a contract and its tables. Returns a failure status if
    /// there is any.
    ///
    /// # Errors
    /// A variable or a contract is invalid, the database is not ready, or a migration fails.
    pub async fn run(self) -> Result<ExitCode, OperatorError> {
        let environment = Environment::default();
        let (database, contracts_dir) = (environment.database()?, environment.contracts_dir());
        let registry = Registry::load(contracts_dir.as_deref())?;
        migrate(&database, contracts_dir.as_deref()).await?;
        let differences = compare(&database, &registry).await?;
        for difference in &differences {
            say(difference.with_effect());
        }
        if differences.is_empty() {
            say("every contract agrees with its tables");
        }
        Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Creates the contracts' topics in the cluster that the environment names, and checks topics that already exist.
#[derive(Debug, Args)]
pub struct Topics {}

impl Topics {
    /// Creates or checks the topics.
    ///
    /// # Errors
    /// A variable or a contract is invalid, or the cluster does not answer.
    pub async fn run(self) -> Result<(), OperatorError> {
        let environment = Environment::default();
        let registry = Registry::load(environment.contracts_dir().as_deref())?;
        create_topics(&environment.kafka()?.look_up(&Aws::default()).await?, &registry).await
    }
}

/// Applies the migrations and prints the name of each.
///
/// # Errors
/// The database is not ready, or a migration fails.
pub async fn migrate(database: &DatabaseSource, contracts_dir: Option<&Path>) -> Result<(), OperatorError> {
    let pool = database::connect_to(database, 1).await?;
    let applied = database::migrate(&pool, contracts_dir).await;
    pool.close().await;
    let applied = applied?;
    for migration in &applied {
        say(format_args!("migration {migration} applied"));
    }
    if applied.is_empty() {
        say("no new migrations: all were applied before");
    }
    Ok(())
}

/// Compares every contract with its tables.
async fn compare(database: &DatabaseSource, registry: &Registry) -> Result<Vec<Difference>, OperatorError> {
    let pool = database::connect_to(database, 1).await?;
    let differences = drift::compare_all(&pool, registry).await;
    pool.close().await;
    differences.map_err(OperatorError::Compare)
}

/// Creates or checks the topics and prints the result.
///
/// # Errors
/// The cluster does not answer, or rejects the request.
pub async fn create_topics(kafka: &KafkaSettings, registry: &Registry) -> Result<(), OperatorError> {
    for state in topics::ensure(kafka, registry).await? {
        say(state);
    }
    Ok(())
}
