//! Accounts: the rows of `sluice.users`.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};

use super::caller::Caller;
use super::name::UserName;
use crate::contract::Role;

/// A user, with all data that is needed to handle a request of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's number, which is never reused.
    pub id: i64,
    /// The name as it was registered.
    pub name: String,
    /// The name in the form in which names are compared.
    pub key: String,
    /// What the user may do.
    pub role: Role,
    /// The password's hash, a PHC string.
    pub(super) password_hash: String,
    /// The number of password changes.
    pub(super) generation: i32,
    /// When the user's latest block ends or ended.
    pub(super) blocked_until_ms: Option<i64>,
    /// The numbers of the sessions that the user has signed out of. Sessions whose tokens have all expired may be
    /// missing.
    pub(super) ended_sessions: Vec<i64>,
}

impl Account {
    /// Returns the user as the caller of a request.
    pub(super) fn caller(&self) -> Caller {
        Caller { id: self.id, name: self.name.clone(), key: self.key.clone(), role: self.role, grant: None }
    }
}

/// An account in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name as it was registered.
    pub name: String,
    /// The name in the form in which names are compared. Lists are sorted by it.
    pub key: String,
    /// What the user may do.
    pub role: Role,
    /// When the user registered, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When the user's latest block ends or ended.
    pub blocked_until_ms: Option<i64>,
}

/// What the database has about a name, whether or not it belongs to a user.
#[derive(Debug)]
pub(super) struct Found {
    /// The user of that name.
    pub(super) account: Option<Arc<Account>>,
    /// When the name's latest block ends or ended.
    pub(super) blocked_until_ms: Option<i64>,
}

/// Reads the account, the ended sessions and the block of a name in one statement, so that response times do not reveal
/// whether the user exists.
pub(super) async fn find(executor: impl PgExecutor<'_>, key: &str) -> Result<Found, sqlx::Error> {
    const SELECT: &str = "
        select u.id, u.name, u.name_key, u.role, u.password_hash, u.generation, b.blocked_until_ms,
               array(select e.session_id from sluice.ended_sessions e where e.user_id = u.id) as ended_sessions
        from (values ($1)) as n (name_key) left join sluice.users u using (name_key)
             left join sluice.blocks b using (name_key)";
    let read = |row: PgRow| {
        let blocked_until_ms = row.try_get("blocked_until_ms")?;
        let Some(id) = row.try_get("id")? else {
            return Ok(Found { account: None, blocked_until_ms });
        };
        let account = Account {
            id,
            name: row.try_get("name")?,
            key: row.try_get("name_key")?,
            role: Role::named(row.try_get("role")?),
            password_hash: row.try_get("password_hash")?,
            generation: row.try_get("generation")?,
            blocked_until_ms,
            ended_sessions: row.try_get("ended_sessions")?,
        };
        Ok(Found { account: Some(Arc::new(account)), blocked_until_ms })
    };
    sqlx::query(SELECT).bind(key).try_map(read).fetch_one(executor).await
}

/// Adds an account. Returns whether the name was free.
pub(super) async fn insert(
    executor: impl PgExecutor<'_>,
    name: &UserName,
    hash: &str,
    role: Role,
) -> Result<bool, sqlx::Error> {
    const INSERT: &str = "
        insert into sluice.users (name, name_key, password_hash, role) values ($1, $2, $3, $4)
        on conflict (name_key) do nothing";
    let query = sqlx::query(INSERT).bind(name.shown()).bind(name.key()).bind(hash).bind(role.name());
    Ok(query.execute(executor).await?.rows_affected() > 0)
}

/// Creates an admin with this password. If the account exists, makes it an admin and changes its password; its name
/// stays as it was registered.
pub(super) async fn upsert_admin(
    executor: impl PgExecutor<'_>,
    name: &UserName,
    hash: &str,
) -> Result<(), sqlx::Error> {
    const UPSERT: &str = "
        insert into sluice.users as u (name, name_key, password_hash, role) values ($1, $2, $3, 'admin')
        on conflict (name_key) do update
        set role = 'admin', password_hash = excluded.password_hash, generation = u.generation + 1";
    sqlx::query(UPSERT).bind(name.shown()).bind(name.key()).bind(hash).execute(executor).await?;
    Ok(())
}

