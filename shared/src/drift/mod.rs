//! Compares contracts with the tables that their events land in.
//!
//! A contract and its table are defined in different files, so one can be deployed without the other. Each difference
//! in the table, its privileges, its columns and the unique index that the contract relies on becomes one line. The
//! line names the stream, the table and, if the difference concerns a single column, that column. Other constraints are
//! not compared.
//!
//! - [`compare`] compares some contracts on a given connection, and [`compare_all`] compares all contracts on a
//!   connection from a pool. Both read the catalogue once
//! - `rules` compares one contract with the tables that were read, without SQL
//! - `nullable` decides whether a schema allows a value to be missing

mod catalogue;
mod difference;
mod nullable;
mod rules;

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};

use crate::contract::{Contract, Mode, Registry, Table};

pub use self::difference::Difference;
pub use self::rules::type_difference;

/// Compares contracts with the database. The differences are in the order of the contracts.
///
/// Checks the privileges of the role that is logged in.
///
/// # Errors
/// PostgreSQL cannot be queried.
pub async fn compare(
    connection: &mut PgConnection,
    contracts: &[Arc<Contract>],
) -> Result<Vec<Difference>, sqlx::Error> {
    let wanted: Vec<Vec<Table>> = contracts.iter().map(|contract| tables(contract)).collect();
    let all: Vec<&Table> = wanted.iter().flatten().collect();
    let mut found = catalogue::read(connection, &all).await?.into_iter();
    let mut differences = Vec::new();
    for (contract, tables) in contracts.iter().zip(&wanted) {
        for (table, found) in tables.iter().zip(&mut found) {
            differences.extend(rules::judge(contract, table, &found));
        }
    }
    Ok(differences)
}

/// Compares all contracts with the database.
///
/// # Errors
/// PostgreSQL cannot be queried.
pub async fn compare_all(pool: &PgPool, registry: &Registry) -> Result<Vec<Difference>, sqlx::Error> {
    let contracts: Vec<Arc<Contract>> = registry.contracts().cloned().collect();
    compare(&mut *pool.acquire().await?, &contracts).await
}

/// Returns the tables that must exist for a contract. In mode `changes`, no particular table has to exist if the
/// contract allows all tables, or if missing tables are created. In this case, returns one table without a name, which
/// stands for the schema.
fn tables(contract: &Contract) -> Vec<Table> {
    match &contract.mode {
        Mode::Append { landing, .. } | Mode::Upsert { landing, .. } => vec![landing.table.clone()],
        Mode::Entity(entity) => vec![entity.landing.table.clone()],
        Mode::Changes(changes) => {
            let table = |name: &str| Table { schema: changes.schema.clone(), name: name.to_owned() };
            match &changes.tables {
                Some(names) if !changes.evolve => names.iter().map(|name| table(name)).collect(),
                Some(_) | None => vec![table("")],
            }
        }
    }
}
