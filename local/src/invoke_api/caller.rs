//! Who may invoke functions: programs on this machine, which could do all of it without us. No web page that is open
//! on it: a browser sends a page's requests to any address, and asks nobody if they look like a form's.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

/// Browsers send it with every request, and no page can keep them from it (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets through what no web page has sent.
pub(crate) async fn no_web_page(request: Request, next: Next) -> Response {
    let is_browsers = request.headers().contains_key(ORIGIN) || request.headers().contains_key(SEC_FETCH_SITE);
    if is_browsers || !names_loopback(request.uri(), request.headers()) {
        let answer = json!({
            "Type": "User",
            "Message": "Functions are invoked by programs on this machine, at a loopback address, and by no web page",
        });
        return (StatusCode::FORBIDDEN, Json(answer)).into_response();
    }
    next.run(request).await
}

/// Whether the request is for a loopback address by name: a page's own name can be made to lead here.
fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_loopback = |authority: &Authority| {
        ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| authority.host().eq_ignore_ascii_case(host))
            // A user's name in it would be read as a host's by others.
            && !authority.as_str().contains('@')
    };
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
    host.as_ref().is_some_and(is_loopback) && uri.authority().is_none_or(is_loopback)
}
