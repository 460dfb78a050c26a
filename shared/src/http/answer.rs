//! JSON responses.

use super::problem::Problem;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

/// Creates a response with `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    /// The initial capacity of the buffer. An answer with one receipt, the most frequent answer, fits without
    /// reallocation.
    const USUAL_BYTES: usize = 512;
    let mut text = Vec::with_capacity(USUAL_BYTES);
    match serde_json::to_writer(&mut text, body) {
        Ok(()) => written(status, text.into()),
        Err(error) => {
            tracing::error!(%error, "cannot serialise a response");
            Problem::internal().into_response()
        }
    }
}

/// Creates a response from a body that is already JSON.
pub fn written(status: StatusCode, text: Bytes) -> Response {
    let mut response = (status, text).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor to pass as `?after=` for the next page. `None` on the last page.
    pub next: Option<String>,
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        json(StatusCode::OK, &self)
    }
}
