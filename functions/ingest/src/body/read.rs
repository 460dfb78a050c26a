//! The body's bytes: no more of them than the limit are kept, neither of what is sent nor of what it decodes to.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use super::BODY_BYTES;
use crate::error::Error;

const TOO_LARGE: Error = Error::TooLarge("A body may have 6 MiB, decoded.");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// Reads the whole body, decoded.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Error> {
    let coding = coding(headers)?;
    // What does not compress grows by a few bytes for each 32 KiB.
    let limit = if coding == Coding::Identity { BODY_BYTES } else { BODY_BYTES + BODY_BYTES / 100 };
    let sent = receive(body.into_data_stream(), limit).await?;
    match coding {
        Coding::Identity => Ok(sent),
        Coding::Gzip => bounded(flate2::read::MultiGzDecoder::new(sent.as_ref())),
        Coding::Zstd => bounded(zstd_decoder(&sent)?),
    }
}

fn coding(headers: &HeaderMap) -> Result<Coding, Error> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    let coding = codings.next().map_or(Ok("identity"), |coding| coding.to_str()).map_err(|_| Error::Coding)?;
    match coding.trim().to_ascii_lowercase().as_str() {
        _ if codings.next().is_some() => Err(Error::Coding),
        "" | "identity" => Ok(Coding::Identity),
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "zstd" => Ok(Coding::Zstd),
        _ => Err(Error::Coding),
    }
}

async fn receive(mut chunks: BodyDataStream, limit: usize) -> Result<Bytes, Error> {
    let mut received = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::malformed("The body ended before its end."))?;
        if received.len() + chunk.len() > limit {
            drain(chunks).await;
            return Err(TOO_LARGE);
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
