//! The body's bytes: no more of them than the limit are kept, neither of what is sent nor of what it decodes to.

use std::io::Read;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use shared::http::body::{Coding, Unreceived, receive};

use super::BODY_BYTES;
use crate::error::Error;

const TOO_LARGE: Error = Error::TooLarge("A body may have 6 MiB, decoded.");

/// Reads the whole body, decoded.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let coding = Coding::of(headers).ok_or(Error::Coding)?;
    // What does not compress grows by a few bytes for each 32 KiB.
    let limit = if coding == Coding::Identity { BODY_BYTES } else { BODY_BYTES + BODY_BYTES / 100 };
    let sent = receive(body, limit).await.map_err(|unreceived| match unreceived {
        Unreceived::TooLarge => TOO_LARGE,
        Unreceived::CutShort => Error::malformed("The body ended before its end."),
    })?;
    match coding {
        Coding::Identity => Ok(sent),
        Coding::Gzip => bounded(flate2::read::MultiGzDecoder::new(sent.as_ref())),
        Coding::Zstd => bounded(zstd_decoder(&sent)?),
    }
}

fn zstd_decoder(sent: &[u8]) -> Result<impl Read, Error> {
    // RFC 9659: as a content coding, zstd needs windows of 8 MB at most.
    const WINDOW_LOG: u32 = 23;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(sent).map_err(undecodable)?;
    decoder.window_log_max(WINDOW_LOG).map_err(undecodable)?;
    Ok(decoder)
}

fn bounded(decoder: impl Read) -> Result<Bytes, Error> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(BODY_BYTES).unwrap_or(u64::MAX) + 1;
    decoder.take(limit).read_to_end(&mut decoded).map_err(undecodable)?;
    if decoded.len() > BODY_BYTES { Err(TOO_LARGE) } else { Ok(decoded.into()) }
}

fn undecodable(_error: std::io::Error) -> Error {
    Error::malformed("The body is not in the coding that Content-Encoding names, or it is cut short.")
}
