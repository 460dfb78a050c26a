//! What a plan needs and is not there is created: tables, columns, and an index where rows are looked up by a key.

use sqlx::{Executor as _, PgConnection};

use shared::contract::{Changes, Table, quoted};

use super::catalogue::{Column, ColumnState, Relation, State};
use super::plan::{OldColumn, Plan};
use super::statement;
use super::types::{IndexPart, PREFIX_BYTES};

/// An arbitrary number that is ours among the database's advisory locks.
const LOCK: i64 = 0x736c_7569_6365_0001;

/// One transaction at a time creates things; the others wait here, then look again at what is there. Without it,
/// two that create the same table would meet in an error.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(connection).await.map(drop)
}

/// The statements that create what the plan needs.
pub(super) fn statements(rules: &Changes, plan: &Plan<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    for relation in &plan.relations {
        let table = quoted_name(rules, relation);
        let planned = relation.columns.iter().filter(|column| column.state == ColumnState::Planned);
        let columns: Vec<String> = planned.map(definition).collect();
        match relation.state {
            State::Planned => statements.push(format!("create table {table} ({})", columns.join(", "))),
            State::There if !columns.is_empty() => {
                let columns: Vec<String> = columns.iter().map(|column| format!("add column {column}")).collect();
                statements.push(format!("alter table {table} {}", columns.join(", ")));
            }
            State::There | State::Missing | State::Taken => {}
        }
    }
    if rules.evolve {
        statements.extend(indexes(rules, plan));
    }
    statements
}

/// Executes them.
pub(super) async fn execute(connection: &mut PgConnection, statements: &[String]) -> Result<(), sqlx::Error> {
    for statement in statements {
        connection.execute(statement.as_str()).await?;
    }
    Ok(())
}

fn quoted_name(rules: &Changes, relation: &Relation) -> String {
    Table { schema: rules.schema.clone(), name: relation.name.clone() }.quoted()
}

fn definition(column: &Column) -> String {
    format!("{} {}", quoted(&column.name), column.ty.sql())
}

/// An index for each table whose rows are looked up by less than all of their columns, where none begins with one of
/// these. It is not unique: what the source promises is not ours to enforce.
fn indexes(rules: &Changes, plan: &Plan<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    let mut indexed: Vec<Vec<bool>> =
        plan.relations.iter().map(|relation| relation.columns.iter().map(|column| column.indexed).collect()).collect();
    for step in &plan.steps {
        let (relation, old) = (&plan.relations[step.shape.relation], &step.shape.old);
        let indexed = &mut indexed[step.shape.relation];
        let whole_row = old.len() == relation.columns.len();
        // A table with foreign keys or triggers has an operator who sees to its indexes.
        let ours = relation.owned && !relation.triggers;
        if old.is_empty() || whole_row || !ours || old.iter().any(|old| indexed[old.column]) {
            continue;
        }
        let table = quoted_name(rules, relation);
        // Nothing helps, and nothing is to be found out again for the next step.
        old.iter().for_each(|old| indexed[old.column] = true);
        if let Some(columns) = index_columns(relation, old) {
            statements.push(format!("create index on {table} {columns}"));
            if relation.state == State::There {
                // Else the planner takes any key for a frequent one.
                statements.push(format!("analyze {table}"));
            }
        }
    }
    statements
}

/// What fits into an entry: PostgreSQL takes 2,704 bytes, and refuses the row whose entry is longer.
const ENTRY_BYTES: usize = 2_000;
const INDEX_COLUMNS: usize = 8;

fn index_columns(relation: &Relation, old: &[OldColumn]) -> Option<String> {
    let mut bytes = 0;
    let mut parts = Vec::new();
    for OldColumn { column, .. } in old {
        let column = &relation.columns[*column];
        let name = quoted(&column.name);
        let (part, length) = match column.ty.index_part() {
            Some(IndexPart::Whole(length)) => (name, length),
            Some(IndexPart::Prefix) => (statement::prefix(&name), PREFIX_BYTES),
            Some(IndexPart::Hash) if old.len() == 1 => return Some(format!("using hash ({name})")),
            Some(IndexPart::Hash) | None => continue,
        };
        if bytes + length <= ENTRY_BYTES && parts.len() < INDEX_COLUMNS {
            bytes += length;
            parts.push(part);
        }
    }
    (!parts.is_empty()).then(|| format!("({})", parts.join(", ")))
}
