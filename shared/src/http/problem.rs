//! Errors as HTTP users see them: problem details, RFC 9457.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::problem_type::ProblemType;

/// The number of seconds after which a caller may retry if the broker or the database failed.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A problem of some type. Its text is for the caller and never contains an internal cause.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: ProblemType,
    status: StatusCode,
    detail: String,
    retry_after_seconds: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    /// Creates a problem.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { kind, status: kind.status, detail: detail.into(), retry_after_seconds: None, members: Map::new() }
    }

    /// `500` with constant text. The cause belongs in the log.
    pub fn internal() -> Self {
        Self::new(
            ProblemType::INTERNAL,
            "Something went wrong on our side. The log has the cause under this `request_id`.",
        )
    }

    /// `503` with `Retry-After`, when `what` (the broker, the database) does not answer.
    pub fn unavailable(what: &'static str) -> Self {
        Self::new(ProblemType::UNAVAILABLE, format!("The {what} did not answer in time. Try again."))
            .retry_after(RETRY_AFTER_SECONDS)
    }

    /// `404`: something does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::NOT_FOUND, detail)
    }

    /// `405`: the route does not support the method.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::METHOD_NOT_ALLOWED, detail)
    }

    /// `400`: the request, its query or a header is malformed.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::MALFORMED, detail)
    }

    /// `413`: the request exceeds a limit.
    pub fn too_large(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::TOO_LARGE, detail)
    }

    /// `415`: the route does not support the media type.
    pub fn unsupported_media_type(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::MEDIA_TYPE, detail)
    }

    /// `415`: the route does not support the content coding.
    pub fn unsupported_coding(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::CONTENT_ENCODING, detail)
    }

    /// Replaces the status, which is otherwise that of the problem's type.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After` (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the stable code.
    pub fn code(&self) -> &'static str {
        self.kind.code
    }

    /// Renders the body, with this request id.
    pub fn body(&self, request_id: &str) -> Value {
        let mut fields = self.members.clone();
        fields.insert("type".to_owned(), json!(self.kind.uri()));
        fields.insert("title".to_owned(), json!(self.kind.title));
        fields.insert("status".to_owned(), json!(self.status.as_u16()));
        fields.insert("detail".to_owned(), json!(self.detail));
        fields.insert("request_id".to_owned(), json!(request_id));
        Value::Object(fields)
    }

    /// Renders the response, with this request id.
    pub fn respond(&self, request_id: &str) -> Response {
        let body = self.body(request_id).to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Passes the problem on to the outermost layer. That layer knows the request id, and renders the problem.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
