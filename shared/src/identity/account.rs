//! Accounts: the users' rows.

use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};

use super::caller::Role;
use super::name::UserName;

/// A user, with what is to know of them at a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number, which no other account ever has.
    pub id: i64,
    /// The name as it was registered.
    pub name: String,
    /// The name as it is compared.
    pub key: String,
    /// What the user may do.
    pub role: Role,
    /// The password's hash, a PHC string.
    pub(super) password_hash: String,
    /// How often the password was changed.
    pub(super) generation: i32,
    /// Until when the user is blocked, or was.
    pub(super) blocked_until_ms: Option<i64>,
}

/// An account as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name as it was registered.
    pub name: String,
    /// The name as it is compared: the list's order.
    pub key: String,
    /// What the user may do.
    pub role: Role,
    /// When the user registered, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Until when the user is blocked, or was.
    pub blocked_until_ms: Option<i64>,
}

/// What is under a name, be it anybody's or not.
#[derive(Debug)]
pub(super) struct Found {
    /// Whose it is.
    pub(super) account: Option<Arc<Account>>,
    /// Until when the name is blocked, or was.
    pub(super) blocked_until_ms: Option<i64>,
}

/// What is under a name: by one statement, so that the time it takes does not tell whether there is such a user.
pub(super) async fn find(executor: impl PgExecutor<'_>, key: &str) -> Result<Found, sqlx::Error> {
    const SELECT: &str = "
        select u.id, u.name, u.name_key, u.role, u.password_hash, u.generation, b.blocked_until_ms
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
        };
        Ok(Found { account: Some(Arc::new(account)), blocked_until_ms })
    };
    sqlx::query(SELECT).bind(key).try_map(read).fetch_one(executor).await
}

/// Adds an account. Answers whether the name was free.
pub(super) async fn insert(pool: &PgPool, name: &UserName, hash: &str, role: Role) -> Result<bool, sqlx::Error> {
    const INSERT: &str = "
        insert into sluice.users (name, name_key, password_hash, role) values ($1, $2, $3, $4)
        on conflict (name_key) do nothing";
    let query = sqlx::query(INSERT).bind(name.shown()).bind(name.key()).bind(hash).bind(role.name());
    Ok(query.execute(pool).await?.rows_affected() > 0)
}

/// Makes an account an admin's, with this password. One that is there keeps its name.
pub(super) async fn upsert_admin(pool: &PgPool, name: &UserName, hash: &str) -> Result<(), sqlx::Error> {
    const UPSERT: &str = "
        insert into sluice.users as u (name, name_key, password_hash, role) values ($1, $2, $3, 'admin')
        on conflict (name_key) do update
        set role = 'admin', password_hash = excluded.password_hash, generation = u.generation + 1";
    sqlx::query(UPSERT).bind(name.shown()).bind(name.key()).bind(hash).execute(pool).await?;
    Ok(())
}

/// Whether a name is taken.
pub(super) async fn is_taken(pool: &PgPool, key: &str) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar("select exists (select from sluice.users where name_key = $1)");
    query.bind(key).fetch_one(pool).await
}

/// Lists accounts by name, those after `after`.
///
/// # Errors
/// What PostgreSQL answers.
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

/// Deletes an account of this name, the one of this number if there is one given. Answers whether it was there.
pub(super) async fn delete(pool: &PgPool, key: &str, id: Option<i64>) -> Result<bool, sqlx::Error> {
    let query = sqlx::query("delete from sluice.users where name_key = $1 and id = coalesce($2, id)");
    Ok(query.bind(key).bind(id).execute(pool).await?.rows_affected() > 0)
}

/// Changes the password of an account of this name: all that was given out under the old one is void. If `checked` is
/// given, only of that very account and while its password is still the one that was checked. Answers whether it was.
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

/// Replaces the hash of a password that has not changed meanwhile.
pub(super) async fn rehash(connection: &mut PgConnection, account: &Account, hash: &str) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "update sluice.users set password_hash = $3 where id = $1 and password_hash = $2";
    sqlx::query(UPDATE).bind(account.id).bind(&account.password_hash).bind(hash).execute(connection).await?;
    Ok(())
}
