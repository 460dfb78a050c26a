//! What the handlers share.

use std::sync::Arc;

use shared::contract::Registry;
use shared::identity::Identity;
use shared::process::clock::Clock;
use sqlx::PgPool;

use crate::settings::UsersSettings;

/// The function's state.
#[derive(Clone)]
pub struct Users {
    pub(crate) identity: Identity,
    pub(crate) pool: PgPool,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Clock,
    pub(crate) settings: UsersSettings,
}

impl Users {
    /// Creates the state. `pool` connects to the database that `identity` uses. `registry` has the streams to which a
    /// key can give access.
    pub fn new(
        identity: Identity,
        pool: PgPool,
        registry: Arc<Registry>,
        clock: Clock,
        settings: UsersSettings,
    ) -> Self {
        Self { identity, pool, registry, clock, settings }
    }
}
