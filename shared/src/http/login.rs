//! Keeps the database login valid across requests, although passwords change.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use crate::database::Login;

/// Wraps routes so that the database login is renewed before a request if it is due, and after a failed request if the
/// database refused it. The next request then uses the new login.
pub fn logged_in(routes: Router, login: Login) -> Router {
    routes.layer(from_fn_with_state(login, renewed))
}

async fn renewed(State(login): State<Login>, request: Request, next: Next) -> Response {
    login.renew_if_due().await;
    let response = next.run(request).await;
    if response.status().is_server_error() {
        login.renew_if_refused().await;
    }
    response
}
