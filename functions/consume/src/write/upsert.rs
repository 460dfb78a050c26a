//! Mode `upsert`: a row per key, which later events replace. As arrays at any size: ON CONFLICT needs an INSERT.

use std::collections::HashMap;

use shared::contract::{Column, Landing, quoted};
use sqlx::PgConnection;

use super::append::{bind, insert_statement};
use super::rows::{Cell, cells};
use super::{Exceptions, WriteError};
use crate::candidate::Candidate;

pub(super) async fn write(
    connection: &mut PgConnection,
    landing: &Landing,
    key: &[usize],
    slice: &[Candidate<'_>],
) -> Result<Exceptions, WriteError> {
    let last = last_of_each_key(key, slice);
    let statement = statement(landing, key);
    bind(&statement, landing, last.iter().map(|&index| &slice[index])).execute(connection).await?;
    Ok(Exceptions::default())
}

/// A statement takes a key once: the last event wins, in the order of offsets.
fn last_of_each_key(key: &[usize], slice: &[Candidate<'_>]) -> Vec<usize> {
    let mut last: HashMap<Vec<Cell<'_>>, usize> = HashMap::with_capacity(slice.len());
    for (index, candidate) in slice.iter().enumerate() {
        let row: Vec<Cell<'_>> = cells(candidate.cells()).collect();
        last.insert(key.iter().filter_map(|&column| row.get(column).copied()).collect(), index);
    }
    // In one order for all transactions, so that two of them lock rows alike and do not deadlock.
    let mut rows: Vec<_> = last.into_iter().collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, index)| index).collect()
}

fn statement(landing: &Landing, key: &[usize]) -> String {
    let insert = insert_statement(landing);
    let conflict = key.iter().map(|&column| quoted(&landing.columns[column].name)).collect::<Vec<_>>().join(", ");
    let replaced: Vec<String> = landing
        .columns
        .iter()
        .enumerate()
        .filter(|(index, _)| !key.contains(index))
        .map(|(_, Column { name, .. })| format!("{0} = excluded.{0}", quoted(name)))
        .collect();
    if replaced.is_empty() {
        format!("{insert} on conflict ({conflict}) do nothing")
    } else {
        format!("{insert} on conflict ({conflict}) do update set {}", replaced.join(", "))
    }
}
