//! Finds the place in the payload that a rejection is about.

use shared::contract::{Contract, Landing};
use shared::ledger::Rejection;
use sqlx::PgConnection;

use crate::candidate::Candidate;
use crate::write::rows::cells;

/// SQLSTATE `string_data_right_truncation`, which PostgreSQL reports without naming the column.
const TOO_LONG: &str = "22001";

/// Completes rejections with the column, if PostgreSQL did not name it, and with the JSON pointer to the value that
/// fills the column. Each rejection comes with the index of its candidate.
pub(super) async fn locate(
    connection: &mut PgConnection,
    contract: &Contract,
    candidates: &[Candidate<'_>],
    rejected: &mut [(usize, Rejection)],
) -> Result<(), sqlx::Error> {
    let Some(landing) = contract.landing() else {
        return Ok(());
    };
    let is_unnamed = |rejection: &Rejection| rejection.code == TOO_LONG && rejection.column.is_none();
    if rejected.iter().any(|(_, rejection)| is_unnamed(rejection)) {
        let limits = character_limits(connection, landing).await?;
        for (index, rejection) in rejected.iter_mut().filter(|(_, rejection)| is_unnamed(rejection)) {
            name_column(rejection, landing, &limits, &candidates[*index]);
        }
    }
    for (_, rejection) in rejected {
        let is_landing = rejection.table.as_deref() == Some(landing.table.name.as_str());
        let column = landing.columns.iter().find(|column| rejection.column.as_deref() == Some(column.name.as_str()));
        if let Some(column) = column.filter(|_| is_landing && rejection.pointer.is_none()) {
            rejection.pointer = column.from.pointer().map(|pointer| pointer.as_str().into());
        }
    }
    Ok(())
}

/// Returns a table's columns of type `varchar(n)` and `char(n)`, each with n.
async fn character_limits(connection: &mut PgConnection, landing: &Landing) -> Result<Vec<(String, i32)>, sqlx::Error> {
    // For both types, `atttypmod` is n + 4.
    const SELECT: &str = "
        select attname::text, atttypmod - 4 from pg_catalog.pg_attribute
        where attrelid = $1::text::regclass and atttypid in ('character varying'::regtype, 'character'::regtype) and atttypmod > 4";
    sqlx::query_as(SELECT).bind(landing.table.quoted()).fetch_all(connection).await
}

/// Names the first column whose text is longer than its limit. There is no such column if a trigger lengthened the
/// text.
fn name_column(rejection: &mut Rejection, landing: &Landing, limits: &[(String, i32)], candidate: &Candidate<'_>) {
    let too_long = landing.columns.iter().zip(cells(candidate.cells())).find_map(|(column, cell)| {
        let (_, limit) = limits.iter().find(|(name, _)| *name == column.name)?;
        let text = std::str::from_utf8(cell.get(4..)?).ok()?;
        (text.chars().count() > usize::try_from(*limit).ok()?).then_some((column, limit))
    });
    if let Some((column, limit)) = too_long {
        let (column, table) = (&column.name, &landing.table);
        rejection.reason = format!(
            "a text is longer than the {limit} characters of column {column} of table {}.{}",
            table.schema, table.name
        );
        rejection.column = Some(column.as_str().into());
        rejection.table = Some(table.name.as_str().into());
    }
}
