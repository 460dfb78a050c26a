//! Mode `changes`: change sets of another database's tables, as wal2json writes them, applied to tables of the same
//! names. `wal2json` reads a set, `catalogue` what is there, `plan` decides what each set may do, `evolve` creates what
//! is missing, `runs` gathers what one statement can do, `apply` does it.
//!
//! What a set itself gets wrong is found before any SQL of it runs, and the set is rejected alone. Whatever PostgreSQL
//! refuses later fails the call; the caller rolls back and calls again with fewer sets.

mod apply;
mod catalogue;
mod evolve;
mod fault;
mod plan;
mod runs;
mod statement;
mod type_name;
mod types;
mod wal2json;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use shared::contract::Changes;
use shared::dead_letter::Rejection;
use sqlx::{Executor as _, PgConnection};

use plan::{Kind, Plan, Set};
use runs::Run;
use wal2json::{Action, Cell, Operation};

/// What became of the sets.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Sets that are wrong in themselves, by their index; all others are applied.
    pub(crate) rejected: Vec<(usize, Rejection)>,
    /// Updates and deletes whose row, and truncates whose table, is not there.
    pub(crate) skipped_rows: u64,
}

/// Why the sets could not be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// PostgreSQL says so.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// A value is not one of its column's type, which tells it by an SQLSTATE that is not class 22: the set's fault.
    #[error("a value does not fit its column: {0}")]
    Value(#[source] sqlx::Error),
}

/// Applies change sets in order within the caller's transaction. After an error it is to be rolled back, to a savepoint
/// at least.
pub(crate) async fn write(connection: &mut PgConnection, rules: &Changes, sets: &[&Value]) -> Result<Applied, Failure> {
    let sets: Vec<Set<'_>> = sets.iter().map(|set| wal2json::operations(set)).collect();
    let mut plan = plan(connection, rules, &sets).await?;
    if !evolve::statements(rules, &plan).is_empty() {
        evolve::lock(connection).await?;
        plan = self::plan(connection, rules, &sets).await?;
        evolve::execute(connection, &evolve::statements(rules, &plan)).await?;
    }
    let found = steps(connection, rules, &plan, sets.len() == 1).await?;
    Ok(Applied { rejected: plan.rejected, skipped_rows: plan.skipped_rows + found })
}

async fn plan<'d>(connection: &mut PgConnection, rules: &Changes, sets: &[Set<'d>]) -> Result<Plan<'d>, sqlx::Error> {
    let operations = || sets.iter().flatten().flatten();
    let names: BTreeSet<&str> = operations().filter_map(|operation| plan::allowed(rules, operation).ok()).collect();
    let there = if names.is_empty() {
        Vec::new()
    } else {
        catalogue::relations(connection, &rules.schema, &names.into_iter().collect::<Vec<_>>()).await?
    };
    let given: HashSet<&str> = operations().flat_map(cells).filter_map(|cell| cell.type_name).collect();
    let types = catalogue::types(connection, &rules.schema, given.into_iter()).await?;
    Ok(plan::plan(rules, there, &types, sets))
}

fn cells<'o, 'd>(operation: &'o Operation<'d>) -> impl Iterator<Item = &'o Cell<'d>> {
    let (new, old): (&[Cell<'d>], &[Cell<'d>]) = match &operation.action {
        Action::Insert(new) => (new, &[]),
        Action::Update { new, old } => (new, &old.cells),
        Action::Delete(old) => (&[], &old.cells),
        Action::Truncate => (&[], &[]),
    };
    new.iter().chain(old)
}

/// Applies the plan's steps; answers how many found no row.
async fn steps(
    connection: &mut PgConnection,
    rules: &Changes,
    plan: &Plan<'_>,
    last_resort: bool,
) -> Result<u64, Failure> {
    let runs = runs::gather(&plan.relations, &plan.steps);
    if !last_resort || !reorders(&runs) {
        return apply::apply(connection, &rules.schema, &plan.relations, &runs).await;
    }
    // The set stands alone: if a constraint refuses it, that must not be because of the order that we chose. (Two rows
    // may trade a unique value, and meet on the way.)
    connection.execute("savepoint runs").await?;
    match apply::apply(connection, &rules.schema, &plan.relations, &runs).await {
        Err(Failure::Sql(sqlx::Error::Database(error))) if error.code().is_some_and(|code| code.starts_with("23")) => {
            connection.execute("rollback to savepoint runs").await?;
            let runs: Vec<Run<'_, '_>> = plan.steps.iter().map(Run::of).collect();
            apply::apply(connection, &rules.schema, &plan.relations, &runs).await
        }
        applied => applied,
    }
}

/// Whether a constraint could see that the steps are not done one by one.
fn reorders(runs: &[Run<'_, '_>]) -> bool {
    runs.iter().any(|run| run.steps.len() > 1 && (runs.len() > 1 || run.shape().kind != Kind::Insert))
}
