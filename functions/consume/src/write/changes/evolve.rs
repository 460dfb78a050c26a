//! Creates what a plan needs if the database does not have it yet: tables, columns, replica identities, and indexes on
//! keys by which rows are looked up.

use sqlx::{Executor as _, PgConnection};

use shared::contract::{Changes, Table, quoted};

use super::catalogue::{Column, ColumnState, Relation, State};
use super::plan::{Kind, OldColumn, Plan, Step};
use super::statement;
use super::types::{IndexPart, PREFIX_BYTES};

/// The key of our advisory lock: an arbitrary number.
const LOCK: i64 = 0x736c_7569_6365_0001;

/// Waits until no other transaction creates tables or columns. Without the lock, if two transactions created the same
/// table, one of them would fail. After this call, the caller must read the catalogue again.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(connection).await.map(drop)
}

/// Returns the statements that create what the plan needs.
pub(super) fn statements(rules: &Changes, plan: &Plan<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    for relation in &plan.relations {
        let table = quoted_name(rules, relation);
        let planned = relation.columns.iter().filter(|column| column.state == ColumnState::Planned);
        let columns: Vec<String> = planned.map(definition).collect();
        match relation.state {
            State::Planned => {
                statements.push(format!("create table {table} ({})", columns.join(", ")));
                // The table has no key, so PostgreSQL would refuse updates and deletes as soon as a publication
                // contains the table.
                statements.push(identity(&table));
            }
            State::There if !columns.is_empty() => {
                let extended = relation.extended.as_deref().unwrap_or(&relation.name);
                let table = Table { schema: rules.schema.clone(), name: extended.to_owned() }.quoted();
                // Another table of the plan may have added the column already: a partition of the same root, or a table
                // related by inheritance.
                let add = |column: &String| format!("add column if not exists {column}");
                let columns: Vec<String> = columns.iter().map(add).collect();
                statements.push(format!("alter table {table} {}", columns.join(", ")));
            }
            State::There | State::Missing | State::Taken => {}
        }
    }
    if rules.evolve {
        statements.extend(identities(plan));
        statements.extend(indexes(rules, plan));
    }
    statements
}

/// Executes these statements in order.
pub(super) async fn execute(connection: &mut PgConnection, statements: &[String]) -> Result<(), sqlx::Error> {
    for statement in statements {
        connection.execute(statement.as_str()).await?;
    }
    Ok(())
}

/// Whether the plan adds columns to existing tables. If so, partitions and inheriting tables get the columns as well.
pub(super) fn shares_columns(plan: &Plan<'_>) -> bool {
    let adds = |relation: &Relation| relation.columns.iter().any(|column| column.state == ColumnState::Planned);
    plan.relations.iter().any(|relation| relation.state == State::There && adds(relation))
}

/// Returns the statement that makes PostgreSQL identify a row by all of its columns.
pub(super) fn identity(table: &str) -> String {
    format!("alter table {table} replica identity full")
}

/// Returns a statement for each table that is published without a replica identity and has rows to update or delete.
fn identities(plan: &Plan<'_>) -> Vec<String> {
    let changed = |index: usize| {
        let changes = |step: &Step<'_>| matches!(step.shape.kind, Kind::Update | Kind::Delete);
        plan.steps.iter().any(|step| step.shape.relation == index && changes(step))
    };
    let relations = plan.relations.iter().enumerate();
    let relations = relations.filter(|(index, relation)| !relation.unidentified.is_empty() && changed(*index));
    let mut tables: Vec<&str> =
        relations.flat_map(|(_, relation)| relation.unidentified.iter().map(|table| table.table.as_str())).collect();
    tables.sort_unstable();
    tables.dedup();
    tables.into_iter().map(identity).collect()
}

fn quoted_name(rules: &Changes, relation: &Relation) -> String {
    Table { schema: rules.schema.clone(), name: relation.name.clone() }.quoted()
}

fn definition(column: &Column) -> String {
    format!("{} {}", quoted(&column.name), column.ty.sql())
}

/// Plans an index for each table whose rows are looked up by some of their columns, unless an index already starts with
/// one of these columns. The index is not unique, because enforcing the source's constraints is not our task.
fn indexes(rules: &Changes, plan: &Plan<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    let mut indexed: Vec<Vec<bool>> =
        plan.relations.iter().map(|relation| relation.columns.iter().map(|column| column.indexed).collect()).collect();
    for step in &plan.steps {
        let (relation, old) = (&plan.relations[step.shape.relation], &step.shape.old);
        let indexed = &mut indexed[step.shape.relation];
        let whole_row = old.len() == relation.columns.len();
        // A table with foreign keys or triggers was created by an operator, who also decides about its indexes.
        let ours = relation.owned && !relation.triggers;
        if old.is_empty() || whole_row || !ours || old.iter().any(|old| indexed[old.column]) {
            continue;
        }
        let table = quoted_name(rules, relation);
        // The columns are marked even if no index on them is possible, so that later steps do not try again.
        old.iter().for_each(|old| indexed[old.column] = true);
        if let Some(columns) = index_columns(relation, old) {
            statements.push(format!("create index on {table} {columns}"));
            if relation.state == State::There {
                // Without statistics, the planner assumes that every key occurs often.
                statements.push(format!("analyze {table}"));
            }
        }
    }
    statements
}

/// The maximum size of an index entry. PostgreSQL accepts up to 2,704 bytes and refuses a row whose entry is longer.
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
