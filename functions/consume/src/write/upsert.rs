//! Mode `upsert`: a row per key. Later events replace the row. If the contract has a version, an event replaces the row
//! only if the event's version is at least as high as the row's. Rows are always sent as arrays, never by COPY, because
//! ON CONFLICT needs an INSERT.

use shared::contract::{Column, Landing, quoted};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::append::{arrays, bind, insert_statement, names};
use super::rows::key_cells;
use super::{Exceptions, WriteError};
use crate::candidate::Candidate;

pub(super) async fn write(
    connection: &mut PgConnection,
    landing: &Landing,
    key: &[usize],
    version: Option<usize>,
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    let Some(version) = version else {
        let last = last_of_each_key(landing, key, slice);
        let statement = insert_statement(landing) + &on_conflict(landing, key);
        bind(&statement, landing, last.iter().map(|&index| &slice[index])).execute(connection).await?;
        return Ok(Exceptions::default());
    };
    let statement = versioned_statement(landing, key, version);
    let superseded: Vec<i64> =
        bind(&statement, landing, slice.iter()).try_map(|row: PgRow| row.try_get(0)).fetch_all(connection).await?;
    let index = |position: i64| usize::try_from(position - 1).ok();
    Ok(Exceptions { superseded: superseded.into_iter().filter_map(index).collect(), ..Exceptions::default() })
}

/// Returns two things: a statement that writes a slice only if `condition` holds, and the events that this statement
/// writes. The contract must not have a version.
pub(super) fn conditional<'s>(
    landing: &Landing,
    key: &[usize],
    slice: &'s [Candidate<'s>],
    condition: &str,
) -> (String, Vec<&'s Candidate<'s>>) {
    let sql = format!("{} where {condition}{}", insert_statement(landing), on_conflict(landing, key));
    let rows = last_of_each_key(landing, key, slice).into_iter().map(|index| &slice[index]).collect();
    (sql, rows)
}

/// Returns the index of the last event of each key, because a statement accepts a key only once.
///
/// The events are sorted by key. All transactions use this order, so that no two of them can deadlock.
fn last_of_each_key(landing: &Landing, key: &[usize], slice: &[Candidate<'_>]) -> Vec<usize> {
    let keyed = slice.iter().enumerate().map(|(index, candidate)| (key_cells(landing, key, candidate.cells()), index));
    let mut rows: Vec<_> = keyed.collect();
    rows.sort_unstable();
    let is_last = |at: usize| rows.get(at + 1).is_none_or(|next| next.0 != rows[at].0);
    (0..rows.len()).filter(|&at| is_last(at)).map(|at| rows[at].1).collect()
}

/// Returns the ON CONFLICT clause for rows without a version.
fn on_conflict(landing: &Landing, key: &[usize]) -> String {
    let (conflict, replaced) = (conflict(landing, key), replaced(landing, key));
    if replaced.is_empty() {
        format!(" on conflict ({conflict}) do nothing")
    } else {
        format!(" on conflict ({conflict}) do update set {replaced}")
    }
}

/// Returns the statement that writes a slice with versions. For each key, it writes the event with the highest version.
/// If several events have that version, it writes the last of them. If the row has a higher version, the row stays as
/// it is. The statement returns the positions of the superseded events, counted from 1. An event is superseded if the
/// row or an earlier event of the slice has a higher version, or if the statement wrote no row for its key, because
/// another transaction has inserted a higher version in the meantime. PostgreSQL compares the keys and the versions, by
/// the rules of their columns' types.
fn versioned_statement(landing: &Landing, key: &[usize], version: usize) -> String {
    let keys = |of: &str| key.iter().map(|column| format!("{of}c{column}")).collect::<Vec<_>>();
    let matches = |a: &str, b: &dyn Fn(usize) -> String| {
        key.iter().map(|&column| format!("{a}c{column} = {}", b(column))).collect::<Vec<_>>().join(" and ")
    };
    let column = |column: usize| quoted(&landing.columns[column].name);
    format!(
        "with input as (
             select * from unnest({arrays}) with ordinality as i ({inputs}, position)
         ), ranked as (
             select i.*, row_number() over (partition by {keys} order by c{version} desc nulls last, position desc) as rank,
                    max(c{version}) over (partition by {keys} order by position
                                          rows between unbounded preceding and 1 preceding) as earlier
             from input i
         ), held as (
             select r.position, t.{version_name} as version from ranked r join {table} t on {held}
         ), written as (
             insert into {table} as t ({names}) select {inputs} from ranked where rank = 1 order by {keys}
             on conflict ({conflict}) do update set {replaced}
             where t.{version_name} is null or excluded.{version_name} >= t.{version_name}
             returning {returned}
         )
         select r.position from ranked r left join held h using (position)
         where r.c{version} < greatest(r.earlier, h.version)
               or (r.c{version} is null and coalesce(r.earlier, h.version) is not null)
               or ({present} and not exists (select from written w where {written}))
         order by 1",
        arrays = arrays(landing),
        inputs = (0..landing.columns.len()).map(|index| format!("c{index}")).collect::<Vec<_>>().join(", "),
        keys = keys("").join(", "),
        version_name = column(version),
        table = landing.table.quoted(),
        held = matches("r.", &|index| format!("t.{}", column(index))),
        names = names(&landing.columns),
        conflict = conflict(landing, key),
        replaced = replaced(landing, key),
        returned = key.iter().map(|&index| format!("t.{} as c{index}", column(index))).collect::<Vec<_>>().join(", "),
        present = keys("r.").iter().map(|key| format!("{key} is not null")).collect::<Vec<_>>().join(" and "),
        written = matches("r.", &|index| format!("w.c{index}")),
    )
}

fn conflict(landing: &Landing, key: &[usize]) -> String {
    key.iter().map(|&column| quoted(&landing.columns[column].name)).collect::<Vec<_>>().join(", ")
}

/// Returns the assignments of all columns except those of the key.
fn replaced(landing: &Landing, key: &[usize]) -> String {
    let others = landing.columns.iter().enumerate().filter(|(index, _)| !key.contains(index));
    let assignments: Vec<String> =
        others.map(|(_, Column { name, .. })| format!("{0} = excluded.{0}", quoted(name))).collect();
    assignments.join(", ")
}
