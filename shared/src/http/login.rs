//! Keeps the database login valid across requests, although passwords change. Also keeps requests from waiting for a
//! database that cannot be reached.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;

use super::breaker::Breaker;
use crate::database::Login;

/// Wraps routes so that [`LoggedIn`] runs each request.
pub fn logged_in(routes: Router, login: Login) -> Router {
    routes.layer(from_fn_with_state(LoggedIn::new(login), run_logged_in))
}

async fn run_logged_in(State(logged_in): State<LoggedIn>, request: Request, next: Next) -> Response {
    logged_in.run(next.run(request)).await
}

/// Runs one function's requests. The database login is renewed before a request if a renewal is due, and after a failed
/// request if the database refuses the login. The failed request is not repeated: the new login is for later requests.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    login: Login,
    breaker: Breaker,
}

impl LoggedIn {
    /// Creates the state of a function that has this login.
    pub fn new(login: Login) -> Self {
        Self { breaker: Breaker::new(login.clone()), login }
    }

    /// Runs a request.
    pub async fn run(&self, request: impl Future<Output = Response>) -> Response {
        self.login.renew_if_due().await;
        let response = self.breaker.clone().watch(request).await;
        // A database that does not answer has not refused the login, and a trial login would take seconds.
        if response.status().is_server_error() && !self.breaker.is_open() {
            // The renewal is boxed: otherwise, the future of every request would reserve memory for the renewal.
            Box::pin(self.login.renew_if_refused()).await;
        }
        response
    }
}
