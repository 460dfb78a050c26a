//! `cargo local migrate` and `cargo local topics`: what the database and the cluster need before events flow.

use std::path::Path;

use clap::Args;
use shared::aws::Aws;
use shared::contract::Registry;
use shared::database::{self, DatabaseSource};
use shared::kafka::{KafkaSettings, topics};

use crate::CommandError;
use crate::environment::Environment;
use crate::terminal::say;

/// Applies the migrations to the database that the environment names.
#[derive(Debug, Args)]
pub(crate) struct Migrate {}

impl Migrate {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let environment = Environment::default();
        migrate(&environment.database()?, environment.contracts_dir().as_deref()).await
    }
}

/// Creates the contracts' topics in the cluster that the environment names, or checks those that are there.
#[derive(Debug, Args)]
pub(crate) struct Topics {}

impl Topics {
    pub(crate) async fn run(self) -> Result<(), CommandError> {
        let environment = Environment::default();
        let registry = Registry::load(environment.contracts_dir().as_deref())?;
        create_topics(&environment.kafka()?.look_up(&Aws::default()).await?, &registry).await
    }
}

/// Applies the migrations and says which.
pub(crate) async fn migrate(database: &DatabaseSource, contracts_dir: Option<&Path>) -> Result<(), CommandError> {
    let pool = database::connect_to(database, 1).await?;
    let applied = database::migrate(&pool, contracts_dir).await?;
    pool.close().await;
    for migration in &applied {
        say(format_args!("migration {migration} applied"));
    }
    if applied.is_empty() {
        say("the database is up to date");
    }
    Ok(())
}

/// Creates or checks the topics and says what it found.
pub(crate) async fn create_topics(kafka: &KafkaSettings, registry: &Registry) -> Result<(), CommandError> {
    for state in topics::ensure(kafka, registry).await? {
        let topics::TopicState { topic, partitions, wanted_partitions, created } = state;
        let plural = if partitions == 1 { "" } else { "s" };
        if created {
            say(format_args!("topic {topic} created, {partitions} partition{plural}"));
        } else if partitions == wanted_partitions {
            say(format_args!("topic {topic} is there, {partitions} partition{plural}"));
        } else {
            // More partitions would move keys to other ones, away from what came before them.
            say(format_args!(
                "topic {topic} is there with {partitions} partition{plural}; its contract says {wanted_partitions}, \
                 and it is left as it is"
            ));
        }
    }
    Ok(())
}
