//! Creates an admin without the help of another admin. A new installation gets its first admin in this way.

use serde_json::json;
use sqlx::PgPool;

use super::account;
use super::denied::Denied;
use super::name::{UserName, WrongName};
use super::password::{Blocklist, Hasher, Password, WrongPassword};
use super::users::object;
use crate::contract::Role;
use crate::ledger::audit::{self, Action, NewEntry};

/// Why no admin was created.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The name breaks a rule.
    #[error("the admin's name {0}")]
    Name(#[from] WrongName),
    /// The password breaks a rule.
    #[error("the admin's password {0}")]
    Password(#[from] WrongPassword),
    /// The database or hashing failed.
    #[error("the admin was not created: {0}")]
    Failed(#[from] Denied),
}

/// Gives a user the role of an admin and a new password, and creates the user if the name is free. The audit log
/// attributes the change to `by`.
///
/// # Errors
/// The name or the password is refused, or the database fails.
pub async fn set_admin(
    pool: &PgPool,
    name: &str,
    password: &str,
    blocklist: Blocklist,
    by: &str,
) -> Result<(), AdminError> {
    let wrong_for_new = UserName::parse(name).err();
    let name = UserName::parse_existing(name)?;
    let password = Password::new(password, &name, blocklist)?;
    if let Some(wrong) = wrong_for_new
        && !account::is_taken(pool, name.key()).await.map_err(Denied::from)?
    {
        return Err(wrong.into());
    }
    let hash = Hasher::new(1).hash(password).await.map_err(Denied::from)?;
    let mut transaction = pool.begin().await.map_err(Denied::from)?;
    account::upsert_admin(&mut *transaction, &name, &hash).await.map_err(Denied::from)?;
    let entry = NewEntry {
        user: by,
        action: Action::Created,
        object: object(&name),
        detail: json!({"role": Role::Admin.name()}),
    };
    audit::insert(&mut *transaction, &entry).await.map_err(Denied::from)?;
    Ok(transaction.commit().await.map_err(Denied::from)?)
}

/// Gives a user the role of an admin and this password, and creates the user if the name is free. Does not check the
/// rules for passwords, and writes nothing to the audit log.
///
/// # Errors
/// The database or hashing failed.
pub async fn make_admin(pool: &PgPool, name: &UserName, password: Password) -> Result<(), Denied> {
    let hash = Hasher::new(1).hash(password).await?;
    Ok(account::upsert_admin(pool, name, &hash).await?)
}

/// Generates a random password of 24 letters and digits (142 bits).
pub fn random_password() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const CHARACTERS: usize = 24;
    (0..CHARACTERS).map(|_| char::from(ALPHABET[rand::random_range(..ALPHABET.len())])).collect()
}
