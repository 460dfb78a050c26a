//! Table `login_attempts`: attempts to log in. The stream `login` lands in this table. This file deletes rows whose
//! retention is over.

use sqlx::PgConnection;

/// Deletes attempts that are older than the given number of days: at most `limit` attempts, the oldest first. Returns
/// how many were deleted.
///
/// # Errors
/// PostgreSQL's error.
pub async fn forget(connection: &mut PgConnection, days: i32, limit: i64) -> Result<u64, sqlx::Error> {
    // The table has no key, so rows are identified by their physical location.
    const DELETE: &str = "
        delete from sluice.login_attempts
        where ctid = any (array(
            select ctid from sluice.login_attempts where at < now() - make_interval(days => $1) order by at limit $2
        ))";
    Ok(sqlx::query(DELETE).bind(days).bind(limit).execute(connection).await?.rows_affected())
}
