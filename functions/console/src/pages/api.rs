//! Calls the JSON routes for a page, within the process. A page's request passes through the same handlers as any other
//! request, so the same role checks apply, and the same audit entries are written.

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::http::body::receive;
use shared::http::edge::Origin;
use shared::http::lambda;
use shared::http::problem::Problem;
use shared::identity::Caller;
use tower::ServiceExt as _;

/// The maximum size of a response in bytes. Lambda's own limit is 6 MiB.
const MOST_BYTES: usize = 8 * 1_024 * 1_024;

/// The maximum length of a path with its query, in bytes. [`axum::http::Uri`] holds at most 65,534 bytes.
const MOST_PATH_BYTES: usize = 65_000;

/// The JSON routes, for one signed-in user and one request.
#[derive(Debug, Clone)]
pub(super) struct Api {
    routes: Router,
    extensions: Extensions,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// A route's refusal of a request, with the problem that the route returned.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// The problem type's code, for the log.
    pub(super) code: &'static str,
    /// The problem as JSON, as the route returns it to any caller.
    pub(super) body: Value,
}

impl Refusal {
    /// Wraps a problem.
    pub(super) fn new(problem: &Problem, request_id: &str) -> Self {
        Self { status: problem.status(), code: problem.code(), body: problem.body(request_id) }
    }

    /// Returns what went wrong, in one or two sentences.
    pub(super) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    /// Replaces a hint for callers of the JSON route by a hint for people who use the page.
    pub(super) fn reworded(mut self, hint: &str, on_page: &str) -> Self {
        self.body["detail"] = self.detail().replace(hint, on_page).into();
        self
    }

    /// Returns the errors that the problem lists, as pairs of a JSON pointer and a detail.
    pub(super) fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().into_iter().flatten();
        errors.filter_map(|error| Some((error["pointer"].as_str()?, error["detail"].as_str()?))).collect()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(&problem, "")
    }
}

impl Api {
    /// Creates an `Api` that calls `routes` on behalf of a caller. `of_request` are the extensions of the caller's
    /// request.
    pub(super) fn new(routes: Router, caller: Caller, of_request: &Extensions) -> Self {
        let mut extensions = Extensions::new();
        extensions.insert(of_request.get::<Origin>().cloned().unwrap_or_default());
        lambda::copy_deadline(of_request, &mut extensions);
        extensions.insert(caller);
        Self { routes, extensions }
    }

    /// Sends a GET request. `path` includes the query.
    ///
    /// # Errors
    /// The route refuses the request.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refusal> {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    /// Sends a POST request with a JSON body.
    ///
    /// # Errors
    /// The route refuses the request.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Refusal> {
        self.send(Method::POST, path, &[], Body::from(body.to_string())).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The route refuses the request.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Result<T, Refusal> {
        let origin = self.extensions.get::<Origin>().cloned().unwrap_or_default();
        let internal = || Refusal::new(&Problem::internal(), &origin.request_id);
        if path.len() > MOST_PATH_BYTES {
            return Err(Problem::malformed("A value in the address or in the form is too long.").into());
        }
        let mut request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body).map_err(|error| {
            tracing::error!(%error, "a page built a malformed request");
            internal()
        })?;
        *request.extensions_mut() = self.extensions.clone();
        let Ok(mut response) = self.routes.clone().oneshot(request).await;
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            return Err(Refusal::new(&problem, &origin.request_id));
        }
        let status = response.status();
        let bytes = receive(response.into_body(), MOST_BYTES).await.map_err(|_| internal())?;
        // `204 No Content` has no body. The missing body is read as null.
        let text = if bytes.is_empty() { &b"null"[..] } else { &bytes[..] };
        match serde_json::from_slice(text) {
            Ok(answer) if status.is_success() => Ok(answer),
            Ok(_) => Err(Refusal { status, ..internal() }),
            Err(error) => {
                tracing::error!(%status, %error, path, "a page cannot read a route's answer");
                Err(internal())
            }
        }
    }
}
