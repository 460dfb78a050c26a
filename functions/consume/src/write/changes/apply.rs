//! Applies each run (see `runs.rs`) with one statement, or with several if PostgreSQL does not allow a single
//! statement.

use std::borrow::Cow;

use shared::contract::{Changes, Table, quoted};
use shared::ledger::Rejection;
use sqlx::postgres::{PgArguments, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Executor as _, PgConnection, Postgres, Type as _};

use super::catalogue::Relation;
use super::evolve;
use super::fault::{self, Failure};
use super::plan::{Kind, OldColumn, Shape, Step, Text};
use super::runs::Run;
use super::statement;
use crate::verdict::rejection;

/// Applies runs in order. Returns how many steps found no row.
pub(super) async fn apply(
    connection: &mut PgConnection,
    rules: &Changes,
    relations: &[Relation],
    runs: &[Run<'_, '_>],
) -> Result<u64, Failure> {
    let mut skipped_rows = 0;
    for run in runs {
        let shape = run.shape();
        let relation = &relations[shape.relation];
        let found = match shape.kind {
            Kind::Truncate => truncate(connection, rules, relations, run).await?,
            // The update changes no column.
            Kind::Update if shape.new.is_empty() && shape.unwritable.is_empty() => continue,
            Kind::Insert | Kind::Update | Kind::Delete => rows(connection, rules, relation, run).await?,
        };
        skipped_rows += (run.steps.len() as u64).saturating_sub(found);
    }
    Ok(skipped_rows)
}

fn table(rules: &Changes, name: &str) -> String {
    Table { schema: rules.schema.clone(), name: name.to_owned() }.quoted()
}

const TRUNCATIONS: &str = include_str!("truncations.sql");

/// Empties the run's tables in one statement. Returns the number of steps.
async fn truncate(
    connection: &mut PgConnection,
    rules: &Changes,
    relations: &[Relation],
    run: &Run<'_, '_>,
) -> Result<u64, Failure> {
    let mut indexes: Vec<usize> = run.steps.iter().map(|step| step.shape.relation).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let names: Vec<&str> = indexes.iter().map(|&index| relations[index].name.as_str()).collect();
    let can_truncate: bool =
        sqlx::query_scalar(TRUNCATIONS).bind(&rules.schema).bind(&names).fetch_one(&mut *connection).await?;
    let tables: Vec<String> = names.iter().map(|name| table(rules, name)).collect();
    let tables: Vec<(&str, &Relation)> =
        tables.iter().map(String::as_str).zip(indexes.iter().map(|&index| &relations[index])).collect();
    let statement = if can_truncate {
        statement::truncate(&tables)
    } else {
        identify(connection, rules, tables.iter().map(|(_, relation)| *relation)).await?;
        statement::delete_all(&tables)
    };
    connection.execute(statement.as_str()).await.map_err(not_emptied)?;
    Ok(run.steps.len() as u64)
}

/// Adds a hint if a table could not be emptied because rows of another table still refer to its rows. The source may
/// have emptied both tables with one `truncate`. That statement becomes one operation per table, and the operation for
/// the other table may come in a later batch.
fn not_emptied(error: sqlx::Error) -> Failure {
    const HINT: &str =
        "if one statement of the source truncated several tables, replay this after the other tables are empty";
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    if !matches!(code.as_ref(), FOREIGN_KEY_VIOLATION | RESTRICT_VIOLATION) {
        return error.into();
    }
    let rejection = rejection(&error);
    Failure::Refused(Rejection { reason: format!("{}; {HINT}", rejection.reason), ..rejection })
}

const FOREIGN_KEY_VIOLATION: &str = "23503";
const RESTRICT_VIOLATION: &str = "23001";

/// Gives a replica identity to tables that are published and have none. PostgreSQL refuses to delete the rows of such
/// tables.
async fn identify(
    connection: &mut PgConnection,
    rules: &Changes,
    relations: impl Iterator<Item = &Relation>,
) -> Result<(), Failure> {
    for relation in relations {
        for table in &relation.unidentified {
            if !table.ours || !rules.evolve {
                return Err(Failure::Refused(fault::no_replica_identity(&relation.name).into()));
            }
            connection.execute(evolve::identity(&table.table).as_str()).await?;
        }
    }
    Ok(())
}

