//! The paths of requests behind API Gateway.
//!
//! API Gateway's HTTP APIs decode a path once before they pass it on as `rawPath`, so `rawPath` can contain any
//! character. But `lambda_http` parses `rawPath` as part of a URL. It would decode whatever is still encoded, resolve
//! dot segments, and end the path at `?` or `#`. For example, if a caller requests `/users/eve%231`, `rawPath` is
//! `/users/eve#1`, and `lambda_http` would take this as the path of the user `eve`. So the path is encoded again before
//! `lambda_http` reads the event. This does not prevent `lambda_http` from resolving dot segments, so afterwards the
//! encoded path replaces the path that `lambda_http` made.

use std::borrow::Cow;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::problem::Problem;

/// The ASCII characters that must be encoded in a path (RFC 3986, section 3.3), including `%`.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The ASCII characters that must be encoded in a query. API Gateway passes on a query as the caller encoded it, so `%`
/// stays.
const NOT_IN_QUERIES: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Encodes a decoded path.
pub fn encoded(decoded: &str) -> String {
    utf8_percent_encode(decoded, NOT_IN_PATHS).to_string()
}

/// Encodes the characters that must not appear in a query.
pub(super) fn encoded_query(query: &str) -> String {
    utf8_percent_encode(query, NOT_IN_QUERIES).to_string()
}

/// Decodes a request's path as API Gateway does, and then encodes it with [`encoded`]. This turns an encoded `/` into a
/// separator of segments. Returns the URI with the resulting path. Returns `None` if the caller should keep the URI as
/// it is: its path has only plain characters, the decoded path is not UTF-8, or the new URI would be too long.
pub fn as_behind_api_gateway(uri: &Uri) -> Option<Uri> {
    if uri.path().bytes().all(is_plain) {
        return None;
    }
    let path = encoded(&percent_decode_str(uri.path()).decode_utf8().ok()?);
    with_path(uri, &path)
}

/// Returns whether a byte of a path certainly stays the same if the path is decoded and encoded.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte)
}

/// Returns a URI with another path and the same query.
pub(super) fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let path_and_query = match uri.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    };
    Some(Uri::from(PathAndQuery::try_from(path_and_query.as_ref()).ok()?))
}

/// Returns the problem of a path with the segments `.` or `..`. Some clients and proxies resolve such segments, so a
/// check could see a different path than the one that is used.
pub(super) fn dot_segments(uri: &Uri) -> Option<Problem> {
    has_dot_segments(uri.path()).then(|| Problem::malformed("The path must not have the segments `.` and `..`."))
}

fn has_dot_segments(path: &str) -> bool {
    let decoded = Cow::from(percent_decode_str(path));
    decoded.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_path_decodes_to_the_same_path() {
        for decoded in
            ["/users/eve?1", "/users/eve#1", "/users/a%41", "/a b/\"<>[]^`{|}\\", "/é/\u{1F469}", "/a:@!$&'()*+,;=-._~"]
        {
            let encoded = encoded(decoded);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\".contains(&byte)), "{encoded}");
            assert!(encoded.parse::<Uri>().is_ok(), "{encoded}");
            assert_eq!(percent_decode_str(&encoded).decode_utf8().ok().as_deref(), Some(decoded));
        }
        assert_eq!(encoded("/users/eve%231"), "/users/eve%25231");
        assert_eq!(encoded("/events/user-event"), "/events/user-event");
    }

    #[test]
    fn a_path_is_decoded_once_and_the_query_stays() {
        let passed = |uri: &'static str| as_behind_api_gateway(&Uri::from_static(uri)).map(|uri| uri.to_string());
        for (uri, expected) in [
            ("/events/r%6fute?a=%2F#b", "/events/route?a=%2F"),
            ("/users/a%2Fb", "/users/a/b"),
            ("/users/a%2541", "/users/a%2541"),
            ("/users/%61", "/users/a"),
            ("/users/eve%3F1?x", "/users/eve%3F1?x"),
            ("/users/a:b", "/users/a:b"),
        ] {
            assert_eq!(passed(uri).as_deref(), Some(expected), "{uri}");
        }
        for unchanged in ["/", "/events/user-event?a=%2F", "/users/%ff"] {
            assert_eq!(passed(unchanged), None, "{unchanged}");
        }
    }

    #[test]
    fn dot_segments_are_found_in_any_spelling() {
        for path in ["/.", "/..", "/a/../b", "/a/./b", "/a/%2e%2E", "/a/.%2e/b", "/users/a%2F..%2Fbob", "/a/.."] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in ["/", "/a.b/..c", "/...", "/a/%252e", "/a..", ""] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
