//! Users: they register, log in, and are blocked for guessing. Who they are is kept in `shared::identity`, which the
//! other functions ask too; here is what they do about it over HTTP.

mod error;
mod fields;
mod lists;
mod passwords;
mod registration;
mod routes;
mod session;
mod settings;
mod whose;

use shared::clock::Clock;
use shared::identity::Identity;
use sqlx::PgPool;

pub use crate::routes::routes;
pub use crate::settings::{Registration, UsersSettings};

/// What the function works with.
#[derive(Clone)]
pub struct Users {
    identity: Identity,
    pool: PgPool,
    clock: Clock,
    settings: UsersSettings,
}

impl Users {
    /// Users of `identity`, which keeps them in `pool`.
    pub fn new(identity: Identity, pool: PgPool, clock: Clock, settings: UsersSettings) -> Self {
        Self { identity, pool, clock, settings }
    }
}
