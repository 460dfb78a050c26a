//! The state that the handlers of pages share.

use std::sync::Arc;

use axum::Router;
use shared::identity::Identity;
use shared::process::clock::Clock;
use sqlx::PgPool;

/// The pages' state.
#[derive(Clone)]
pub(super) struct Pages {
    /// The JSON routes. A request to them must have its `Caller` among its extensions.
    pub(super) api: Router,
    /// Checks names and passwords at sign-in, and sessions afterwards.
    pub(super) identity: Identity,
    /// Connections to the database.
    pub(super) pool: PgPool,
    /// The clock.
    pub(super) clock: Clock,
    /// The streams' names, as `GET /streams` lists them.
    pub(super) streams: Arc<[String]>,
}
