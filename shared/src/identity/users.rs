//! Adds and deletes users, changes passwords, and lifts blocks. An action that the audit log records is committed in
//! the same transaction as its entry, so neither exists without the other.

use sqlx::PgConnection;

use super::Identity;
use super::account::{self, Account, Deletion};
use super::denied::Denied;
use super::lockout;
use super::name::UserName;
use super::password::Password;
use crate::contract::Role;
use crate::http::database::in_time;
use crate::http::edge::Origin;
use crate::ledger::audit::{self, Action, NewEntry};

/// Adds an audit log entry which says that `by` did something to `object`. An object is written like `users/ann`.
pub(super) async fn record(
    connection: &mut PgConnection,
    by: &str,
    action: Action,
    object: String,
) -> Result<(), sqlx::Error> {
    let entry = NewEntry { user: by, action, object, detail: serde_json::json!({}) };
    audit::insert(connection, &entry).await.map(drop)
}

/// Returns the name that the audit log uses for a user: `users/ann`.
pub(super) fn object(name: &UserName) -> String {
    format!("users/{}", name.shown())
}

impl Identity {
    /// Adds a user on behalf of `by`. Returns whether the name was free.
    ///
    /// # Errors
    /// The database or hashing failed.
    pub async fn register(&self, name: &UserName, password: Password, by: &str) -> Result<bool, Denied> {
        if in_time(account::is_taken(&self.0.pool, name.key())).await? {
            return Ok(false);
        }
        let hash = self.0.hasher.hash(password).await?;
        let is_added = in_time(async {
            let mut transaction = self.0.pool.begin().await?;
            let is_added = account::insert(&mut *transaction, name, &hash, Role::User).await?;
            if is_added {
                record(&mut transaction, by, Action::Created, object(name)).await?;
            }
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(is_added)
        });
        Ok(is_added.await?)
    }

    /// Changes the caller's own password. Earlier tokens and credentials stop working.
    ///
    /// # Errors
    /// The old password is wrong, the name is blocked, or another request has changed the password in the meantime. A
    /// wrong old password counts as a failed attempt.
    pub async fn change_password(
        &self,
        name: &UserName,
        old: Password,
        new: Password,
        origin: &Origin,
    ) -> Result<(), Denied> {
        let checked = self.check(name, old, None, origin).await?;
        let is_changed = self.set_password(name, Some(&checked), new).await?;
        if is_changed { Ok(()) } else { Err(Denied::WrongPassword) }
    }

    /// Sets a user's password without the old one. Earlier tokens and credentials stop working. Returns whether the
    /// user exists.
    ///
    /// # Errors
    /// The database or hashing failed.
    pub async fn reset_password(&self, name: &UserName, new: Password) -> Result<bool, Denied> {
        self.set_password(name, None, new).await
    }

    async fn set_password(&self, name: &UserName, checked: Option<&Account>, new: Password) -> Result<bool, Denied> {
        let hash = self.0.hasher.hash(new).await?;
        let is_set = in_time(account::set_password(&self.0.pool, name.key(), checked, &hash)).await?;
        self.0.remembered.forget(name.key());
        Ok(is_set)
    }

    /// Deletes a user on behalf of `by`, unless the user is the last admin. If `id` is given, only the account with
    /// that id is deleted, because another user may have registered the name in the meantime.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete(&self, name: &UserName, id: Option<i64>, by: &str) -> Result<Deletion, Denied> {
        let deletion = in_time(async {
            let mut transaction = self.0.pool.begin().await?;
            let deletion = account::delete(&mut transaction, name.key(), id).await?;
            match deletion {
                Deletion::Deleted => {
                    record(&mut transaction, by, Action::Deleted, object(name)).await?;
                    transaction.commit().await?;
                }
                Deletion::NotFound | Deletion::LastAdmin => transaction.rollback().await?,
            }
            Ok::<_, sqlx::Error>(deletion)
        });
        let deletion = deletion.await?;
        self.0.remembered.forget(name.key());
        self.0.remembered_keys.forget_all();
        Ok(deletion)
    }

    /// Lifts a block on behalf of `by`. Returns whether the name was blocked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lift_block(&self, name: &UserName, by: &str) -> Result<bool, Denied> {
        let was_there = in_time(async {
            let mut transaction = self.0.pool.begin().await?;
            let was_there = lockout::lift(&mut *transaction, name.key(), self.0.clock.now_ms()).await?;
            if was_there {
                record(&mut transaction, by, Action::Unblocked, object(name)).await?;
            }
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(was_there)
        });
        let was_there = was_there.await?;
        self.0.remembered.forget(name.key());
        Ok(was_there)
    }
}