/// Returns whether a name is taken.
///
/// # Errors
/// The database's error.
pub async fn is_taken(pool: &PgPool, key: &str) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar("select exists (select from sluice.users where name_key = $1)");
    query.bind(key).fetch_one(pool).await
}

/// Lists the accounts after the name `after`, in the order of names.
///
/// # Errors
/// The database's error.
pub async fn list(pool: &PgPool, after: &str, limit: i64) -> Result<Vec<Listed>, sqlx::Error> {
    const SELECT: &str = r#"
        select u.name, u.name_key, u.role, b.blocked_until_ms,
               (extract(epoch from u.created_at) * 1000)::bigint as created_ms
        from sluice.users u left join sluice.blocks b using (name_key)
        where name_key collate "C" > $1 order by name_key collate "C" limit $2"#;
    let read = |row: PgRow| {
        Ok(Listed {
            name: row.try_get("name")?,
            key: row.try_get("name_key")?,
            role: Role::named(row.try_get("role")?),
            created_ms: row.try_get("created_ms")?,
            blocked_until_ms: row.try_get("blocked_until_ms")?,
        })
    };
    sqlx::query(SELECT).bind(after).bind(limit).try_map(read).fetch_all(pool).await
}

/// The result of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// The account is deleted.
    Deleted,
    /// There is no such account.
    NotFound,
    /// The account belongs to the only admin and is not deleted.
    LastAdmin,
}

/// Deletes the account of this name. If `id` is given, deletes the account only if `id` is its number. If the result is
/// [`Deletion::LastAdmin`], the caller must roll back.
pub(super) async fn delete(connection: &mut PgConnection, key: &str, id: Option<i64>) -> Result<Deletion, sqlx::Error> {
    // Locks all admins, always in the same order. If two admins delete each other at the same time, the second deletion
    // waits for the first, and then sees that only one admin is left.
    const ADMINS: &str = "select name_key from sluice.users where role = 'admin' order by id for update";
    const DELETE: &str = "delete from sluice.users where name_key = $1 and id = coalesce($2, id)";
    let admins: Vec<String> = sqlx::query_scalar(ADMINS).fetch_all(&mut *connection).await?;
    let deleted = sqlx::query(DELETE).bind(key).bind(id).execute(connection).await?.rows_affected();
    Ok(match (deleted, admins.as_slice()) {
        (0, _) => Deletion::NotFound,
        (_, [only]) if only == key => Deletion::LastAdmin,
        _ => Deletion::Deleted,
    })
}

/// Changes the password of the account of this name, which also invalidates the account's tokens. If `checked` is
/// given, the password is changed only if the name still belongs to the account `checked`, and only if no other request
/// has changed the password since `checked` was read. Returns whether the password was changed.
pub(super) async fn set_password(
    pool: &PgPool,
    key: &str,
    checked: Option<&Account>,
    hash: &str,
) -> Result<bool, sqlx::Error> {
    const UPDATE: &str = "
        update sluice.users set password_hash = $4, generation = generation + 1
        where name_key = $1 and id = coalesce($2, id) and generation = coalesce($3, generation)";
    let (id, generation) = (checked.map(|account| account.id), checked.map(|account| account.generation));
    let query = sqlx::query(UPDATE).bind(key).bind(id).bind(generation).bind(hash);
    Ok(query.execute(pool).await?.rows_affected() > 0)
}

/// Replaces the hash of an account's password, unless the password has been changed in the meantime.
pub(super) async fn rehash(connection: &mut PgConnection, account: &Account, hash: &str) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "update sluice.users set password_hash = $3 where id = $1 and password_hash = $2";
    sqlx::query(UPDATE).bind(account.id).bind(&account.password_hash).bind(hash).execute(connection).await?;
    Ok(())
}
