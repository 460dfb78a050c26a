//! Reads the JSON bodies of operators' requests.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use shared::http::body::{Coding, Unreceived, essence, is_utf8, receive};

use crate::error::Error;

/// The maximum size of a body in bytes: an event may have 1,000,000, and an edited event is sent inside an object.
const MOST_BYTES: usize = 1_100_000;

/// Reads the request's body. Members that `T` does not have are rejected.
pub(crate) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Error> {
    let body = receive_optional(request).await?;
    parse(&body.ok_or_else(|| Error::malformed("The body is missing."))?)
}

/// Parses a body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::malformed(format!("The body is not valid: {error}.")))
}

/// Receives the body of a request: JSON, or nothing.
pub(crate) async fn receive_optional(request: Request) -> Result<Option<Bytes>, Error> {
    let (head, body) = request.into_parts();
    let received = receive(body, MOST_BYTES).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => Error::TooLarge,
        Unreceived::CutShort => Error::malformed("The body is shorter than its `Content-Length`."),
    })?;
    if received.is_empty() {
        return Ok(None);
    }
    let media_type = match head.headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().map_err(|_| Error::MediaType)?,
        None => "application/json",
    };
    if essence(media_type) != "application/json" || !is_utf8(media_type) {
        return Err(Error::MediaType);
    }
    if Coding::from_headers(&head.headers) != Some(Coding::Identity) {
        return Err(Error::Coding);
    }
    Ok(Some(received))
}
