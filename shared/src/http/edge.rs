//! The outermost layer: every request gets an id and a line in the log, every failure becomes a problem (RFC 9457) -
//! ours, the router's own, and panics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use lambda_http::request::RequestContext;
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::Problem;

/// Where a request comes from. Every request behind [`serve`] carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The caller's address, as API Gateway or the socket has it: a header that says so could be the caller's own.
    pub source_ip: Option<String>,
    /// The request's id.
    pub request_id: String,
}

/// The address at a socket's other end, for where no API Gateway tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Routes as a service: with an answer where there is none, and the edge around all.
pub fn serve(routes: Router) -> Router {
    routes.fallback(no_route).layer(from_fn(edge))
}

async fn no_route() -> Problem {
    Problem::not_found("There is no such route.")
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers what `next` answers, with the request's id, and failures as problems.
async fn edge(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let origin = Origin { source_ip: source_ip(&request), request_id: id.clone() };
    request.extensions_mut().insert(origin);
    let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
    let started = Instant::now();
    let answer = async {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_panic| {
            tracing::error!("the handler panicked");
            Problem::internal().into_response()
        });
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(status = response.status().as_u16(), elapsed_ms, "answered");
        response
    };
    let mut response = with_problem(answer.instrument(span).await, &id);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The caller's own id, else API Gateway's, else a new one.
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

/// Writes the problem that a handler left; one of our own in place of what the router answers by itself.
fn with_problem(mut response: Response, id: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if response.status().is_client_error() || response.status().is_server_error() => {
            of_status(response.status())
        }
        None => return response,
    };
    let mut written = problem.respond(id);
    for (name, value) in response.headers() {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            written.headers_mut().append(name, value.clone());
        }
    }
    written
}

fn of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("There is no such route."),
        StatusCode::METHOD_NOT_ALLOWED => Problem::method_not_allowed("Allow lists the methods that this route takes."),
        status if status.is_client_error() => {
            Problem::new(status, "malformed", "The request is malformed", "The request cannot be read.")
        }
        _ => Problem::internal(),
    }
}
