//! Reads request bodies: media type, content coding and size limit.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

/// Returns a media type without its parameters, in lower case.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns whether a media type has no charset, or has the charset UTF-8 or its subset ASCII.
pub fn is_utf8(media_type: &str) -> bool {
    media_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|charset| value.trim().trim_matches('"').eq_ignore_ascii_case(charset))
    })
}

/// A content coding (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// No coding.
    Identity,
    /// The coding `gzip` (RFC 1952).
    Gzip,
    /// The coding `zstd` (RFC 8878).
    Zstd,
}

impl Coding {
    /// Parses `Content-Encoding`. Returns `None` for an unknown coding or several codings.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let coding = codings.next().map_or(Ok("identity"), |coding| coding.to_str()).ok()?;
        let coding = coding.trim();
        let is = |names: &[&str]| names.iter().any(|name| coding.eq_ignore_ascii_case(name));
        match codings.next() {
            Some(_) => None,
            None if is(&["", "identity"]) => Some(Self::Identity),
            None if is(&["gzip", "x-gzip"]) => Some(Self::Gzip),
            None if is(&["zstd"]) => Some(Self::Zstd),
            None => None,
        }
    }
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreceived {
    /// The body has more bytes than the limit allows.
    #[error("the body is too large")]
    TooLarge,
    /// The connection closed before the body was complete.
    #[error("the body is cut short")]
    CutShort,
}

/// Reads the whole body, up to `limit` bytes.
///
/// # Errors
/// The body is larger than `limit`, or incomplete.
pub async fn receive(body: Body, limit: usize) -> Result<Bytes, Unreceived> {
    let mut chunks = body.into_data_stream();
    // Most bodies are one chunk, which is not copied.
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unreceived::CutShort)?;
        if first.len() + joined.len() + chunk.len() > limit {
            Box::pin(drain(chunks)).await;
            return Err(Unreceived::TooLarge);
        }
        if first.is_empty() && joined.is_empty() {
            first = chunk;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&chunk);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// Continues to read while the caller is still sending, within limits. If the connection were closed early, the
/// response would be lost.
async fn drain(mut chunks: BodyDataStream) {
    const MOST_BYTES: usize = 64 * 1_024 * 1_024;
    const PATIENCE: Duration = Duration::from_secs(5);
    let drained = async {
        let mut bytes = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            bytes += chunk.len();
            if bytes > MOST_BYTES {
                break;
            }
        }
    };
    // If the rest is too slow or too large, reading stops. The connection is then closed, even if the response is lost.
    let _in_time = tokio::time::timeout(PATIENCE, drained).await;
}
