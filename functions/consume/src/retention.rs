//! Erases data that is past its retention, at each schedule event. Each statement changes few rows, and therefore holds
//! few locks.

use std::time::Instant;

use shared::ledger::{dead_letters, login_attempts};
use shared::start::Retention;
use sqlx::PgConnection;

/// The maximum number of rows that one statement changes, and therefore locks.
const STEP: i64 = 1_000;
/// The maximum number of statements that one invocation runs for each table. The next invocation continues.
const MAX_STEPS: u64 = 50;

#[derive(Debug, Clone, Copy)]
enum Table {
    DeadLetters,
    LoginAttempts,
}

/// Erases data that is past its retention. After `until`, at most one further statement begins for each table.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    retention: Retention,
    until: Instant,
) -> Result<(), sqlx::Error> {
    let Retention { dead_letters_days, login_attempts_days } = retention;
    let dead_letters = erase(connection, Table::DeadLetters, dead_letters_days, until).await?;
    let login_attempts = erase(connection, Table::LoginAttempts, login_attempts_days, until).await?;
    if dead_letters + login_attempts > 0 {
        tracing::info!(dead_letters, login_attempts, "erased data that is past its retention");
    }
    Ok(())
}

/// Erases data that is older than `days`, step by step. Login attempts are deleted. Dead letters lose their key,
/// headers and payload. Returns how many login attempts were deleted, or how many dead letters were erased.
async fn erase(
    connection: &mut PgConnection,
    table: Table,
    days: Option<i32>,
    until: Instant,
) -> Result<u64, sqlx::Error> {
    let Some(days) = days else { return Ok(0) };
    let mut rows = 0;
    for _ in 0..MAX_STEPS {
        let of_step = match table {
            Table::DeadLetters => dead_letters::expire(connection, days, STEP).await?,
            Table::LoginAttempts => login_attempts::forget(connection, days, STEP).await?,
        };
        rows += of_step;
        if of_step < STEP.unsigned_abs() || Instant::now() >= until {
            break;
        }
    }
    Ok(rows)
}
