//! The routes. A handler parses the request, calls the module that does the work, and returns the result.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use ingest::Accepted;
use shared::http::answer::List;
use shared::http::fields::{Fields, NoQuery, PAGE};
use shared::http::lambda;
use shared::identity::{Admin, Identity, anyone, authenticated};
use shared::ledger::audit::Entry;
use users::Users;

use crate::Console;
use crate::activity::{self, StreamActivity};
use crate::dead_letters::{self, DeadLetterItem};
use crate::discard::{DiscardBody, Discarded};
use crate::error::Error;
use crate::follow::{self, FollowedEvent};
use crate::groups::GroupItem;
use crate::replay::ReplayOptions;
use crate::runs::{self, Requested, RunBody, RunItem};
use crate::{audit_log, body, discard, groups, pages, replay};

/// Builds the function's routes and pages for registered users. [`shared::http::edge::serve`] serves them. The pages
/// also call the routes of `ingest` and `users`.
pub fn routes(console: Arc<Console>, users: Users, identity: Identity) -> Router {
    let for_pages = ingest::routes_for_callers(Arc::clone(&console.ingest))
        .merge(users::routes_for_callers(users))
        .merge(guarded().with_state(Arc::clone(&console)));
    let pages = pages::routes(for_pages, &console.ingest, identity.clone());
    guarded().route_layer(from_fn_with_state(identity, authenticated)).with_state(console).merge(pages)
}

/// Builds the function's routes without authentication, for tests of other parts.
pub fn routes_for_anyone(console: Arc<Console>) -> Router {
    guarded().route_layer(from_fn(anyone)).with_state(console)
}

fn guarded() -> Router<Arc<Console>> {
    Router::new()
        .route("/activity", get(get_activity))
        .route("/dead-letters", get(get_dead_letters))
        .route("/dead-letters/groups", get(get_groups))
        .route("/dead-letters/discard", post(discard_dead_letters))
        .route("/dead-letters/replays", get(get_runs).post(create_run))
        .route("/dead-letters/replays/{id}", get(get_run))
        .route("/dead-letters/replays/{id}/cancel", post(cancel_run))
        .route("/audit", get(get_audit))
        .route("/dead-letters/{id}", get(get_dead_letter))
        .route("/dead-letters/{id}/replay", post(replay_dead_letter))
        .route("/follow", get(get_follow))
}

/// The parameters of lists of dead letters.
const LISTED: [&str; 11] =
    ["stream", "topic", "error_code", "reason", "contains", "since", "until", "status", "ids", "after", "limit"];

type App = State<Arc<Console>>;

async fn get_activity(State(console): App, _: Admin, uri: Uri) -> Result<List<StreamActivity>, Error> {
    activity::list(&console, &Fields::from_query(uri.query(), &["minutes"])?).await
}

async fn get_dead_letters(State(console): App, _: Admin, uri: Uri) -> Result<List<DeadLetterItem>, Error> {
    dead_letters::list(&console, &Fields::from_query(uri.query(), &LISTED)?).await
}

async fn get_groups(State(console): App, _: Admin, uri: Uri) -> Result<List<GroupItem>, Error> {
    groups::list(&console, &Fields::from_query(uri.query(), &LISTED)?).await
}

async fn discard_dead_letters(
    State(console): App,
    Admin(caller): Admin,
    _: NoQuery,
    request: Request,
) -> Result<Discarded, Error> {
    discard::discard(&console, &caller, DiscardBody::from_request(request).await?).await
}

async fn get_runs(State(console): App, _: Admin, uri: Uri) -> Result<List<RunItem>, Error> {
    runs::list(&console, &Fields::from_query(uri.query(), &PAGE)?).await
}

async fn create_run(
    State(console): App,
    Admin(caller): Admin,
    _: NoQuery,
    request: Request,
) -> Result<Requested, Error> {
    runs::create(&console, &caller, RunBody::from_request(request).await?).await
}

async fn get_run(State(console): App, _: Admin, Path(id): Path<String>, _: NoQuery) -> Result<RunItem, Error> {
    runs::find(&console, &id).await
}

async fn cancel_run(
    State(console): App,
    Admin(caller): Admin,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<RunItem, Error> {
    runs::cancel(&console, &caller, &id).await
}

async fn get_audit(State(console): App, _: Admin, uri: Uri) -> Result<List<Entry>, Error> {
    audit_log::list(&console, &Fields::from_query(uri.query(), &PAGE)?).await
}

async fn get_dead_letter(
    State(console): App,
    _: Admin,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<DeadLetterItem, Error> {
    dead_letters::find(&console, &id).await
}

async fn replay_dead_letter(
    State(console): App,
    Admin(caller): Admin,
    Path(id): Path<String>,
    request: Request,
) -> Result<Accepted, Error> {
    let options = ReplayOptions::from_request(caller, &request)?;
    let edited = body::receive_optional(request).await?;
    replay::replay(&console, &id, edited.as_deref(), options).await
}

async fn get_follow(State(console): App, _: Admin, request: Request) -> Result<List<FollowedEvent>, Error> {
    let query = Fields::from_query(request.uri().query(), &follow::PARAMETERS)?;
    follow::follow(&console, &query, lambda::deadline(request.extensions())).await
}
