//! Users: who sent a request, and who is blocked after repeated wrong passwords.
//!
//! The path of a request: [`authenticated`] reads the request's `credentials` and compares them with what the process
//! remembers (`remembered`). If the process remembers nothing about them, the database is queried: `account` looks up
//! the user of a token, `keys` looks up a service key, and `check` checks the password of Basic credentials. Before a
//! password is compared (`password`), the attempt is counted (`lockout`). The attempt and its result are published to
//! the topic `login` (`attempt`).
//!
//! `users` adds, changes and deletes users, `key_check` also creates and deletes service keys, and `session` begins and
//! ends the sessions of browsers.

pub mod account;
mod attempt;
mod caller;
mod check;
mod credentials;
mod denied;
mod ended_sessions;
mod first_admin;
mod grant;
mod key_check;
pub mod keys;
pub mod lockout;
pub mod name;
pub mod password;
mod remembered;
mod remembered_keys;
mod service_key;
pub mod session;
mod settings;
mod token;
mod users;

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sqlx::PgPool;

pub use self::attempt::{Relay, Via};
pub use self::caller::{Admin, Caller, anyone};
pub use self::denied::Denied;
pub use self::first_admin::{AdminError, make_admin, random_password, set_admin};
pub use self::grant::Grant;
pub use self::service_key::ServiceKey;
pub use self::settings::IdentitySettings;
pub use self::token::{TokenKeys, Tokens};

use self::account::{Account, Found};
use self::credentials::Credentials;
use self::name::UserName;
use self::password::{Hasher, Password};
use self::remembered::Remembered;
use self::remembered_keys::RememberedKeys;
use self::token::Claims;
pub use crate::contract::Role;
use crate::http::database::in_time;
use crate::http::edge::{Origin, note_user};
use crate::process::clock::Clock;

/// The users. There is one value per process.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    pool: PgPool,
    clock: Clock,
    tokens: Tokens,
    lockout: lockout::Rule,
    hasher: Hasher,
    remembered: Remembered,
    remembered_keys: RememberedKeys,
    /// Publishes login attempts. If no contract describes them, this is `None`, and attempts are not published.
    relay: Option<Relay>,
}

/// The maximum number of passwords hashed in parallel, however many processors there are. Each hash needs 19 MiB and
/// keeps a processor busy.
const MOST_HASHES_AT_ONCE: usize = 4;