/// Applies a run to the rows of its table. Returns how many steps found their row.
async fn rows(
    connection: &mut PgConnection,
    rules: &Changes,
    relation: &Relation,
    run: &Run<'_, '_>,
) -> Result<u64, Failure> {
    let shape = run.shape();
    let statement = statement::for_run(&table(rules, &relation.name), relation, shape);
    if has_types_with_ambiguous_errors(relation, shape) {
        prepare(connection, &statement, relation, shape).await?;
    }
    match execute(connection, &statement, relation, run).await.map_err(|error| blame(relation, shape, error))? {
        RunResult::Found(found) => Ok(found),
        RunResult::IdentityChanges => identities(connection, rules, relation, run).await,
        RunResult::Clash => {
            let mut found = 0;
            for step in &run.steps {
                let run = Run::for_step(step);
                found += match execute(connection, &statement, relation, &run).await {
                    Ok(RunResult::Found(found)) => found,
                    Ok(RunResult::IdentityChanges) => identities(connection, rules, relation, &run).await?,
                    // A single step cannot clash.
                    Ok(RunResult::Clash) => 0,
                    Err(error) => return Err(blame(relation, shape, error)),
                };
            }
            Ok(found)
        }
    }
}

/// Applies updates that change a `generated always as identity` column: PostgreSQL accepts such an update only while
/// the column is `generated by default`.
async fn identities(
    connection: &mut PgConnection,
    rules: &Changes,
    relation: &Relation,
    run: &Run<'_, '_>,
) -> Result<u64, Failure> {
    let Some(extended) = relation.extended.as_deref().filter(|_| rules.evolve && relation.owned) else {
        return Err(Failure::Refused(fault::identity_changes(&relation.name).into()));
    };
    let identities: Vec<(usize, usize)> = run.shape().identities(relation).collect();
    let generated = |how: &str| {
        let set = |(_, column): &(usize, usize)| {
            format!("alter column {} set generated {how}", quoted(&relation.columns[*column].name))
        };
        let set: Vec<String> = identities.iter().map(set).collect();
        format!("alter table {} {}", table(rules, extended), set.join(", "))
    };
    let steps: Vec<Step<'_>> = run.steps.iter().map(|step| with_identities(step, &identities)).collect();
    let run = Run { steps: steps.iter().collect(), given: run.given.clone() };
    let statement = statement::for_run(&table(rules, &relation.name), relation, run.shape());
    connection.execute(generated("by default").as_str()).await?;
    let found = match execute(connection, &statement, relation, &run).await? {
        RunResult::Found(found) => found,
        RunResult::Clash | RunResult::IdentityChanges => {
            let mut found = 0;
            for step in &steps {
                if let RunResult::Found(steps) = execute(connection, &statement, relation, &Run::for_step(step)).await?
                {
                    found += steps;
                }
            }
            found
        }
    };
    connection.execute(generated("always").as_str()).await?;
    Ok(found)
}

/// Returns the same update, extended to write these identity columns. Each identity column is given as its position in
/// `unwritable` and its index among the columns.
fn with_identities<'d>(step: &Step<'d>, identities: &[(usize, usize)]) -> Step<'d> {
    let mut step = step.clone();
    step.shape.new.extend(identities.iter().map(|(_, column)| *column));
    step.new.extend(identities.iter().map(|(position, _)| step.unwritable[*position].clone()));
    step.shape.unwritable.clear();
    step.unwritable.clear();
    step
}

enum RunResult {
    /// The run was applied. The number counts the steps that found their row. Inserts and truncates need no row, so all
    /// of them count.
    Found(u64),
    /// Nothing was done: the run's steps must be applied one by one.
    Clash,
    /// Nothing was done: an identity column would change.
    IdentityChanges,
}

