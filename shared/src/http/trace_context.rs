//! The caller's trace: the header `traceparent` of W3C Trace Context. Sluice passes the trace on, and begins no trace
//! of its own.

use axum::http::{HeaderMap, HeaderName};

use crate::contract::trace_id;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Returns the request's `traceparent`. A header that is invalid or appears twice is ignored, as the standard requires.
///
/// <https://www.w3.org/TR/trace-context/#a-traceparent-is-received>
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && trace_id(value.as_bytes()).is_some()).then_some(value)
}
