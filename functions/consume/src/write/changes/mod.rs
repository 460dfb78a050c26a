//! Mode `changes`: applies change sets of another database's tables, as wal2json writes them, to tables of the same
//! names. The modules: `wal2json` parses a set, `catalogue` looks up the tables, `plan` checks each set against the
//! tables, `evolve` creates what is missing, `runs` gathers operations that one statement can perform, and `apply`
//! executes the statements. `docs/CHANGES.md` walks through an example.
//!
//! Most faults of a set are found before any SQL of the set runs, and only that set is rejected. If a fault is found
//! later, or PostgreSQL refuses something, the call fails. The caller then rolls back and calls again with fewer sets.

mod apply;
mod catalogue;
mod evolve;
mod fault;
mod number;
mod plan;
mod runs;
mod split;
mod statement;
mod type_name;
mod types;
mod wal2json;

#[cfg(test)]
mod tests;

pub(crate) use fault::Failure;
pub(crate) use split::middle;

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use shared::contract::Changes;
use shared::ledger::Rejection;
use sqlx::{Executor as _, PgConnection};

use plan::{Kind, Plan};
use runs::Run;
use wal2json::{Action, Cell, Operation, Set};

/// What happened to the sets.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The sets that are at fault, each by its index. All other sets are applied.
    pub(crate) rejected: Vec<(usize, Rejection)>,
    /// The number of updates and deletes that found no row, plus the truncates that found no table.
    pub(crate) skipped_rows: u64,
}

/// Applies change sets in order within the caller's transaction. After an error, the caller must roll back at least to
/// a savepoint.
pub(crate) async fn write(connection: &mut PgConnection, rules: &Changes, sets: &[&Value]) -> Result<Applied, Failure> {
    let sets: Vec<Set<'_>> = sets.iter().map(|set| wal2json::read(set)).collect();
    let mut plan = plan(connection, rules, &sets).await?;
    if !evolve::statements(rules, &plan).is_empty() {
        evolve::lock(connection).await?;
        plan = self::plan(connection, rules, &sets).await?;
        evolve::execute(connection, &evolve::statements(rules, &plan)).await?;
        if evolve::shares_columns(&plan) {
            plan = self::plan(connection, rules, &sets).await?;
        }
    }
    let found = steps(connection, rules, &plan, sets.len() == 1).await?;
    Ok(Applied { rejected: plan.rejected, skipped_rows: plan.skipped_rows + found })
}

async fn plan<'d>(connection: &mut PgConnection, rules: &Changes, sets: &[Set<'d>]) -> Result<Plan<'d>, sqlx::Error> {
    let operations = || sets.iter().flat_map(|set| &set.operations).flatten();
    let names: BTreeSet<&str> = operations().filter_map(|operation| plan::allowed(rules, operation).ok()).collect();
    let needs_identity = |action: &Action<'_>| match action {
        // A truncate may have to delete the rows.
        Action::Update { .. } | Action::Delete(_) | Action::Truncate => true,
        Action::Insert(_) => false,
    };
    let mut there = if names.is_empty() {
        Vec::new()
    } else {
        catalogue::relations(connection, &rules.schema, &names.into_iter().collect::<Vec<_>>()).await?
    };
    if operations().any(|operation| needs_identity(&operation.action)) {
        catalogue::note_unidentified(connection, &rules.schema, &mut there).await?;
    }
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

/// Applies the plan's steps. Returns how many of them found no row. `last_resort` is true if the call has only one set.
async fn steps(
    connection: &mut PgConnection,
    rules: &Changes,
    plan: &Plan<'_>,
    last_resort: bool,
) -> Result<u64, Failure> {
    let runs = runs::gather(&plan.relations, &plan.steps);
    if !last_resort || !reorders(&runs) {
        return apply::apply(connection, rules, &plan.relations, &runs).await;
    }
    // The call has only this set, so no smaller call follows. A constraint may object merely to the order that `runs`
    // chose: for example, two rows may swap unique values by way of a third value. The set must not be rejected for
    // that, so if a constraint objects, the steps are applied one by one.
    connection.execute("savepoint runs").await?;
    match apply::apply(connection, rules, &plan.relations, &runs).await {
        Err(Failure::Sql(sqlx::Error::Database(error))) if error.code().is_some_and(|code| code.starts_with("23")) => {
            connection.execute("rollback to savepoint runs").await?;
            let runs: Vec<Run<'_, '_>> = plan.steps.iter().map(Run::for_step).collect();
            apply::apply(connection, rules, &plan.relations, &runs).await
        }
        applied => applied,
    }
}

/// Whether a constraint could notice that the steps are not applied one by one.
fn reorders(runs: &[Run<'_, '_>]) -> bool {
    runs.iter().any(|run| run.steps.len() > 1 && (runs.len() > 1 || run.shape().kind != Kind::Insert))
}
