//! Pages: the look and the headers that all pages share, and standalone pages, which contain their style and load
//! nothing.

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64_simd::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

/// The look of all pages: colours, fonts, tables and fields, as CSS.
pub const LOOK: &str = include_str!("look.css");

/// The layout of a standalone page.
const STYLE: &str = include_str!("page.css");

/// Marks an error response whose body is a page. [`edge`](super::edge) would otherwise replace the page with problem
/// details in JSON (RFC 9457).
#[derive(Debug, Clone, Copy)]
pub struct Rendered {
    /// The code of the problem that the page is about, for the log.
    pub code: Option<&'static str>,
}

/// A standalone page: it contains its style, and loads nothing.
#[derive(Debug)]
pub struct Page<'p> {
    /// The page's title.
    pub title: &'p str,
    /// The page's own CSS, which follows the common CSS.
    pub style: &'static str,
    /// The content of the page, including its heading.
    pub content: Markup,
}

impl Page<'_> {
    fn style(&self) -> String {
        [LOOK, STYLE, self.style].concat()
    }

    /// Returns the document.
    pub fn document(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(self.style())) }
                }
                body { (self.content) }
            }
        }
    }

    /// Returns the policy that lets the page use its own style and send forms to its own origin, and nothing else. The
    /// policy names the style by the style's hash (CSP level 3, section 2.3.1).
    fn policy(&self) -> String {
        let hash = STANDARD.encode_to_string(Sha256::digest(self.style()));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )
    }

    /// Turns the page into an HTTP response.
    pub fn respond(&self) -> Response {
        respond(StatusCode::OK, self.document(), &self.policy())
    }
}

/// Turns a document into an HTTP response with the headers of every page. `policy` is the response's
/// Content-Security-Policy. Values in the document are escaped. If a value were ever not escaped, the policy would
/// still keep the value from running a script.
pub fn respond(status: StatusCode, document: Markup, policy: &str) -> Response {
    let mut response = (status, document.into_string()).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer`, a browser would send `Origin: null` with forms, which hides where a form comes from.
        (REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Policies consist of ASCII characters that a header may contain, so the conversion never fails.
    let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_a_page_allows_its_style_and_nothing_else() {
        let page = Page { title: "a <b>", style: "p > a { color: red }", content: html! { p { "c" } } };
        let text = page.document().into_string();
        let (_, style) = text.split_once("<style>").unwrap_or_default();
        let (style, _) = style.split_once("</style>").unwrap_or_default();
        assert!(style.ends_with("p > a { color: red }"), "{style}");
        let response = page.respond();
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).and_then(|policy| policy.to_str().ok());
        let hash = STANDARD.encode_to_string(Sha256::digest(style));
        let expected = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(policy, Some(expected.as_str()));
    }
}
