//! The SQL for entities' tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use shared::contract::{Column, Entity, quoted};
use shared::ledger::deleted_versions;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _, ValueRef as _};

use super::command::Command;
use super::decide::Row;
use crate::write::append::insert_statement;
use crate::write::rows::{Cell, Cells, NULL};

/// The rows of some keys.
#[derive(Debug, Default)]
pub(super) struct Existing {
    /// The keys that have a row.
    pub(super) keys: HashSet<String>,
    /// If the contract has a version, the version cell of each row and of each recently deleted one.
    pub(super) versions: HashMap<String, Vec<u8>>,
}

/// Finds the rows of these keys, and locks them in the order of the keys, so that two transactions cannot deadlock.
pub(super) async fn lock_existing(
    connection: &mut PgConnection,
    stream: &str,
    entity: &Entity,
    keys: &BTreeMap<&str, &Command<'_>>,
) -> Result<Existing, sqlx::Error> {
    let version = entity.version.map(|column| &entity.landing.columns[column]);
    let select = format!(
        "select k.position{version} from unnest({arrays}) with ordinality as k ({names}, position)
         join {table} t on {matches} order by k.position for update of t",
        version = version
            .map(|column| format!(", t.{}::{} as version", quoted(&column.name), column.ty.sql()))
            .unwrap_or_default(),
        arrays = arrays(entity),
        names = key_names(entity),
        table = entity.landing.table.quoted(),
        matches = key_matches(entity),
    );
    let names: Vec<&str> = keys.keys().copied().collect();
    let name = |position: i64| {
        let index = usize::try_from(position - 1).unwrap_or(usize::MAX);
        names.get(index).map_or_else(String::new, |&name| name.to_owned())
    };
    let cells = |column: usize| keys.values().map(|command| command.cells[column]).collect();
    let Some(version) = version else {
        let found: Vec<i64> = bind_keys(sqlx::query(&select), entity, cells)
            .try_map(|row: PgRow| row.try_get(0))
            .fetch_all(connection)
            .await?;
        return Ok(Existing { keys: found.into_iter().map(name).collect(), versions: HashMap::new() });
    };
    let select = format!(
        "with existing as ({select})
         select position, version, null::bytea from existing
         union all
         select d.position, null::{ty}, d.version from ({deleted}) d",
        ty = version.ty.sql(),
        deleted = deleted_versions::find(entity.key.len() + 1),
    );
    let query = bind_keys(sqlx::query(&select), entity, cells);
    let found: Vec<(i64, Vec<u8>, Option<Vec<u8>>)> = query
        .bind(stream)
        .bind(version.ty.sql())
        .bind(deleted_versions::hashes(names.iter().copied()))
        .try_map(|row: PgRow| Ok((row.try_get(0)?, cell(&row, 1)?, row.try_get(2)?)))
        .fetch_all(connection)
        .await?;
    let mut existing = Existing::default();
    for (position, version, deleted) in found {
        match deleted {
            // If the row was created again, its current version counts.
            Some(deleted) => _ = existing.versions.entry(name(position)).or_insert_with(|| with_length(&deleted)),
            None => {
                existing.versions.insert(name(position), version);
                existing.keys.insert(name(position));
            }
        }
    }
    Ok(existing)
}

/// Returns a column's value in PostgreSQL's binary format, preceded by its length.
fn cell(row: &PgRow, column: usize) -> Result<Vec<u8>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    let bytes = value.as_bytes().map_err(sqlx::Error::Decode);
    if value.is_null() {
        return Ok(NULL.to_vec());
    }
    Ok(with_length(bytes?))
}

fn with_length(value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes();
    length.into_iter().chain(value.iter().copied()).collect()
}

/// Returns which of these parents exist, and locks them until the transaction ends.
pub(super) async fn lock_parents(
    connection: &mut PgConnection,
    parent: &Entity,
    wanted: &BTreeSet<&str>,
) -> Result<HashSet<String>, sqlx::Error> {
    let Some(column) = parent.key.first().map(|&column| &parent.landing.columns[column]) else {
        return Ok(HashSet::new());
    };
    let select = format!(
        "select wanted from unnest($1::text[]) wanted join {table} t on t.{name} = wanted::{ty}
         order by t.{name} for key share of t",
        table = parent.landing.table.quoted(),
        name = quoted(&column.name),
        ty = column.ty.sql(),
    );
    let wanted: Vec<&str> = wanted.iter().copied().collect();
    let found: Vec<String> = sqlx::query_scalar(&select).bind(wanted).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Returns which of these parents have rows in `child`.
pub(super) async fn parents_of(
    connection: &mut PgConnection,
    child: &Entity,
    parents: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    let Some(column) = child.parent.as_ref().map(|parent| &child.landing.columns[parent.column]) else {
        return Ok(Vec::new());
    };
    let select = format!(
        "select parent from unnest($1::text[]) parent
         where exists (select from {table} t where t.{name} = parent::{ty})",
        table = child.landing.table.quoted(),
        name = quoted(&column.name),
        ty = column.ty.sql(),
    );
    sqlx::query_scalar(&select).bind(parents).fetch_all(connection).await
}

/// Deletes the existing rows of deleted entities, and remembers the versions of those that no later command created
/// again. `rows` contains every entity about which a decision was made, deleted or not.
pub(super) async fn delete<'r>(
    connection: &mut PgConnection,
    stream: &str,
    entity: &Entity,
    now_ms: i64,
    rows: impl Iterator<Item = &'r Row<'r>> + Clone,
) -> Result<(), sqlx::Error> {
    let deleted: Vec<&Row<'_>> = rows.clone().filter(|row| row.is_deleted()).collect();
    let versions: Vec<(&str, Cell<'_>)> = rows.filter_map(|row| Some((row.key, row.last_version()?))).collect();
    if deleted.is_empty() && versions.is_empty() {
        return Ok(());
    }
    let delete = format!(
        "delete from {table} t using unnest({arrays}) as k ({names}) where {matches}",
        table = entity.landing.table.quoted(),
        arrays = arrays(entity),
        names = key_names(entity),
        matches = key_matches(entity),
    );
    let Some(version) = entity.version.filter(|_| !versions.is_empty()) else {
        bind_key_cells(sqlx::query(&delete), entity, &deleted).execute(connection).await?;
        return Ok(());
    };
    // One statement deletes the rows and remembers the versions, which saves a round trip.
    let delete = format!("with remembered as ({}) {delete}", deleted_versions::remember(entity.key.len() + 1));
    bind_key_cells(sqlx::query(&delete), entity, &deleted)
        .bind(stream)
        .bind(entity.landing.columns[version].ty.sql())
        .bind(deleted_versions::hashes(versions.iter().map(|(key, _)| *key)))
        .bind(versions.iter().map(|(_, version)| version.get(4..).unwrap_or_default()).collect::<Vec<_>>())
        .bind(now_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// Updates the given columns of each row.
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
        let cells = rows.iter().map(|row| row.cells[index].unwrap_or(NULL)).collect();
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

/// Returns one parameter for each key column, for example `$1::text[], $2::bigint[]`.
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
