//! Answers in JSON.

use super::problem::Problem;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

/// An answer of this status with `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => written(status, text.into()),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            Problem::internal().into_response()
        }
    }
}

/// An answer of this status whose body is JSON already.
pub fn written(status: StatusCode, text: Bytes) -> Response {
    let mut response = (status, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A list's answer.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// What is listed.
    pub items: Vec<T>,
    /// The cursor that `?after=` takes for what follows; none: nothing does.
    pub next: Option<String>,
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
