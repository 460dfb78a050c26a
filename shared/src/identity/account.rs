//! Accounts: the users' rows.

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

/// The account of a name.
pub(super) async fn find(executor: impl PgExecutor<'_>, key: &str) -> Result<Option<Account>, sqlx::Error> {
    const SELECT: &str = "
        select u.id, u.name, u.name_key, u.role, u.password_hash, u.generation, b.blocked_until_ms
        from sluice.users u left join sluice.blocks b using (name_key) where name_key = $1";
    let read = |row: PgRow| {
        Ok(Account {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            key: row.try_get("name_key")?,
            role: Role::named(row.try_get("role")?),
            password_hash: row.try_get("password_hash")?,
            generation: row.try_get("generation")?,
            blocked_until_ms: row.try_get("blocked_until_ms")?,
        })
    };
    sqlx::query(SELECT).bind(key).try_map(read).fetch_optional(executor).await
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

/// Deletes an account. Answers whether there was one.
pub(super) async fn delete(pool: &PgPool, key: &str) -> Result<bool, sqlx::Error> {
    let query = sqlx::query("delete from sluice.users where name_key = $1");
    Ok(query.bind(key).execute(pool).await?.rows_affected() > 0)
}

/// Changes a password: all that was given out under the old one is void. Answers whether there is such a user.
pub(super) async fn set_password(pool: &PgPool, key: &str, hash: &str) -> Result<bool, sqlx::Error> {
    const UPDATE: &str = "update sluice.users set password_hash = $2, generation = generation + 1 where name_key = $1";
    Ok(sqlx::query(UPDATE).bind(key).bind(hash).execute(pool).await?.rows_affected() > 0)
}

/// Replaces the hash of a password that has not changed meanwhile.
pub(super) async fn rehash(connection: &mut PgConnection, account: &Account, hash: &str) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "update sluice.users set password_hash = $3 where id = $1 and password_hash = $2";
    sqlx::query(UPDATE).bind(account.id).bind(&account.password_hash).bind(hash).execute(connection).await?;
    Ok(())
}
