//! The SQL of entities' tables.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use shared::contract::{Column, Entity, quoted};
use sqlx::{PgConnection, Row as _};

use super::command::Command;
use super::decide::Row;
use crate::write::append::insert_statement;
use crate::write::rows::{Cell, Cells};

/// Which of these keys exist. Their rows are locked in the order of the keys, so that two transactions do not wait
/// for each other.
pub(super) async fn lock_existing(
    connection: &mut PgConnection,
    entity: &Entity,
    keys: &BTreeMap<&str, &Command<'_>>,
) -> Result<HashSet<String>, sqlx::Error> {
    let select = format!(
        "select k.position from unnest({arrays}) with ordinality as k ({names}, position)
         join {table} t on {matches} order by k.position for update of t",
        arrays = arrays(entity),
        names = key_names(entity),
        table = entity.landing.table.quoted(),
        matches = key_matches(entity),
    );
    let query =
        bind_keys(sqlx::query(&select), entity, |column| keys.values().map(|command| command.cells[column]).collect());
    let positions: Vec<i64> = query.try_map(|row: sqlx::postgres::PgRow| row.try_get(0)).fetch_all(connection).await?;
    let names: Vec<&str> = keys.keys().copied().collect();
    let name = |position: i64| names.get(usize::try_from(position - 1).ok()?).map(|&name| name.to_owned());
    Ok(positions.into_iter().filter_map(name).collect())
}

/// Which of these parents exist; they stay as long as the transaction lasts.
pub(super) async fn lock_parents(
    connection: &mut PgConnection,
    parent: &Entity,
    wanted: &BTreeSet<&str>,
) -> Result<HashSet<String>, sqlx::Error> {
    let Some(column) = parent.key.first().map(|&column| &parent.landing.columns[column]) else {
        return Ok(HashSet::new());
    };
    let select = format!(
        "select {name}::text from {table} where {name} = any($1::text[]::{ty}[]) order by {name} for key share",
        name = quoted(&column.name),
        table = parent.landing.table.quoted(),
        ty = column.ty.sql(),
    );
    let wanted: Vec<&str> = wanted.iter().copied().collect();
    let found: Vec<String> = sqlx::query_scalar(&select).bind(wanted).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// To which of these parents rows of `child` belong.
pub(super) async fn parents_of(
    connection: &mut PgConnection,
    child: &Entity,
    parents: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    let Some(column) = child.parent.as_ref().map(|parent| &child.landing.columns[parent.column]) else {
        return Ok(Vec::new());
    };
    let select = format!(
        "select distinct {name}::text from {table} where {name} = any($1::text[]::{ty}[])",
        name = quoted(&column.name),
        table = child.landing.table.quoted(),
        ty = column.ty.sql(),
    );
    sqlx::query_scalar(&select).bind(parents).fetch_all(connection).await
}

pub(super) async fn delete<'r>(
    connection: &mut PgConnection,
    entity: &Entity,
    rows: impl Iterator<Item = &'r Row<'r>>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&Row<'_>> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let delete = format!(
        "delete from {table} t using unnest({arrays}) as k ({names}) where {matches}",
        table = entity.landing.table.quoted(),
        arrays = arrays(entity),
        names = key_names(entity),
        matches = key_matches(entity),
    );
    bind_key_cells(sqlx::query(&delete), entity, &rows).execute(connection).await?;
    Ok(())
}

/// Sets what was given in each row and leaves the rest as it is.
pub(super) async fn update<'r>(
    connection: &mut PgConnection,
    entity: &Entity,
    rows: impl Iterator<Item = &'r Row<'r>>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&Row<'_>> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let columns: Vec<(usize, &Column)> =
        entity.landing.columns.iter().enumerate().filter(|(index, _)| !entity.key.contains(index)).collect();
    let (mut arrays, mut names) = (vec![arrays(entity)], vec![key_names(entity)]);
    let mut set = Vec::new();
    for (position, (_, column)) in columns.iter().enumerate() {
        let parameter = entity.key.len() + 2 * position + 1;
        arrays.push(format!("${parameter}::{}[], ${}::boolean[]", column.ty.sql(), parameter + 1));
        names.push(format!("v{position}, given{position}"));
        set.push(format!("{0} = case when k.given{position} then k.v{position} else t.{0} end", quoted(&column.name)));
    }
    let update = format!(
        "update {table} t set {set} from unnest({arrays}) as k ({names}) where {matches}",
        table = entity.landing.table.quoted(),
        set = set.join(", "),
        arrays = arrays.join(", "),
        names = names.join(", "),
        matches = key_matches(entity),
    );
    let query = bind_key_cells(sqlx::query(&update), entity, &rows);
    let query = columns.iter().fold(query, |query, &(index, column)| {
        let cells = rows.iter().map(|row| row.cells[index].unwrap_or(crate::write::rows::NULL)).collect();
        let given: Vec<bool> = rows.iter().map(|row| row.cells[index].is_some()).collect();
        query.bind(Cells::new(column.ty, cells)).bind(given)
    });
    query.execute(connection).await?;
    Ok(())
}

pub(super) async fn insert<'r>(
    connection: &mut PgConnection,
    entity: &Entity,
    rows: impl Iterator<Item = &'r Row<'r>>,
) -> Result<(), sqlx::Error> {
    let mut columns: Vec<Vec<Cell<'_>>> = vec![Vec::new(); entity.landing.columns.len()];
    for row in rows {
        columns.iter_mut().zip(row.new_cells()).for_each(|(column, cell)| column.push(cell));
    }
    if columns.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let insert = insert_statement(&entity.landing);
    let cells = entity.landing.columns.iter().zip(columns).map(|(column, cells)| Cells::new(column.ty, cells));
    cells.fold(sqlx::query(&insert), sqlx::query::Query::bind).execute(connection).await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind_keys<'q, 'c: 'q>(query: Query<'q>, entity: &Entity, cells: impl Fn(usize) -> Vec<Cell<'c>>) -> Query<'q> {
    entity
        .key
        .iter()
        .fold(query, |query, &column| query.bind(Cells::new(entity.landing.columns[column].ty, cells(column))))
}

fn bind_key_cells<'q, 'r: 'q>(query: Query<'q>, entity: &Entity, rows: &[&'r Row<'r>]) -> Query<'q> {
    entity.key.iter().enumerate().fold(query, |query, (position, &column)| {
        let cells = rows.iter().map(|row| row.key_cells[position]).collect();
        query.bind(Cells::new(entity.landing.columns[column].ty, cells))
    })
}

/// `$1::text[], $2::text[]`, one for each key column.
fn arrays(entity: &Entity) -> String {
    let array = |(position, &column): (usize, &usize)| {
        format!("${}::{}[]", position + 1, entity.landing.columns[column].ty.sql())
    };
    entity.key.iter().enumerate().map(array).collect::<Vec<_>>().join(", ")
}

fn key_names(entity: &Entity) -> String {
    (0..entity.key.len()).map(|position| format!("k{position}")).collect::<Vec<_>>().join(", ")
}

fn key_matches(entity: &Entity) -> String {
    let matches = |(position, &column): (usize, &usize)| {
        format!("t.{} = k.k{position}", quoted(&entity.landing.columns[column].name))
    };
    entity.key.iter().enumerate().map(matches).collect::<Vec<_>>().join(" and ")
}
