//! Mode `append`: a row per event. Large slices are sent by COPY. Small slices are sent as arrays, which saves two
//! round trips. If the contract has a `dedupe` column, rows whose id already exists are skipped.

use std::collections::HashSet;

use shared::contract::{Column, Landing, quoted};
use shared::drift::type_difference;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::rows::{COPY_HEADER, COPY_TRAILER, Cell, Cells, cells};
use super::{Attempt, Exceptions, WriteError};
use crate::candidate::Candidate;

/// For at least this many rows, COPY is faster than arrays, despite its extra round trips (see docs/BENCHMARKS.md).
const COPY_FROM_ROWS: usize = 500;

pub(super) async fn write(
    connection: &mut PgConnection,
    attempt: Attempt<'_>,
    stream: &str,
    landing: &Landing,
    dedupe: Option<usize>,
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    let Some(id) = dedupe else {
        if slice.len() >= COPY_FROM_ROWS {
            copy(connection, stream, landing, slice.iter()).await?;
        } else {
            insert(connection, landing, slice.iter()).await?;
        }
        return Ok(Exceptions::default());
    };
    let (first, mut duplicates) = first_of_each_id(id, slice);
    // If this is the second attempt, an id probably exists already, and COPY would fail on it again.
    if first.len() >= COPY_FROM_ROWS && matches!(attempt, Attempt::Whole) {
        copy(connection, stream, landing, first.iter().map(|&index| &slice[index])).await?;
        return Ok(Exceptions { duplicates, ..Exceptions::default() });
    }
    let inserted = insert_missing(connection, landing, id, &first, slice).await?;
    if inserted.len() < first.len() {
        let is_there = |&&index: &&usize| !inserted.contains(value(id_cell(id, &slice[index])));
        duplicates.extend(first.iter().filter(is_there));
    }
    Ok(Exceptions { duplicates, ..Exceptions::default() })
}

/// Returns a statement that writes a slice only if `condition` holds. Returns `None` if COPY is faster.
pub(super) fn conditional(
    landing: &Landing,
    dedupe: Option<usize>,
    slice: &[Candidate<'_>],
    condition: &str,
) -> Option<String> {
    if slice.len() >= COPY_FROM_ROWS {
        return None;
    }
    let mut sql = format!("{} where {condition}", insert_statement(landing));
    if let Some(id) = dedupe {
        sql += &on_conflict(landing, id);
    }
    Some(sql)
}

/// Returns the indexes of the first record with each id, and the indexes of the records that repeat an id.
fn first_of_each_id(id: usize, slice: &[Candidate<'_>]) -> (Vec<usize>, Vec<usize>) {
    let mut seen = HashSet::with_capacity(slice.len());
    (0..slice.len()).partition(|&index| seen.insert(id_cell(id, &slice[index])))
}

fn id_cell<'a>(id: usize, candidate: &Candidate<'a>) -> Cell<'a> {
    cells(candidate.cells()).nth(id).unwrap_or_default()
}

fn value(cell: Cell<'_>) -> &[u8] {
    cell.get(4..).unwrap_or_default()
}

async fn copy<'s>(
    connection: &mut PgConnection,
    stream: &str,
    landing: &Landing,
    records: impl Iterator<Item = &'s Candidate<'s>>,
) -> Result<(), WriteError> {
    check_types(connection, stream, landing).await?;
    let mut data = Vec::from(COPY_HEADER);
    records.for_each(|record| data.extend_from_slice(record.row));
    data.extend_from_slice(COPY_TRAILER);
    let statement = format!("copy {} ({}) from stdin (format binary)", landing.table.quoted(), names(&landing.columns));
    let mut copy = connection.copy_in_raw(&statement).await?;
    // If the statement fails while the data is being sent, `finish` reports the error.
    copy.send(data).await?;
    copy.finish().await?;
    Ok(())
}

/// Checks the columns' types, because COPY's binary format carries none: if a column had another type of the same
/// length, PostgreSQL would misread the bytes. The query names the table itself only to make PostgreSQL lock the table
/// before it reads the catalogue, so that the columns cannot change between this check and the COPY.
async fn check_types(connection: &mut PgConnection, stream: &str, landing: &Landing) -> Result<(), WriteError> {
    let table = landing.table.quoted();
    let select = format!(
        "select attname::text, atttypid::bigint, format_type(atttypid, atttypmod) from pg_catalog.pg_attribute
         where attrelid = $1::regclass and attnum > 0 and not attisdropped and not exists (select from {table} where false)"
    );
    let found: Vec<(String, i64, String)> = sqlx::query(&select)
        .bind(&table)
        .try_map(|row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .fetch_all(connection)
        .await?;
    for column in &landing.columns {
        let actual = found.iter().find(|(name, _, _)| *name == column.name);
        let found = actual.map(|(_, oid, ty)| (*oid, ty.as_str()));
        if let Some(difference) = type_difference(stream, landing, column, found) {
            return Err(WriteError::Drift(difference.into()));
        }
    }
    Ok(())
}

async fn insert<'s>(
    connection: &mut PgConnection,
    landing: &Landing,
    records: impl ExactSizeIterator<Item = &'s Candidate<'s>>,
) -> Result<(), WriteError> {
    let statement = insert_statement(landing);
    bind(&statement, landing, records).execute(connection).await?;
    Ok(())
}

/// Inserts the rows whose id does not exist yet. Returns their ids.
async fn insert_missing(
    connection: &mut PgConnection,
    landing: &Landing,
    id: usize,
    first: &[usize],
    slice: &[Candidate<'_>],
) -> Result<HashSet<Vec<u8>>, WriteError> {
    let statement = insert_statement(landing) + &on_conflict(landing, id);
    let inserted = bind(&statement, landing, first.iter().map(|&index| &slice[index]))
        .try_map(|row: PgRow| Ok(row.try_get_raw(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default()))
        .fetch_all(connection)
        .await?;
    Ok(inserted.into_iter().collect())
}

/// Returns the ON CONFLICT clause, which skips rows with existing ids and returns the ids of the other rows.
fn on_conflict(landing: &Landing, id: usize) -> String {
    let id = quoted(&landing.columns[id].name);
    format!(" on conflict ({id}) do nothing returning {id}")
}

/// Returns `insert into table (columns) select * from unnest(arrays)`.
pub(super) fn insert_statement(landing: &Landing) -> String {
    format!(
        "insert into {} ({}) select * from unnest({})",
        landing.table.quoted(),
        names(&landing.columns),
        arrays(landing)
    )
}

pub(super) fn names(columns: &[Column]) -> String {
    columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
}

/// Returns the parameters `$1::bigint[], $2::text[], …`, one for each column.
pub(super) fn arrays(landing: &Landing) -> String {
    let array = |(index, column): (usize, &Column)| format!("${}::{}[]", index + 1, column.ty.sql());
    landing.columns.iter().enumerate().map(array).collect::<Vec<_>>().join(", ")
}

/// Binds the records' rows, column by column.
pub(super) fn bind<'q, 's: 'q>(
    statement: &'q str,
    landing: &Landing,
    records: impl ExactSizeIterator<Item = &'s Candidate<'s>>,
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let types: Vec<_> = landing.columns.iter().map(|column| column.ty).collect();
    Cells::transpose(&types, records.map(Candidate::cells))
        .into_iter()
        .fold(sqlx::query(statement), sqlx::query::Query::bind)
}
