//! Rejects requests that a browser sends on behalf of another site. Browsers attach Basic credentials to such requests,
//! so without this check a form on any web page could act in the user's name.
//!
//! Only browsers send `Sec-Fetch-Site` (Fetch Metadata, W3C) and `Origin` (RFC 6454), and pages can forge neither
//! header.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use super::problem_type::ProblemType;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the problem of a request that comes from another site, unless the request's method only reads (RFC 9110,
/// section 9.2.1).
pub(super) fn change(request: &Request) -> Option<Problem> {
    let is_change = !is_safe(request.method());
    (is_change && comes_from_another_site(request.headers(), request.uri())).then(problem)
}

/// Rejects a request that comes from another site, whatever the request's method.
pub async fn reject(request: Request, next: Next) -> Response {
    if comes_from_another_site(request.headers(), request.uri()) {
        return problem().into_response();
    }
    next.run(request).await
}

fn problem() -> Problem {
    Problem::new(
        ProblemType::CROSS_SITE,
        "`Sec-Fetch-Site` or `Origin` says that another site made the browser send this request. Send the request from \
         a page of this address, or without a browser.",
    )
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns whether a browser sent the request on behalf of another site. `Sec-Fetch-Site` is checked first, because it
/// also covers requests without `Origin`. Browsers send its value `same-site` for pages on other ports and subdomains,
/// which count as another site here. If the header is missing or has an unknown value, `Origin` decides.
fn comes_from_another_site(headers: &HeaderMap, uri: &Uri) -> bool {
    match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"cross-site" | b"same-site") => return true,
        Some(b"same-origin" | b"none") => return false,
        Some(_) | None => {}
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    // HTTP/2 sends the host as part of the target.
    let host = headers.get(HOST).map(|host| host.as_bytes()).or_else(|| Some(uri.authority()?.as_str().as_bytes()));
    // An opaque origin, `null`, has no host.
    let origin_host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host.as_bytes());
    match (origin_host, host) {
        (Some(origin_host), Some(host)) => !origin_host.eq_ignore_ascii_case(host),
        (None, _) | (_, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(headers: &[(&'static str, &'static str)]) -> bool {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        comes_from_another_site(&headers.collect(), &Uri::from_static("/city"))
    }

    #[test]
    fn requests_from_the_same_origin_are_accepted_and_so_are_requests_without_the_headers_of_browsers() {
        assert!(!is_refused(&[]));
        assert!(!is_refused(&[("host", "localhost:9000")]));
        for site in ["same-origin", "none"] {
            assert!(!is_refused(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(!is_refused(&[("host", "localhost:9000"), ("origin", "http://LOCALHOST:9000")]));
    }

    #[test]
    fn requests_from_another_site_are_rejected() {
        assert!(is_refused(&[("sec-fetch-site", "cross-site")]));
        assert!(is_refused(&[
            ("sec-fetch-site", "cross-site"),
            ("host", "a.example"),
            ("origin", "https://a.example")
        ]));
        for origin in ["https://evil.example", "http://localhost:9001", "http://localhost", "null", ""] {
            assert!(is_refused(&[("host", "localhost:9000"), ("origin", origin)]), "{origin}");
        }
        assert!(is_refused(&[("origin", "https://evil.example")]));
        let other_port =
            [("host", "localhost:9000"), ("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")];
        assert!(is_refused(&other_port));
        // A GET that another page's image or script sends has no `Origin`.
        assert!(is_refused(&[("host", "localhost:9000"), ("sec-fetch-site", "same-site")]));
    }
}
