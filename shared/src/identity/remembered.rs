//! What a process remembers about users, so that a request needs neither a database round trip nor a slow hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use quick_cache::sync::{Cache, PlaceholderGuard};
use sha2::Sha256;

use super::account::Account;
use super::password::Password;

/// The time for which a remembered account or service key is used. A deleted user must be gone everywhere within 5 s.
pub(super) const FRESH: Duration = Duration::from_secs(4);

/// The maximum number of accounts that are remembered. The same limit applies to passwords, and to service keys.
pub(super) const CAPACITY: usize = 10_000;

/// Recently read accounts, and credentials that were correct.
pub(super) struct Remembered {
    accounts: Cache<String, Seen>,
    /// Counts the changes that this process has made to accounts. If the count rises while an account is being read,
    /// the account is not remembered.
    changes: AtomicU64,
    /// Digests of correct credentials. They are computed with `key`, which exists only in this process.
    verified: Cache<Digest, ()>,
    key: [u8; 64],
}

#[derive(Clone)]
struct Seen {
    account: Arc<Account>,
    read_at: Instant,
}

/// A digest of correct credentials. Without the process's key, a digest is useless for guessing the password. The
/// digest covers the account's password hash, so it no longer matches once the password has changed.
type Digest = [u8; 32];

/// The number of changes before a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before(u64);

impl Remembered {
    pub(super) fn new() -> Self {
        // The key is as long as a block of the hash function, so it needs neither padding nor hashing.
        let key = std::array::from_fn(|_| rand::random());
        Self { accounts: Cache::new(CAPACITY), changes: AtomicU64::new(0), verified: Cache::new(CAPACITY), key }
    }

    /// Returns the account of a name, if it was read recently.
    pub(super) fn account(&self, name_key: &str) -> Option<Arc<Account>> {
        let seen = self.accounts.get(name_key)?;
        (seen.read_at.elapsed() < FRESH).then_some(seen.account)
    }

    /// Returns the number of changes so far. Call this before reading an account.
    pub(super) fn before(&self) -> Before {
        Before(self.changes.load(Ordering::SeqCst))
    }

    /// Remembers an account that was read at `read_at`, unless this process has changed an account since `before`.
    pub(super) fn remember(&self, before: Before, read_at: Instant, account: &Arc<Account>) {
        let seen = Seen { account: Arc::clone(account), read_at };
        self.accounts.insert(account.key.clone(), seen);
        if self.before() != before {
            self.accounts.remove(&account.key);
        }
    }

    /// Forgets an account that this process has changed.
    pub(super) fn forget(&self, name_key: &str) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.accounts.remove(name_key);
    }

    /// Returns whether this password is known to be correct for the account's current hash.
    pub(super) fn is_verified(&self, account: &Account, password: &Password) -> bool {
        self.verified.get(&self.digest(&account.key, Some(account), password)).is_some()
    }

    /// Like [`Self::is_verified`], but waits if another request is checking the same credentials. If the password is
    /// not known to be correct, the error is a guard: the caller must check the password, and may use the guard to
    /// record that the password is correct. Names without an account have guards, too, so that waiting times do not
    /// reveal which names have accounts.
    pub(super) async fn verify(
        &self,
        name_key: &str,
        account: Option<&Account>,
        password: &Password,
    ) -> Result<(), Guard<'_>> {
        self.verified.get_value_or_guard_async(&self.digest(name_key, account, password)).await.map_err(Guard)
    }

    fn digest(&self, name_key: &str, account: Option<&Account>, password: &Password) -> Digest {
        let mut hmac = Hmac::<Sha256>::new(&self.key.into());
        // No account has the number 0.
        let (id, hash) = account.map_or((0, ""), |account| (account.id, account.password_hash.as_str()));
        for part in [name_key.as_bytes(), &id.to_be_bytes(), hash.as_bytes(), password.bytes()] {
            hmac.update(&part.len().to_be_bytes());
            hmac.update(part);
        }
        hmac.finalize().into_bytes().into()
    }
}

/// The right to record a password as correct. If the guard is dropped unused, the next waiting request gets the right.
pub(super) struct Guard<'k>(
    PlaceholderGuard<
        'k,
        Digest,
        (),
        quick_cache::UnitWeighter,
        quick_cache::DefaultHashBuilder,
        quick_cache::sync::DefaultLifecycle<Digest, ()>,
    >,
);

impl Guard<'_> {
    /// Records the password as correct.
    pub(super) fn note(self) {
        // This fails only if the entry was evicted in the meantime.
        let _kept = self.0.insert(());
    }
}
