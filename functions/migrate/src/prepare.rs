//! Creates what is missing in the database and the cluster.

use std::path::PathBuf;

use futures::FutureExt as _;
use serde::Serialize;
use shared::aws::Aws;
use shared::contract::Registry;
use shared::database::{self, OwnerSource};
use shared::drift::{self, Difference};
use shared::kafka::{KafkaSource, topics};
use sqlx::Executor as _;

use crate::error::MigrateError;
use crate::role;

/// What was changed, and what differs from the contracts. Each list has one line for each item.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Done {
    /// What was created or changed. The list is empty if nothing was missing.
    changed: Vec<String>,
    /// What an operator should look at: tables and topics that differ from their contracts.
    differences: Vec<String>,
}

/// Creates the database, schema and tables, the functions' role, and the topics, if they are missing. The schema stays
/// as it is if it is newer than this version of Sluice.
///
/// # Errors
/// An operator must fix something, and then invoke `migrate` again. The next invocation creates what is still missing.
pub(crate) async fn prepare(
    variable: impl Fn(&'static str) -> Option<String>,
    aws: &Aws,
) -> Result<Done, MigrateError> {
    let (owner, kafka) = (OwnerSource::read(&variable)?, KafkaSource::read(&variable)?);
    let contracts_dir = variable("CONTRACTS_DIR").map(PathBuf::from);
    let registry = Registry::load(contracts_dir.as_deref())?;
    let (owner, kafka) = futures::try_join!(owner.look_up(aws), kafka.look_up(aws))?;

    let mut done = Done::default();
    let (pool, is_new) = owner.open().await?;
    done.changed.extend(is_new.then(|| "database created".to_owned()));
    // If an invocation ends during a statement, PostgreSQL notices within 5 s that the connection is closed, and
    // cancels the statement.
    let failed = |source| MigrateError::Sql { doing: "preparing the database", source };
    pool.execute("set client_connection_check_interval = '5s'").await.map_err(failed)?;
    let applied = database::migrate(&pool, contracts_dir.as_deref()).boxed_local().await?;
    done.changed.extend(applied.iter().map(|migration| format!("migration {migration} applied")));
    done.changed.extend(role::prepare(&owner, &pool).boxed_local().await?);
    let differences = drift::compare_all(&pool, &registry).await.map_err(failed)?;
    done.differences.extend(differences.iter().map(Difference::with_effect));
    pool.close().await;

    for topic in topics::ensure(&kafka, &registry).boxed_local().await? {
        if topic.created {
            done.changed.push(topic.to_string());
        } else if topic.partitions != topic.wanted_partitions {
            done.differences.push(topic.to_string());
        }
    }
    for line in &done.changed {
        tracing::info!("{line}");
    }
    for line in &done.differences {
        tracing::warn!("{line}");
    }
    Ok(done)
}
