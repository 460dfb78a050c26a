//! Table `audit`: who replayed, discarded, unblocked, deleted or created what.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Something was created.
    Created,
    /// Something was deleted.
    Deleted,
    /// Dead letters were replayed.
    Replayed,
    /// A run of replays was cancelled.
    Cancelled,
    /// Dead letters were discarded.
    Discarded,
    /// A user's block was lifted.
    Unblocked,
}

impl Action {
    const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Deleted => "deleted",
            Self::Replayed => "replayed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
            Self::Unblocked => "unblocked",
        }
    }
}

/// An entry to be stored.
#[derive(Debug, Clone)]
pub struct NewEntry<'a> {
    /// Who did something.
    pub user: &'a str,
    /// What they did.
    pub action: Action,
    /// The object of the action, as a path: `dead-letters/17`, `users/ann`.
    pub object: String,
    /// Further facts, as an object. It contains no password, key or payload.
    pub detail: Value,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its id, which is also its cursor.
    pub id: i64,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub user: String,
    /// What they did.
    pub action: String,
    /// The object of the action.
    pub object: String,
    /// Further facts.
    pub detail: Value,
}

/// Stores an entry. Returns its id.
///
/// # Errors
/// PostgreSQL's error.
pub async fn insert(executor: impl PgExecutor<'_>, entry: &NewEntry<'_>) -> Result<i64, sqlx::Error> {
    const INSERT: &str =
        r#"insert into sluice.audit ("user", action, object, detail) values ($1, $2, $3, $4) returning id"#;
    let NewEntry { user, action, object, detail } = entry;
    let insert = sqlx::query_scalar(INSERT).bind(user).bind(action.name()).bind(object).bind(detail);
    insert.fetch_one(executor).await
}

/// Updates the number of dead letters that an entry is about. The letters are discarded in several transactions, so
/// their number is not known when the entry is stored.
///
/// # Errors
/// PostgreSQL's error.
pub async fn set_count(executor: impl PgExecutor<'_>, id: i64, count: u64) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "update sluice.audit set detail = detail || jsonb_build_object('count', $2) where id = $1";
    sqlx::query(UPDATE).bind(id).bind(count.cast_signed()).execute(executor).await?;
    Ok(())
}

/// Lists at most `limit` entries with an id less than `before`, newest first.
///
/// # Errors
/// PostgreSQL's error.
pub async fn list(executor: impl PgExecutor<'_>, before: i64, limit: i64) -> Result<Vec<Entry>, sqlx::Error> {
    const SELECT: &str = r#"
        select id, (extract(epoch from at) * 1000)::bigint as at_ms, "user", action, object, detail
        from sluice.audit where id < $1 order by id desc limit $2"#;
    let entry = |row: PgRow| {
        Ok(Entry {
            id: row.try_get("id")?,
            at: Timestamp::from_millisecond(row.try_get("at_ms")?).unwrap_or_default(),
            user: row.try_get("user")?,
            action: row.try_get("action")?,
            object: row.try_get("object")?,
            detail: row.try_get("detail")?,
        })
    };
    sqlx::query(SELECT).bind(before).bind(limit).try_map(entry).fetch_all(executor).await
}
