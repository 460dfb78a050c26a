//! Users: who a request comes from, and who is blocked for guessing.
//!
//! A request's way: [`authenticated`] → its `credentials` → what the process remembers (`known`) or, where it does not,
//! the database: `account` for a token, a `check` of the password for Basic credentials. A check is counted
//! (`lockout`) before the password is compared (`password`), and told (`attempt`) to the topic `login`.

pub mod account;
mod attempt;
mod caller;
mod check;
mod credentials;
mod denied;
mod known;
pub mod lockout;
pub mod name;
pub mod password;
mod settings;
mod token;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sqlx::PgPool;

pub use self::attempt::{Relay, Via};
pub use self::caller::{Admin, Caller, Role, anyone};
pub use self::denied::Denied;
pub use self::settings::IdentitySettings;
pub use self::token::{TokenKeys, Tokens};

use self::account::{Account, Found};
use self::credentials::Credentials;
use self::known::Known;
use self::name::UserName;
use self::password::{Hasher, Password};
use crate::clock::Clock;
use crate::http::database::in_time;
use crate::http::edge::Origin;

/// Who users are. One for a process.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    pool: PgPool,
    clock: Clock,
    tokens: Tokens,
    lockout: lockout::Rule,
    hasher: Hasher,
    known: Known,
    /// None: no contract speaks of login attempts, and nobody is told of them.
    relay: Option<Relay>,
}

/// More at once would not be quicker: argon2 keeps a processor busy. Nor is there memory for many: 19 MiB each.
const MOST_HASHES_AT_ONCE: usize = 4;

