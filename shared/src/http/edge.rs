//! The outermost layer: every request gets an id and a line in the log, and every failure becomes a problem (RFC 9457),
//! including the router's own failures and panics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Redirect, Response};
use futures::FutureExt as _;
use lambda_http::request::RequestContext;
use tracing::Instrument as _;
use tracing::field::Empty;
use uuid::Uuid;

use super::cross_site;
use super::page::Rendered;
use super::path::dot_segments;
use super::problem::Problem;
use super::trace_context;
use crate::contract::trace_id;

// With `panic = "abort"`, a panic would end the process instead of the request.
#[cfg(not(panic = "unwind"))]
compile_error!("the outermost layer catches panics, so the profile must not set panic = \"abort\"");

/// The caller's address and the request's id. [`answer`] adds them to every request as an extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The caller's address according to API Gateway or the socket. Headers are not trusted: callers can set them.
    pub source_ip: Option<String>,
    /// The request's id.
    pub request_id: String,
}

/// The address of the socket's peer. Without API Gateway, this is the caller's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Wraps routes into a service, with a fallback for unknown paths and [`answer`] around everything.
///
/// All of this is a single layer, because for every request, axum copies everything below each layer.
pub fn serve(routes: Router) -> Router {
    with_fallback(routes).layer(from_fn(edge))
}

/// Gives `routes` a fallback for unknown paths. The caller must run each request with [`answer`].
pub fn with_fallback(routes: Router) -> Router {
    routes.fallback(no_route)
}

/// Answers a request that matches no route. Every function redirects `/console/` to the console: an API Gateway route
/// cannot end in a slash, so such a request may reach whichever function serves the route `$default`.
async fn no_route(method: Method, uri: Uri) -> Response {
    match uri.path() {
        "/console/" if method.is_safe() => {
            let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            Redirect::permanent(&format!("/console{query}")).into_response()
        }
        _ => problem_for(StatusCode::NOT_FOUND).into_response(),
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

async fn edge(request: Request, next: Next) -> Response {
    answer(request, |request| next.run(request)).await
}

/// Runs a request with `run`, adds the request's id to the response, and turns failures into problems.
pub async fn answer<F: Future<Output = Response>>(mut request: Request, run: impl FnOnce(Request) -> F) -> Response {
    let id = request_id(&request);
    let origin = Origin { source_ip: source_ip(&request), request_id: id.clone() };
    request.extensions_mut().insert(origin);
    let trace_id = trace_context::traceparent(request.headers()).and_then(|value| trace_id(value.as_bytes()));
    let (method, path) = (request.method(), request.uri().path());
    let span = tracing::info_span!("request", id, %method, path, trace_id, user = Empty, stream = Empty);
    let started = Instant::now();
    let answer = async {
        let mut response = match refusal(&request) {
            Some(problem) => problem.into_response(),
            None => AssertUnwindSafe(run(request)).catch_unwind().await.unwrap_or_else(|_panic| {
                tracing::error!("the handler panicked");
                Problem::internal().into_response()
            }),
        };
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let problem = problem(&mut response);
        let rendered = response.extensions().get::<Rendered>().and_then(|rendered| rendered.code);
        let (status, code) = (response.status().as_u16(), problem.as_ref().map(Problem::code).or(rendered));
        tracing::info!(status, code, elapsed_ms, "answered");
        match problem {
            Some(problem) => with_problem(&response, &problem, &id),
            None => response,
        }
    };
    let mut response = answer.instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Returns a problem if the request is refused before any route handles it.
fn refusal(request: &Request) -> Option<Problem> {
    dot_segments(request.uri()).or_else(|| cross_site::change(request))
}

/// Returns the request id that the caller sent. If the caller sent no legal id, returns API Gateway's id. Without API
/// Gateway, returns a new id.
fn request_id(request: &Request) -> String {
    const MOST_CHARACTERS: usize = 128;
    let is_legal = |id: &&str| (1..=MOST_CHARACTERS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_legal);
    let gateways = || match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    given.or_else(gateways).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

fn source_ip(request: &Request) -> Option<String> {
    match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(context)) => context.http.source_ip.clone(),
        _ => request.extensions().get::<Peer>().map(|Peer(address)| address.to_string()),
    }
}

/// Names the user in the log lines of the current request.
pub fn note_user(user: &str) {
    tracing::Span::current().record("user", user);
}

/// Names the stream in the log lines of the current request.
pub fn note_stream(stream: &str) {
    tracing::Span::current().record("stream", stream);
}

/// Removes the problem that a handler attached to the response, and returns it. For the router's own error response,
/// returns a new problem. Returns `None` if the response stays as it is: a success, or an error that is a page.
fn problem(response: &mut Response) -> Option<Problem> {
    let status = response.status();
    let is_page = response.extensions().get::<Rendered>().is_some();
    let is_error = status.is_client_error() || status.is_server_error();
    let of_router = || (is_error && !is_page).then(|| problem_for(status));
    response.extensions_mut().remove::<Problem>().or_else(of_router)
}

/// Renders a problem with the headers of the response that the problem replaces.
fn with_problem(response: &Response, problem: &Problem, id: &str) -> Response {
    let mut written = problem.respond(id);
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            written.headers_mut().append(name, value.clone());
        }
    }
    written
}

fn problem_for(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("This route does not exist. `/openapi.json` lists the routes."),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed(
            "This route does not support the method. The `Allow` header lists the supported methods.",
        ),
        status if status.is_client_error() => {
            Problem::malformed("The request could not be parsed.").with_status(status)
        }
        _ => Problem::internal(),
    }
}