impl Identity {
    /// Manages the users in `pool` and publishes attempts through `relay`.
    pub fn new(pool: PgPool, clock: Clock, settings: &IdentitySettings, relay: Option<Relay>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Inner {
            pool,
            clock,
            tokens: Tokens::new(&settings.token_keys, settings.token_for),
            lockout: settings.lockout,
            hasher: Hasher::new(processors.min(MOST_HASHES_AT_ONCE)),
            remembered: Remembered::new(),
            remembered_keys: RememberedKeys::new(),
            relay,
        }))
    }

    /// Identifies the user who sent a request.
    ///
    /// # Errors
    /// The credentials are missing or wrong, or are those of a service key.
    pub async fn authenticate(&self, headers: &HeaderMap, origin: &Origin) -> Result<Caller, Denied> {
        let caller = self.authenticate_or_key(headers, origin).await?;
        caller.must_be_user()?;
        Ok(caller)
    }

    /// Identifies the user who sent a request, or whose service key was used to send it.
    ///
    /// # Errors
    /// The credentials are missing or wrong.
    pub async fn authenticate_or_key(&self, headers: &HeaderMap, origin: &Origin) -> Result<Caller, Denied> {
        let account = match Credentials::from_headers(headers)? {
            Credentials::Bearer(token) => self.bearer(token).await?.0,
            Credentials::Basic { name, password } => self.basic(&name, password, origin).await?,
            Credentials::Key(key) => return self.caller_with_key(&key).await,
        };
        Ok(account.caller())
    }

    /// Returns the user of this name, as the caller of a request.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user(&self, name: &UserName) -> Result<Option<Caller>, Denied> {
        Ok(self.read(name.key()).await?.account.map(|account| account.caller()))
    }

    /// Issues a token for a correct password. Returns the token, and the number of seconds for which it is valid.
    ///
    /// # Errors
    /// The password is wrong, or the name is blocked.
    pub async fn log_in(&self, name: &UserName, password: Password, origin: &Origin) -> Result<(String, i64), Denied> {
        let account = self.check(name, password, Some(Via::Login), origin).await?;
        let token = self.0.tokens.issue(&account, None, &self.0.clock).map_err(Denied::Token)?;
        Ok((token, self.0.tokens.valid_for_seconds()))
    }

    /// Returns the account that a token was issued for, and the token's claims.
    async fn bearer(&self, token: &str) -> Result<(Arc<Account>, Arc<Claims>), Denied> {
        let claims = self.0.tokens.read(token, &self.0.clock).ok_or(Denied::InvalidToken)?;
        if let Some(account) = self.0.remembered.account(&claims.sub).filter(|account| claims.are_current(account)) {
            return Ok((account, claims));
        }
        // Either the account is not remembered, or the token does not match the remembered account, which may be out of
        // date.
        let Found { account, .. } = self.read(&claims.sub).await?;
        let account = account.filter(|account| claims.are_current(account)).ok_or(Denied::InvalidToken)?;
        Ok((account, claims))
    }

    async fn basic(&self, name: &UserName, password: Password, origin: &Origin) -> Result<Arc<Account>, Denied> {
        let remembered = &self.0.remembered;
        if let Some(account) = remembered.account(name.key())
            && !self.is_blocked(account.blocked_until_ms)
            && remembered.is_verified(&account, &password)
        {
            return Ok(account);
        }
        // From here on, an unknown name takes the same path as the name of a user, so that response times do not reveal
        // which names exist.
        let Found { account, blocked_until_ms } = self.read(name.key()).await?;
        if self.is_blocked(blocked_until_ms) {
            return self.check(name, password, Some(Via::Basic), origin).await;
        }
        // If concurrent requests have the same credentials, one of them compares the password, and the others wait.
        match (remembered.verify(name.key(), account.as_deref(), &password).await, account) {
            (Ok(()), Some(account)) => Ok(account),
            (Ok(()), None) => Err(Denied::WrongPassword),
            (Err(guard), account) => {
                let checked = self.check(name, password.clone(), Some(Via::Basic), origin).await?;
                if account.is_some() {
                    guard.note();
                }
                if let Err(guard) = remembered.verify(name.key(), Some(&checked), &password).await {
                    guard.note();
                }
                Ok(checked)
            }
        }
    }

    fn is_blocked(&self, until_ms: Option<i64>) -> bool {
        until_ms.is_some_and(|until_ms| until_ms > self.0.clock.now_ms())
    }

    /// Reads the account and the block of a name, and remembers the account.
    async fn read(&self, name_key: &str) -> Result<Found, Denied> {
        let (before, read_at) = (self.0.remembered.before(), Instant::now());
        let found = in_time(account::find(&self.0.pool, name_key)).await?;
        if let Some(account) = &found.account {
            self.0.remembered.remember(before, read_at, account);
        }
        Ok(found)
    }
}

/// Middleware that lets only authenticated users through, as [`Caller`]s.
pub async fn authenticated(State(identity): State<Identity>, request: Request, next: Next) -> Response {
    let origin = request.extensions().get().cloned().unwrap_or_default();
    let caller = identity.authenticate(request.headers(), &origin).await;
    run_as(caller, request, next).await
}

/// Middleware that lets authenticated users and service keys through, as [`Caller`]s.
pub async fn authenticated_or_key(State(identity): State<Identity>, request: Request, next: Next) -> Response {
    let origin = request.extensions().get().cloned().unwrap_or_default();
    let caller = identity.authenticate_or_key(request.headers(), &origin).await;
    run_as(caller, request, next).await
}

async fn run_as(caller: Result<Caller, Denied>, mut request: Request, next: Next) -> Response {
    match caller {
        Ok(caller) => {
            note_user(&caller.name);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => denied.into_response(),
    }
}
