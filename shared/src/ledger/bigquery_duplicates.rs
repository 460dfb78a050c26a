//! Table `bigquery_duplicates`: events that get no row in BigQuery, because they repeat an earlier event.

use sqlx::PgConnection;

use super::records::{LogPosition, POSITION_ARRAYS, POSITION_COLUMNS, bind_positions};

/// Stores events that repeat other events.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(
    connection: &mut PgConnection,
    duplicates: &[LogPosition<'_>],
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "insert into sluice.bigquery_duplicates ({POSITION_COLUMNS}, seen_at_ms)
         select *, $5 from unnest({POSITION_ARRAYS})"
    );
    bind_positions(sqlx::query(&insert), duplicates.iter().copied()).bind(now_ms).execute(connection).await?;
    Ok(())
}

/// Deletes duplicates that were seen before `before_ms`.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, before_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from sluice.bigquery_duplicates where seen_at_ms < $1")
        .bind(before_ms)
        .execute(connection)
        .await?;
    Ok(())
}