impl Identity {
    /// Users of `pool`; attempts are told through `relay`.
    pub fn new(pool: PgPool, clock: Clock, settings: &IdentitySettings, relay: Option<Relay>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            pool,
            clock,
            tokens: Tokens::new(&settings.token_keys, settings.token_for),
            lockout: settings.lockout,
            hasher: Hasher::new(processors.min(MOST_HASHES_AT_ONCE)),
            known: Known::new(),
            relay,
        }))
    }

    /// The user whom a request comes from.
    ///
    /// # Errors
    /// It does not say, or what it says does not hold.
    pub async fn authenticate(&self, headers: &HeaderMap, origin: &Origin) -> Result<Caller, Denied> {
        let account = match Credentials::of(headers)? {
            Credentials::Bearer(token) => self.bearer(&token).await?,
            Credentials::Basic { name, password } => self.basic(&name, password, origin).await?,
        };
        Ok(Caller { id: account.id, name: account.name.clone(), key: account.key.clone(), role: account.role })
    }

    /// A token for whoever knows the password, and for how many seconds it is valid.
    ///
    /// # Errors
    /// The password is wrong, or the name blocked.
    pub async fn log_in(&self, name: &UserName, password: Password, origin: &Origin) -> Result<(String, i64), Denied> {
        let account = self.check(name, password, Some(Via::Login), origin).await?;
        let token = self.0.tokens.give(&account, &self.0.clock).map_err(Denied::Token)?;
        Ok((token, self.0.tokens.valid_for_seconds()))
    }

    /// Adds a user. Answers whether the name was free.
    ///
    /// # Errors
    /// The database, or hashing, does not do its part.
    pub async fn register(&self, name: &UserName, password: Password) -> Result<bool, Denied> {
        if in_time(account::is_taken(&self.0.pool, name.key())).await? {
            return Ok(false);
        }
        let hash = self.0.hasher.hash(password).await?;
        Ok(in_time(account::insert(&self.0.pool, name, &hash, Role::User)).await?)
    }

    /// Changes the caller's own password. Tokens and credentials from before are void.
    ///
    /// # Errors
    /// `old` is wrong, which counts as a failed attempt, or another change made it wrong meanwhile; or the name is
    /// blocked.
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

    /// Gives a user another password, whatever the old one is. Tokens and credentials from before are void. Answers
    /// whether there is such a user.
    ///
    /// # Errors
    /// The database, or hashing, does not do its part.
    pub async fn reset_password(&self, name: &UserName, new: Password) -> Result<bool, Denied> {
        self.set_password(name, None, new).await
    }

    async fn set_password(&self, name: &UserName, checked: Option<&Account>, new: Password) -> Result<bool, Denied> {
        let hash = self.0.hasher.hash(new).await?;
        let is_set = in_time(account::set_password(&self.0.pool, name.key(), checked, &hash)).await?;
        self.0.known.forget(name.key());
        Ok(is_set)
    }

    /// Deletes a user; if `id` is given, the one whose number it is: a name may have been registered anew. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// The database does not do its part.
    pub async fn delete(&self, name: &UserName, id: Option<i64>) -> Result<bool, Denied> {
        let was_there = in_time(account::delete(&self.0.pool, name.key(), id)).await?;
        self.0.known.forget(name.key());
        Ok(was_there)
    }

    /// Lifts a block. Answers whether there was one.
    ///
    /// # Errors
    /// The database does not do its part.
    pub async fn lift_block(&self, name: &UserName) -> Result<bool, Denied> {
        let was_there = in_time(lockout::lift(&self.0.pool, name.key(), self.0.clock.now_ms())).await?;
        self.0.known.forget(name.key());
        Ok(was_there)
    }

    async fn bearer(&self, token: &str) -> Result<Arc<Account>, Denied> {
        let claims = self.0.tokens.read(token, &self.0.clock).ok_or(Denied::InvalidToken)?;
        let is_whose = |account: &Account| account.id == claims.uid && account.generation == claims.generation;
        if let Some(account) = self.0.known.account(&claims.sub).filter(|account| is_whose(account)) {
            return Ok(account);
        }
        // Not known, or known from before a change: a token may be younger than what is remembered.
        let Found { account, .. } = self.read(&claims.sub).await?;
        account.filter(|account| is_whose(account)).ok_or(Denied::InvalidToken)
    }

    async fn basic(&self, name: &UserName, password: Password, origin: &Origin) -> Result<Arc<Account>, Denied> {
        let known = &self.0.known;
        if let Some(account) = known.account(name.key())
            && !self.is_blocked(account.blocked_until_ms)
            && known.is_verified(&account, &password)
        {
            return Ok(account);
        }
        // From here on unknown names go the same way as users': else time would tell them apart.
        let Found { account, blocked_until_ms } = self.read(name.key()).await?;
        if self.is_blocked(blocked_until_ms) {
            return self.check(name, password, Some(Via::Basic), origin).await;
        }
        // Of those who come at once with the same, one is checked.
        match (known.verify(name.key(), account.as_deref(), &password).await, account) {
            (Ok(()), Some(account)) => Ok(account),
            (Ok(()), None) => Err(Denied::WrongPassword),
            (Err(guard), account) => {
                let checked = self.check(name, password.clone(), Some(Via::Basic), origin).await?;
                if account.is_some() {
                    guard.note();
                }
                if let Err(guard) = known.verify(name.key(), Some(&checked), &password).await {
                    guard.note();
                }
                Ok(checked)
            }
        }
    }

    fn is_blocked(&self, until_ms: Option<i64>) -> bool {
        until_ms.is_some_and(|until_ms| until_ms > self.0.clock.now_ms())
    }

    /// Reads what is under a name, and remembers the account.
    async fn read(&self, name_key: &str) -> Result<Found, Denied> {
        let (before, read_at) = (self.0.known.before(), Instant::now());
        let found = in_time(account::find(&self.0.pool, name_key)).await?;
        if let Some(account) = &found.account {
            self.0.known.remember(before, read_at, account);
        }
        Ok(found)
    }
}

/// Makes a user an admin, with this password; adds the user, if there is none of this name. For those who have the
/// database's address.
///
/// # Errors
/// The database, or hashing, does not do its part.
pub async fn make_admin(pool: &PgPool, name: &UserName, password: Password) -> Result<(), Denied> {
    let hash = Hasher::new(1).hash(password).await?;
    Ok(account::upsert_admin(pool, name, &hash).await?)
}

/// Lets users through, as [`Caller`]s, and nobody else.
pub async fn authenticated(State(identity): State<Identity>, mut request: Request, next: Next) -> Response {
    let origin = request.extensions().get().cloned().unwrap_or_default();
    match identity.authenticate(request.headers(), &origin).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => denied.into_response(),
    }
}
