//! What a process remembers of users, so that a request costs neither a turn to the database nor a slow hash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use quick_cache::sync::{Cache, PlaceholderGuard};
use sha2::Sha256;

use super::account::Account;
use super::password::Password;

/// How long what was read of an account is held for true. Together with the time that reading takes it stays below the
/// 5 s after which a deleted user is unknown everywhere.
const FRESH: Duration = Duration::from_secs(4);

/// How many accounts, and how many passwords, are remembered at most.
const MOST: usize = 10_000;

/// Accounts that were read a moment ago, and credentials that were right.
pub(super) struct Known {
    accounts: Cache<String, Seen>,
    /// Which changes this process has made: what was read before one is not remembered after it.
    changes: AtomicU64,
    /// Credentials that were right, under a key that dies with the process.
    verified: Cache<Digest, ()>,
    key: [u8; 64],
}

#[derive(Clone)]
struct Seen {
    account: Arc<Account>,
    read_at: Instant,
}

/// What is kept of credentials that were right: nothing that helps to guess them without the process's key, and
/// nothing that is right for another hash.
type Digest = [u8; 32];

/// A number of changes, at a time before a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before(u64);

impl Known {
    pub(super) fn new() -> Self {
        // As long as a block of the hash, which takes it as it is.
        let key = std::array::from_fn(|_| rand::random());
        Self { accounts: Cache::new(MOST), changes: AtomicU64::new(0), verified: Cache::new(MOST), key }
    }

    /// The account of a name, if it was read a moment ago.
    pub(super) fn account(&self, name_key: &str) -> Option<Arc<Account>> {
        let seen = self.accounts.get(name_key)?;
        (seen.read_at.elapsed() < FRESH).then_some(seen.account)
    }

    /// To be asked for before an account is read.
    pub(super) fn before(&self) -> Before {
        Before(self.changes.load(Ordering::SeqCst))
    }

    /// Remembers an account that was read after `before` at `read_at`.
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

    /// Whether this password was right for the account, with the hash that it has.
    pub(super) fn is_verified(&self, account: &Account, password: &Password) -> bool {
        self.verified.get(&self.digest(&account.key, Some(account), password)).is_some()
    }

    /// As [`Self::is_verified`]; if it is not known, and nobody else is finding it out, the guard to note it with. A
    /// name without an account has its guards too, which are never noted: who asks cannot tell by waiting.
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

/// The right to say that a password is right. Dropped unused, it passes to the next who waits for it.
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
    /// Notes that it is.
    pub(super) fn note(self) {
        // Fails only if the entry was evicted meanwhile.
        let _kept = self.0.insert(());
    }
}
