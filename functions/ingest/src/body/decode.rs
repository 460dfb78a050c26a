//! Receives and decompresses a body. Both the size of the sent body and the size of the decoded body are limited.

use std::io::Read;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use shared::http::body::{Coding, Unreceived, receive};

use crate::error::Error;

/// The maximum size of a decoded body in bytes: Lambda's limit for a request.
pub(super) const MAX_BODY_BYTES: usize = 6 * 1_024 * 1_024;

const TOO_LARGE: Error = Error::TooLarge("The decoded body must not exceed 6 MiB.");

/// Returns the whole body, decompressed.
pub(super) async fn decoded(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let coding = Coding::from_headers(headers).ok_or(Error::Coding)?;
    // A compressed body may be slightly larger than the data: incompressible data grows by a few bytes per 32 KiB.
    let limit = if coding == Coding::Identity { MAX_BODY_BYTES } else { MAX_BODY_BYTES + MAX_BODY_BYTES / 100 };
    let sent = receive(body, limit).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => TOO_LARGE,
        Unreceived::CutShort => Error::malformed("The body is incomplete."),
    })?;
    match coding {
        Coding::Identity => Ok(sent),
        Coding::Gzip => bounded(flate2::read::MultiGzDecoder::new(sent.as_ref())),
        Coding::Zstd => bounded(zstd_decoder(&sent)?),
    }
}

fn zstd_decoder(sent: &[u8]) -> Result<impl Read, Error> {
    // RFC 9659 limits the window of the content coding `zstd` to 8 MB.
    const WINDOW_LOG: u32 = 23;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(sent).map_err(undecodable)?;
    decoder.window_log_max(WINDOW_LOG).map_err(undecodable)?;
    Ok(decoder)
}

fn bounded(decoder: impl Read) -> Result<Bytes, Error> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX) + 1;
    decoder.take(limit).read_to_end(&mut decoded).map_err(undecodable)?;
    if decoded.len() > MAX_BODY_BYTES { Err(TOO_LARGE) } else { Ok(decoded.into()) }
}

fn undecodable(_error: std::io::Error) -> Error {
    Error::malformed("The body does not match its `Content-Encoding`, or is truncated.")
}
