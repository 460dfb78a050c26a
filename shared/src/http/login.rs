//! Keeps the database login valid across requests, although passwords change, and requests from waiting for a database that
//! cannot be reached.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::breaker::Breaker;
use crate::database::Login;

/// Wraps routes so that the database login is renewed before a request if it is due, and after a failed request if the
/// database refused it. The next request then uses the new login.
pub fn logged_in(routes: Router, login: Login) -> Router {
    let breaker = Breaker::new(login.clone());
    routes.layer(from_fn_with_state((login, breaker), renewed))
}

async fn renewed(State((login, breaker)): State<(Login, Breaker)>, request: Request, next: Next) -> Response {
    login.renew_if_due().await;
    let response = breaker.watch(next.run(request)).await;
    // A server that does not answer refuses no login either, and asking it takes seconds.
    if response.status().is_server_error() && !breaker.is_open() {
        login.renew_if_refused().await;
    }
    response
}
