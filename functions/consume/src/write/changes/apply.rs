//! Runs become statements.

use sqlx::postgres::{PgArguments, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{Executor as _, PgConnection, Postgres, Type as _};

use shared::contract::Table;

use super::Failure;
use super::catalogue::Relation;
use super::plan::{Kind, OldColumn, Shape, Step};
use super::runs::Run;
use super::statement;
use super::wal2json::Text;

/// Applies runs in order; answers how many steps found no row.
pub(super) async fn apply(
    connection: &mut PgConnection,
    schema: &str,
    relations: &[Relation],
    runs: &[Run<'_, '_>],
) -> Result<u64, Failure> {
    let mut skipped_rows = 0;
    for run in runs {
        let shape = run.shape();
        if shape.kind == Kind::Update && shape.new.is_empty() {
            // Every column keeps its value.
            continue;
        }
        let relation = &relations[shape.relation];
        let table = Table { schema: schema.to_owned(), name: relation.name.clone() }.quoted();
        let statement = statement::of(&table, relation, shape);
        if has_telltale_types(relation, shape) {
            prepare(connection, &statement, shape).await?;
        }
        let applied = one(connection, &statement, run).await;
        let found = match applied.map_err(|error| blame(relation, shape, error))? {
            Outcome::Found(found) => found,
            Outcome::Clash => {
                let mut found = 0;
                for step in &run.steps {
                    let applied = one(connection, &statement, &Run::of(step)).await;
                    match applied.map_err(|error| blame(relation, shape, error))? {
                        Outcome::Found(steps) => found += steps,
                        // A single step that stands for itself meets no other.
                        Outcome::Clash => {}
                    }
                }
                found
            }
        };
        skipped_rows += (run.steps.len() as u64).saturating_sub(found);
    }
    Ok(skipped_rows)
}

enum Outcome {
    /// So many steps were done, or had nothing to find.
    Found(u64),
    /// Nothing was done: one by one, please.
    Clash,
}

async fn one(connection: &mut PgConnection, statement: &str, run: &Run<'_, '_>) -> Result<Outcome, sqlx::Error> {
    let shape = run.shape();
    let steps = run.steps.len() as u64;
    let query = sqlx::query(statement);
    match shape.kind {
        Kind::Insert if shape.new.is_empty() => {
            query.bind(i64::try_from(steps).unwrap_or(i64::MAX)).execute(connection).await?;
        }
        Kind::Insert => {
            bind_new(query, run).execute(connection).await?;
        }
        Kind::Truncate => {
            query.execute(connection).await?;
        }
        Kind::Update | Kind::Delete => {
            let query = bind_old(bind_new(query, run), run);
            let weights: Vec<i32> = run.given.iter().map(|(_, weight)| *weight).collect();
            let row = query.bind(weights).fetch_one(connection).await?;
            let (found, clash): (i64, bool) = sqlx::FromRow::from_row(&row)?;
            return Ok(if clash { Outcome::Clash } else { Outcome::Found(found.unsigned_abs()) });
        }
    }
    Ok(Outcome::Found(steps))
}

type Bound<'q> = Query<'q, Postgres, PgArguments>;

fn bind_new<'q, 'd: 'q>(query: Bound<'q>, run: &Run<'_, 'd>) -> Bound<'q> {
    let count = run.shape().new.len();
    (0..count).fold(query, |query, index| query.bind(values(run, |step| step.new[index])))
}

fn bind_old<'q, 'd: 'q>(query: Bound<'q>, run: &Run<'_, 'd>) -> Bound<'q> {
    let present = run.shape().old.iter().enumerate().filter(|(_, OldColumn { null, .. })| !null);
    present.fold(query, |query, (index, _)| query.bind(values(run, |step| step.old[index])))
}

fn values<'d>(run: &Run<'_, 'd>, value: impl Fn(&Step<'d>) -> Text<'d>) -> Vec<Text<'d>> {
    run.given.iter().map(|(step, _)| value(run.steps[*step])).collect()
}

/// Whether it reads values of types that may call a wrong value by another name than SQLSTATE class 22: `tsquery`
/// takes it for a syntax error, `regclass` for a missing table.
fn has_telltale_types(relation: &Relation, shape: &Shape) -> bool {
    let columns = shape.new.iter().copied().chain(shape.old.iter().map(|old| old.column));
    columns.into_iter().any(|column| !relation.columns[column].ty.tells_wrong_values())
}

/// Has PostgreSQL look at the statement before it sees a value: what is wrong with it then is not the value's fault.
async fn prepare(connection: &mut PgConnection, statement: &str, shape: &Shape) -> Result<(), sqlx::Error> {
    let arrays = shape.new.len() + shape.old.iter().filter(|old| !old.null).count();
    let mut parameters: Vec<PgTypeInfo> = vec![<Vec<String>>::type_info(); arrays];
    if matches!(shape.kind, Kind::Update | Kind::Delete) {
        parameters.push(<Vec<i32>>::type_info());
    }
    connection.prepare_with(statement, &parameters).await.map(drop)
}

fn blame(relation: &Relation, shape: &Shape, error: sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    // A missing privilege is nobody's value.
    let value_like = matches!(code.get(..2), Some("42" | "0A" | "XX")) && code != "42501";
    if value_like && has_telltale_types(relation, shape) { Failure::Value(error) } else { Failure::Sql(error) }
}
