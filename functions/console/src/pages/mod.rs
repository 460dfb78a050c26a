//! The console's pages. Through them, people use the JSON routes. The pages work without scripts: a view is a GET
//! request, and an action is a form. After an action, the next page shows the result.
//!
//! A handler calls the JSON routes (`api`) and returns a [`layout::Page`], a [`layout::SeeOther`] or an
//! [`api::Refusal`]. The middleware in `session` lets only admins through, and renders what a handler returns.
//!
//! - `overview`, `stream`: all streams, and one stream (both use `activity` and `stalls`)
//! - `letters`, `letter`: all dead letters, and one dead letter
//! - `letter_action`, `bulk`, `runs`: actions on one letter, actions on all letters that match a filter, and runs of
//!   replays
//! - `follow`, `users`, `audit`: the other sections
//! - `sign_in`: the sign-in form
//!
//! These modules share `state` (the handlers' state), `layout` (the document around a page), `assets` (style, script,
//! icon), `chart`, `payload`, `event_place`, `letter_filter`, `problem_notice`, `form`, `query` and `wording`.

mod activity;
mod api;
mod assets;
mod audit;
mod bulk;
mod chart;
mod event_place;
mod follow;
mod form;
mod layout;
mod letter;
mod letter_action;
mod letter_filter;
mod letters;
mod overview;
mod payload;
mod problem_notice;
mod query;
mod runs;
mod session;
mod sign_in;
mod stalls;
mod state;
mod stream;
mod users;
mod wording;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use ingest::Ingest;
use shared::http::problem::Problem;
use shared::identity::Identity;

use self::api::Refusal;
use self::state::Pages;

/// Builds the routes of the pages. `api` contains the JSON routes that the pages call. The pages add the caller to each
/// request that they send to these routes.
pub(crate) fn routes(api: Router, ingest: &Ingest, identity: Identity) -> Router {
    let streams = ingest.registry.contracts().map(|contract| contract.stream.clone()).collect();
    let pages = Pages { api, identity, pool: ingest.pool.clone(), clock: ingest.clock.clone(), streams };
    let guarded = Router::new()
        .route("/console", get(overview::show))
        .route("/console/streams/{stream}", get(stream::show).post(stream::send))
        .route("/console/dead-letters", get(letters::show))
        .route("/console/dead-letters/replay", get(bulk::ask_replay).post(bulk::replay))
        .route("/console/dead-letters/discard", get(bulk::ask_discard).post(bulk::discard))
        .route("/console/dead-letters/replays", get(runs::list))
        .route("/console/dead-letters/replays/{id}", get(runs::show).post(runs::cancel))
        .route("/console/dead-letters/{id}", get(letter::show).post(letter_action::act))
        .route("/console/follow", get(follow::show))
        .route("/console/users", get(users::show).post(users::act))
        .route("/console/users/delete", get(users::ask_delete))
        .route("/console/audit", get(audit::show))
        .route("/console/{*path}", get(no_page).post(no_page))
        .route_layer(from_fn_with_state(pages.clone(), session::signed_in));
    let open = Router::new()
        .route("/console/sign-in", get(session::show_form).post(session::sign_in))
        .route("/console/sign-out", post(session::sign_out))
        .route("/console/assets/{file}", get(assets::serve));
    guarded.merge(open).with_state(pages)
}

async fn no_page() -> Refusal {
    Problem::not_found("The console has no such page.").into()
}
