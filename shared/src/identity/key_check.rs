//! Checks, creates and deletes service keys.

use std::sync::Arc;

use super::caller::Caller;
use super::denied::Denied;
use super::keys::{self, KnownKey, ListedKey, NewKey};
use super::service_key::{KeyHash, ServiceKey};
use super::users::record;
use super::{Identity, Inner};
use crate::http::database::{self, in_time, spawn};
use crate::ledger::audit::Action;

/// Returns the name that the audit log uses for a key: `keys/7`.
fn object(id: i64) -> String {
    format!("keys/{id}")
}

impl Identity {
    /// Creates a service key on behalf of `by`. Returns `None` if the key's user does not exist.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_key(&self, new: &NewKey, by: &str) -> Result<Option<(ServiceKey, ListedKey)>, Denied> {
        let key = ServiceKey::generate();
        let added = in_time(async {
            let mut transaction = self.0.pool.begin().await?;
            let added = keys::insert(&mut *transaction, &key, new).await?;
            if let Some(listed) = &added {
                record(&mut transaction, by, Action::Created, object(listed.id)).await?;
            }
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(added)
        });
        let added = added.await?;
        Ok(added.map(|listed| (key, listed)))
    }

    /// Deletes a service key on behalf of `by`. If `user_id` is given, deletes only a key of that user. Returns whether
    /// a key was deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_key(&self, id: i64, user_id: Option<i64>, by: &str) -> Result<bool, Denied> {
        let is_deleted = in_time(async {
            let mut transaction = self.0.pool.begin().await?;
            let is_deleted = keys::delete(&mut *transaction, id, user_id).await?;
            if is_deleted {
                record(&mut transaction, by, Action::Deleted, object(id)).await?;
            }
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(is_deleted)
        });
        let is_deleted = is_deleted.await?;
        self.0.remembered_keys.forget_all();
        Ok(is_deleted)
    }

    /// Returns the caller that a service key acts as.
    pub(super) async fn caller_with_key(&self, key: &ServiceKey) -> Result<Caller, Denied> {
        let hash = key.hash();
        let known = match self.0.remembered_keys.get(&hash) {
            Some(known) => known,
            None => in_time(self.0.read_key(hash)).await?,
        };
        let now_ms = self.0.clock.now_ms();
        if known.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= now_ms) {
            return Err(Denied::InvalidKey);
        }
        self.0.note_use(&known, now_ms);
        Ok(known.caller.clone())
    }
}

impl Inner {
    /// Reads a key from the database and remembers it.
    async fn read_key(&self, hash: KeyHash) -> Result<Arc<KnownKey>, Denied> {
        let remembered = &self.remembered_keys;
        // A key that was valid before is not a guess, so its lookup does not wait behind guesses.
        let _turn = if remembered.has_seen(&hash) {
            None
        } else {
            Some(remembered.permits.acquire().await.map_err(|_closed| Denied::Fault)?)
        };
        // Another request may have read the key in the meantime.
        if let Some(known) = remembered.get(&hash) {
            return Ok(known);
        }
        let read = remembered.begin_read();
        let found = keys::find(&self.pool, &hash).await?;
        remembered.note(hash, read, found.as_ref());
        found.ok_or(Denied::InvalidKey)
    }

    /// Records in the background that a key is in use, at most once a minute.
    fn note_use(&self, known: &KnownKey, now_ms: i64) {
        const MINUTE_MS: i64 = 60_000;
        let minute_ms = now_ms - now_ms.rem_euclid(MINUTE_MS);
        if known.is_first_use(minute_ms) {
            let (pool, id) = (self.pool.clone(), known.id);
            spawn(async move {
                // If the update fails, the database does not show this use. Later uses in the same minute are recorded
                // only after the process has read the key from the database again.
                if let Err(error) = in_time(keys::note_use(&pool, id, minute_ms)).await {
                    database::log(&error);
                }
            });
        }
    }
}
