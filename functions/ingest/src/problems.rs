//! Explains a type of problem, as JSON or, for callers that prefer it, as a page.

use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use shared::http::accept::prefers_html;
use shared::http::answer::json;
use shared::http::page::Page;
use shared::http::problem_type::ProblemType;

use crate::error::Error;

/// Explains the type with this code.
pub(crate) fn explain(code: &str, headers: &HeaderMap) -> Result<Response, Error> {
    let known = ProblemType::from_code(code)
        .ok_or_else(|| Error::not_found("There is no such type of problem. `/openapi.json` lists the types."))?;
    let mut response =
        if prefers_html(headers) { document(known).respond() } else { json(StatusCode::OK, &known.explain()) };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

fn document(known: &ProblemType) -> Page<'_> {
    let content = html! {
        header {
            h1 { (known.title) }
            p { code { (known.uri()) } ", answered with the HTTP status " (known.status.as_u16()) "." }
        }
        main {
            h2 { "What it means" }
            p { (text(known.meaning)) }
            h2 { "What to do" }
            p { (text(known.remedy)) }
        }
    };
    Page { title: known.title, style: "", content }
}

/// Renders text in which code is between backticks.
fn text(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_page_that_says_what_it_means_and_what_to_do() {
        for known in ProblemType::ALL {
            let page = document(known).document().into_string();
            assert!(page.contains(&format!("<h1>{}</h1>", known.title)), "{page}");
            assert!(page.contains("<h2>What to do</h2>") && !page.contains('`'), "{page}");
        }
        let page = document(&ProblemType::BLOCKED).document().into_string();
        assert!(page.contains("<code>Retry-After</code>"), "{page}");
    }
}
