//! A request's body: what its headers say of it, and no more of its bytes than the limit.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

/// A media type without its parameters, in lower case.
pub fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type names no other charset than UTF-8, or ASCII, which is a part of it.
pub fn is_utf8(media_type: &str) -> bool {
    media_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|charset| value.trim().trim_matches('"').eq_ignore_ascii_case(charset))
    })
}

/// How a body is coded (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The coding that `Content-Encoding` names; none: one that we do not know, or several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = headers.get_all(CONTENT_ENCODING).iter();
        let coding = codings.next().map_or(Ok("identity"), |coding| coding.to_str()).ok()?;
        match coding.trim().to_ascii_lowercase().as_str() {
            _ if codings.next().is_some() => None,
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a body is not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreceived {
    /// It has more bytes than the limit.
    #[error("the body is too large")]
    TooLarge,
    /// It ended before its end.
    #[error("the body is cut short")]
    CutShort,
}

/// The whole body as it was sent, of `limit` bytes at most.
///
/// # Errors
/// It is larger, or cut short.
pub async fn receive(body: Body, limit: usize) -> Result<Bytes, Unreceived> {
    let mut chunks = body.into_data_stream();
    let mut received = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unreceived::CutShort)?;
        if received.len() + chunk.len() > limit {
            drain(chunks).await;
            return Err(Unreceived::TooLarge);
        }
        received.extend_from_slice(&chunk);
    }
    Ok(received.freeze())
}

/// Lets a caller that is still sending finish, within reason: a connection closed in its face would cost it the
/// answer.
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
    // Too slow or too much: then the connection is closed after all.
    let _in_time = tokio::time::timeout(PATIENCE, drained).await;
}
