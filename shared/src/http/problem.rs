//! Errors as HTTP users see them: problem details, RFC 9457.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// After how long a caller may try again what the broker or the database did not do.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A problem with a stable code. What it says is for the caller: never a cause from within.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after_seconds: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of type `/problems/<code>`.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), retry_after_seconds: None, members: Map::new() }
    }

    /// `500` with a constant text: the cause belongs in the log.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Internal error",
            "Something went wrong on our side. The log has the cause under this request_id.",
        )
    }

    /// `503` with `Retry-After`, when `what` (the broker, the database) does not answer.
    pub fn unavailable(what: &'static str) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "Temporarily unavailable",
            format!("The {what} did not answer in time. Try again."),
        );
        problem.retry_after_seconds = Some(RETRY_AFTER_SECONDS);
        problem
    }

    /// `404` for a thing that is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// `405`: what the route takes instead.
    pub fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed", detail)
    }

    /// `400`: the request, its query or a header cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request is malformed", detail)
    }

    /// Adds a member to the problem's fields.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With `Retry-After` (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The problem's body for the request of this id.
    pub fn body(&self, request_id: &str) -> Value {
        let mut fields = self.members.clone();
        fields.insert("type".to_owned(), json!(format!("/problems/{}", self.code)));
        fields.insert("title".to_owned(), json!(self.title));
        fields.insert("status".to_owned(), json!(self.status.as_u16()));
        fields.insert("detail".to_owned(), json!(self.detail));
        fields.insert("request_id".to_owned(), json!(request_id));
        Value::Object(fields)
    }

    /// The answer to the request of this id.
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

/// Leaves the problem for the outermost layer to write, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
