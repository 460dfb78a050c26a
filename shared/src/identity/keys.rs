//! Service keys: the rows of `sluice.keys`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Row as _};

use super::caller::Caller;
use super::grant::Grant;
use super::service_key::{KeyHash, ServiceKey};
use crate::contract::Role;

/// A key, with all data that is needed to handle a request that is sent with it.
#[derive(Debug)]
pub(super) struct KnownKey {
    /// The key's number, which is never reused.
    pub(super) id: i64,
    /// The caller that the key acts as: the key's user, limited to the key's streams.
    pub(super) caller: Caller,
    /// When the key stops working.
    pub(super) expires_at_ms: Option<i64>,
    /// The start of the last minute in which the key was used, as far as this process knows.
    last_used_at_ms: AtomicI64,
}

impl KnownKey {
    /// Notes a use in the minute that begins at `minute_ms`. Returns whether it is the first use in that minute.
    pub(super) fn is_first_use(&self, minute_ms: i64) -> bool {
        self.last_used_at_ms.fetch_max(minute_ms, Ordering::Relaxed) < minute_ms
    }
}

/// A key to add.
#[derive(Debug)]
pub struct NewKey {
    /// The number of the account that the key acts as.
    pub user_id: i64,
    /// The key's name.
    pub name: String,
    /// What the key may do.
    pub grant: Grant,
    /// When the key was created, milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// When the key stops working. `None` if it works until it is deleted.
    pub expires_at_ms: Option<i64>,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The name of the key's user, as it was registered.
    pub user: String,
    /// Its streams, or [`Grant::ALL`].
    pub streams: Vec<String>,
    /// Its first characters.
    pub prefix: String,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// When it stops working.
    pub expires_at_ms: Option<i64>,
    /// The start of the last minute in which it was used.
    pub last_used_at_ms: Option<i64>,
}

/// Finds a key and its user by the key's hash.
pub(super) async fn find(executor: impl PgExecutor<'_>, hash: &KeyHash) -> Result<Option<Arc<KnownKey>>, sqlx::Error> {
    const SELECT: &str = "
        select k.id, k.streams, k.by_admin, k.expires_at_ms, k.last_used_at_ms,
               u.id as user_id, u.name as user_name, u.name_key, u.role
        from sluice.keys k join sluice.users u on u.id = k.user_id
        where k.hash = $1";
    let read = |row: PgRow| {
        let grant = Grant::new(row.try_get("streams")?, row.try_get("by_admin")?);
        let caller = Caller {
            id: row.try_get("user_id")?,
            name: row.try_get("user_name")?,
            key: row.try_get("name_key")?,
            role: Role::named(row.try_get("role")?),
            grant: Some(Arc::new(grant)),
        };
        let last_used_at_ms: Option<i64> = row.try_get("last_used_at_ms")?;
        Ok(Arc::new(KnownKey {
            id: row.try_get("id")?,
            caller,
            expires_at_ms: row.try_get("expires_at_ms")?,
            last_used_at_ms: AtomicI64::new(last_used_at_ms.unwrap_or(i64::MIN)),
        }))
    };
    sqlx::query(SELECT).bind(hash.as_slice()).try_map(read).fetch_optional(executor).await
}

/// Adds a key. Returns `None` if the key's user does not exist.
pub(super) async fn insert(
    executor: impl PgExecutor<'_>,
    key: &ServiceKey,
    new: &NewKey,
) -> Result<Option<ListedKey>, sqlx::Error> {
    const INSERT: &str = r#"
        with added as (
            insert into sluice.keys (user_id, name, hash, prefix, streams, by_admin, created_at_ms, expires_at_ms)
            select u.id, $2, $3, $4, $5, $6, $7, $8 from sluice.users u where u.id = $1 for key share
            returning *
        )
        select k.*, u.name as "user" from added k join sluice.users u on u.id = k.user_id"#;
    sqlx::query(INSERT)
        .bind(new.user_id)
        .bind(&new.name)
        .bind(key.hash().as_slice())
        .bind(key.prefix())
        .bind(new.grant.streams())
        .bind(new.grant.is_by_admin())
        .bind(new.created_at_ms)
        .bind(new.expires_at_ms)
        .try_map(listed)
        .fetch_optional(executor)
        .await
}

/// Lists the keys of one user or of all users, in the order of their creation. The list begins after the key with the
/// number `after`.
///
/// # Errors
/// The database's error.
pub async fn list(
    executor: impl PgExecutor<'_>,
    user_id: Option<i64>,
    after: i64,
    limit: i64,
) -> Result<Vec<ListedKey>, sqlx::Error> {
    // There are two statements, each with its own plan, so that the index on `user_id` is used for a user's few keys.
    let of_user = if user_id.is_some() { "k.user_id = $3" } else { "$3::bigint is null" };
    let select = format!(
        r#"select k.*, u.name as "user" from sluice.keys k join sluice.users u on u.id = k.user_id
           where k.id > $1 and {of_user} order by k.id limit $2"#
    );
    sqlx::query(&select).bind(after).bind(limit).bind(user_id).try_map(listed).fetch_all(executor).await
}

fn listed(row: PgRow) -> Result<ListedKey, sqlx::Error> {
    Ok(ListedKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        user: row.try_get("user")?,
        streams: row.try_get("streams")?,
        prefix: row.try_get("prefix")?,
        created_at_ms: row.try_get("created_at_ms")?,
        expires_at_ms: row.try_get("expires_at_ms")?,
        last_used_at_ms: row.try_get("last_used_at_ms")?,
    })
}

/// Deletes a key. If `user_id` is given, deletes only a key of that user. Returns whether a key was deleted.
pub(super) async fn delete(executor: impl PgExecutor<'_>, id: i64, user_id: Option<i64>) -> Result<bool, sqlx::Error> {
    const DELETE: &str = "delete from sluice.keys where id = $1 and user_id = coalesce($2, user_id)";
    Ok(sqlx::query(DELETE).bind(id).bind(user_id).execute(executor).await?.rows_affected() > 0)
}

/// Records that a key was used in the minute that begins at `minute_ms`, unless another process has done so.
pub(super) async fn note_use(executor: impl PgExecutor<'_>, id: i64, minute_ms: i64) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "
        update sluice.keys set last_used_at_ms = $2
        where id = $1 and (last_used_at_ms is null or last_used_at_ms < $2)";
    sqlx::query(UPDATE).bind(id).bind(minute_ms).execute(executor).await?;
    Ok(())
}
