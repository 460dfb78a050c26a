//! Restricts who may invoke functions. Programs on this machine may invoke them, because these programs could also
//! write to Kafka and PostgreSQL directly. Web pages in a browser on this machine may not. Without this check, they
//! could: browsers let any page send the requests that an HTML form can send, to any address and without a preflight
//! request.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// A header that browsers send with every request, and that no page can suppress (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Rejects requests that a web page sent.
pub(crate) async fn no_web_page(request: Request, next: Next) -> Response {
    let is_browsers = request.headers().contains_key(ORIGIN) || request.headers().contains_key(SEC_FETCH_SITE);
    if is_browsers || !names_loopback(request.uri(), request.headers()) {
        let answer = json!({
            "Type": "User",
            "Message": "Only programs on this machine can invoke functions, at a loopback address. Web pages cannot.",
        });
        return (StatusCode::FORBIDDEN, Json(answer)).into_response();
    }
    next.run(request).await
}

/// Returns whether the request names a loopback address. A request after DNS rebinding does not: it names the web
/// page's host, which resolves to this machine.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_loopback = |authority: &Authority| {
        ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| authority.host().eq_ignore_ascii_case(host))
            // Rejects an authority with a user name, because other parsers might take the user name for the host.
            && !authority.as_str().contains('@')
    };
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
    host.as_ref().is_some_and(is_loopback) && uri.authority().is_none_or(is_loopback)
}