async fn execute(
    connection: &mut PgConnection,
    statement: &str,
    relation: &Relation,
    run: &Run<'_, '_>,
) -> Result<RunResult, sqlx::Error> {
    let shape = run.shape();
    let steps = run.steps.len() as u64;
    let query = sqlx::query(statement);
    match shape.kind {
        Kind::Insert if shape.new.is_empty() => {
            query.bind(i64::try_from(steps).unwrap_or(i64::MAX)).execute(connection).await?;
        }
        Kind::Insert => {
            bind_new(query, relation, run).execute(connection).await?;
        }
        Kind::Truncate => {
            query.execute(connection).await?;
        }
        Kind::Update | Kind::Delete => {
            let query = bind_old(bind_new(query, relation, run), run);
            let weights: Vec<i32> = run.given.iter().map(|(_, weight)| *weight).collect();
            let row = query.bind(weights).fetch_one(connection).await?;
            let (found, clash, moved): (i64, bool, bool) = sqlx::FromRow::from_row(&row)?;
            return Ok(match (clash, moved) {
                (true, _) => RunResult::Clash,
                (false, true) => RunResult::IdentityChanges,
                (false, false) => RunResult::Found(found.unsigned_abs()),
            });
        }
    }
    Ok(RunResult::Found(steps))
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

fn bind_new<'q>(query: Bound<'q>, relation: &Relation, run: &Run<'q, '_>) -> Bound<'q> {
    let shape = run.shape();
    let new = 0..shape.new.len();
    let query = new.fold(query, |query, index| query.bind(values(run, |step| &step.new[index])));
    shape.identities(relation).fold(query, |query, (index, _)| query.bind(values(run, |step| &step.unwritable[index])))
}

fn bind_old<'q>(query: Bound<'q>, run: &Run<'q, '_>) -> Bound<'q> {
    let present = run.shape().old.iter().enumerate().filter(|(_, OldColumn { null, .. })| !null);
    present.fold(query, |query, (index, _)| query.bind(values(run, |step| &step.old[index])))
}

fn values<'q, 'd>(run: &Run<'q, 'd>, value: impl for<'s> Fn(&'s Step<'d>) -> &'s Text<'d>) -> Vec<Option<&'q str>> {
    let text = |(step, _): &(usize, i32)| -> Option<&'q str> {
        let step: &'q Step<'d> = run.steps[*step];
        value(step).as_ref().map(Cow::as_ref)
    };
    run.given.iter().map(text).collect()
}

/// Whether the run has values of types that may report an invalid value with an SQLSTATE outside class 22: `tsquery`
/// reports a syntax error, and `regclass` reports a missing table.
fn has_types_with_ambiguous_errors(relation: &Relation, shape: &Shape) -> bool {
    let columns = shape.new.iter().chain(&shape.unwritable).copied().chain(shape.old.iter().map(|old| old.column));
    columns.into_iter().any(|column| !relation.columns[column].ty.reports_invalid_values())
}

/// Makes PostgreSQL parse the statement without any values, so that an error at this point is not a value's fault.
async fn prepare(
    connection: &mut PgConnection,
    statement: &str,
    relation: &Relation,
    shape: &Shape,
) -> Result<(), sqlx::Error> {
    let new = shape.new.len() + shape.identities(relation).count();
    let arrays = new + shape.old.iter().filter(|old| !old.null).count();
    let mut parameters: Vec<PgTypeInfo> = vec![<Vec<String>>::type_info(); arrays];
    if matches!(shape.kind, Kind::Update | Kind::Delete) {
        parameters.push(<Vec<i32>>::type_info());
    }
    connection.prepare_with(statement, &parameters).await.map(drop)
}

/// PostgreSQL reports this error if a publication's columns or row filter do not fit the table's replica identity.
const INVALID_COLUMN_REFERENCE: &str = "42P10";

fn blame(relation: &Relation, shape: &Shape, error: sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    if code == INVALID_COLUMN_REFERENCE && relation.publishing {
        return Failure::Refused(fault::no_replica_identity(&relation.name).into());
    }
    // A missing privilege (42501) is never a value's fault.
    let value_like = matches!(code.get(..2), Some("42" | "0A" | "XX")) && code != "42501";
    if value_like && has_types_with_ambiguous_errors(relation, shape) {
        Failure::Value(error)
    } else {
        Failure::Sql(error)
    }
}
