//! Pages: the look that all pages share, and the document around the content of a page that stands alone. Such a page
//! loads nothing.

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The look of all pages: colours, type, tables and fields, as CSS.
pub const LOOK: &str = include_str!("look.css");

/// The layout of a page that stands alone.
const STYLE: &str = include_str!("page.css");

/// Marks an error response whose body is a page. [`edge`](super::edge) would otherwise replace it with a problem.
#[derive(Debug, Clone, Copy)]
pub struct Rendered {
    /// The code of the problem that the page is about, for the log.
    pub code: Option<&'static str>,
}

/// Creates the document around `content`. `style` is the page's own CSS; it follows the common one.
pub fn document(title: &str, style: &'static str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(LOOK)) (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body { (content) }
        }
    }
}

/// Turns a document into an HTTP response.
pub fn respond(document: Markup) -> Response {
    let mut response = document.into_string().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Values are escaped. If one ever slipped through, this policy keeps it from running anything.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    response
}
