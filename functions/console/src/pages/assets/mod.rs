//! The files that pages load. They are embedded in the program. Their names contain a hash of their content, so
//! browsers may cache them indefinitely.

use std::fmt;

use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use shared::http::page::LOOK;
use shared::http::problem::Problem;

/// A file.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    extension: &'static str,
    media_type: &'static str,
    text: &'static str,
    hash: u64,
}

/// The style sheet that all of Sluice's pages share.
pub(super) const COMMON_STYLE: Asset = Asset::new("look", "css", "text/css; charset=utf-8", LOOK);
/// The console's own style sheet.
pub(super) const STYLE: Asset = Asset::new("console", "css", "text/css; charset=utf-8", include_str!("console.css"));
/// The script that keeps parts of pages up to date.
pub(super) const SCRIPT: Asset =
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_str!("console.js"));
/// The icon.
pub(super) const ICON: Asset = Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg"));

impl Asset {
    const fn new(name: &'static str, extension: &'static str, media_type: &'static str, text: &'static str) -> Self {
        Self { name, extension, media_type, text, hash: fnv1a(text.as_bytes()) }
    }
}

/// Writes the path at which a file is served.
impl fmt::Display for Asset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, extension, hash, .. } = self;
        write!(formatter, "/console/assets/{name}-{hash:016x}.{extension}")
    }
}

/// Hashes a file at compile time (FNV-1a). The hash only has to differ between versions.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Serves a file. The files are the same for everyone, so no session is needed.
pub(super) async fn serve(Path(file): Path<String>) -> Response {
    let path = format!("/console/assets/{file}");
    let Some(asset) = [&COMMON_STYLE, &STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.to_string() == path)
    else {
        return Problem::not_found("There is no such file. Reload the page.").into_response();
    };
    let mut response = asset.text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
