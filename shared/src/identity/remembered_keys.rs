//! What a process remembers about service keys, so that a request with a service key needs no database round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::keys::KnownKey;
use super::remembered::{CAPACITY, FRESH};
use super::service_key::KeyHash;

/// Keys that were found in the database. Guesses that are not keys are not remembered, so they cannot evict keys.
pub(super) struct RememberedKeys {
    seen: Cache<KeyHash, Seen>,
    /// Counts the keys and users that this process has deleted. Keys that were read before a deletion are read again.
    deletions: AtomicU64,
    /// The right to look up a key that this process has not seen before. It is granted to one request at a time, so
    /// that guessed keys with correct checksums occupy at most one connection.
    pub(super) permits: Semaphore,
}

#[derive(Clone)]
struct Seen {
    key: Arc<KnownKey>,
    read: Read,
}

/// When a key was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    at: Instant,
    deletions: u64,
}

impl RememberedKeys {
    pub(super) fn new() -> Self {
        Self { seen: Cache::new(CAPACITY), deletions: AtomicU64::new(0), permits: Semaphore::new(1) }
    }

    /// Returns a key that was read recently.
    pub(super) fn get(&self, hash: &KeyHash) -> Option<Arc<KnownKey>> {
        let Seen { key, read } = self.seen.get(hash)?;
        let is_fresh = read.at.elapsed() < FRESH && read.deletions == self.deletions.load(Ordering::SeqCst);
        is_fresh.then_some(key)
    }

    /// Returns whether the key was found before, however long ago.
    pub(super) fn has_seen(&self, hash: &KeyHash) -> bool {
        self.seen.contains_key(hash)
    }

    /// Begins a read. Call this before querying the database.
    pub(super) fn begin_read(&self) -> Read {
        Read { at: Instant::now(), deletions: self.deletions.load(Ordering::SeqCst) }
    }

    /// Remembers the result of a read.
    pub(super) fn note(&self, hash: KeyHash, read: Read, found: Option<&Arc<KnownKey>>) {
        match found {
            Some(key) => self.seen.insert(hash, Seen { key: Arc::clone(key), read }),
            None => {
                self.seen.remove(&hash);
            }
        }
    }

    /// Makes the process read every key again. Call this after deleting a key, or a user with keys.
    pub(super) fn forget_all(&self) {
        self.deletions.fetch_add(1, Ordering::SeqCst);
    }
}
