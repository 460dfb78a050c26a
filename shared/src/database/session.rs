//! The settings of every session.
//!
//! `migrate` stores the settings with the functions' role, so that a function's sessions have them from the start, even
//! behind RDS Proxy. Sessions of other roles, such as the role in the `DATABASE_URL` of `./local/up`, apply the
//! settings after connecting.

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, Row as _};

/// The settings' names and values, as PostgreSQL spells them.
pub const SESSION_SETTINGS: [(&str, &str); 5] = [
    // Lambda may freeze a function in the middle of a transaction. The transaction's locks must not hold up the retry
    // of the batch.
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("statement_timeout", "2min"),
    // A Lambda sandbox that ended without closing its connections leaves them open on the server.
    ("idle_session_timeout", "5min"),
    // By default, a schema with the same name as the role would be searched first.
    ("search_path", "public"),
];

/// Applies the settings that the session does not have yet. This takes one round trip if the session already has all
/// settings.
///
/// # Errors
/// The server does not answer.
pub(super) async fn settle(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let wanted: Vec<String> = SESSION_SETTINGS.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    let other = format!(
        "select name from (values {}) as wanted (name, value) where current_setting(name) <> value",
        wanted.join(", ")
    );
    let other = connection.fetch_all(other.as_str()).await?;
    let names: Vec<&str> = other.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let set = SESSION_SETTINGS.iter().filter(|(name, _)| names.contains(name));
    let set: Vec<String> = set.map(|(name, value)| format!("set {name} = '{value}'")).collect();
    if !set.is_empty() {
        connection.execute(set.join("; ").as_str()).await?;
    }
    Ok(())
}
