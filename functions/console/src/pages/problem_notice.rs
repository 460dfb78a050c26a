//! Shows on a page why events were refused, and where each error is.

use maud::{Markup, html};

use super::api::Refusal;
use super::wording::sentence;

/// Shows a problem and the errors that it lists.
pub(super) fn problem(refusal: &Refusal) -> Markup {
    let errors = refusal.errors();
    let number = |name: &str| refusal.body[name].as_u64();
    html! {
        div.notice.bad role="alert" {
            @if errors.is_empty() {
                p {
                    (sentence(refusal.detail()))
                    @if let (Some(line), Some(column)) = (number("line"), number("column")) { " Line " (line) ", column " (column) "." }
                }
            } @else {
                // The problem's detail mentions the member `errors`, which means nothing to people who see the page. So
                // the page shows the problem's title instead, and lists the errors.
                p { (refusal.body["title"].as_str().unwrap_or_default()) ". Nothing was sent." }
                ul { @for (pointer, detail) in errors { li { code { (pointer) } " " (sentence(detail)) } } }
            }
        }
    }
}
