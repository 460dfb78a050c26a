//! A report as a page: a chart, a table that shows the same figures, and a form for other questions. The page needs no
//! script and loads nothing. `routes` returns it.

mod chart;

use axum::response::Response;
use jiff::civil::DateTime;
use maud::{Markup, html};
use shared::http::page::Page;

use crate::question::{By, Question};
use crate::tally::Tally;
use crate::wording::{count, grouped, name, sentence, title};

const STYLE: &str = include_str!("style.css");

/// The maximum number of rows in the table. The JSON has all of them.
const MOST_ROWS: usize = 1_000;

/// Turns a report into an HTTP response.
pub(crate) fn page(tally: &Tally) -> Response {
    document(tally).respond()
}

fn document(tally: &Tally) -> Page<'static> {
    let title = title(tally.question.by);
    let content = html! {
        header {
            p.console { a href="/console" { "Sluice console" } }
            h1 { (title) }
            p { (sentence(tally)) }
        }
        main {
            (questions(&tally.question))
            @if tally.stats.0.is_empty() {
                p.empty { (if tally.question.from.or(tally.question.to).is_some() { "No events in this period." } else { "No events yet." }) }
            } @else {
                div.figures {
                    (chart::chart(tally))
                    (table(tally))
                }
            }
        }
    };
    Page { title, style: STYLE, content }
}

/// Renders a form for other questions.
fn questions(current: &Question) -> Markup {
    let time = |time: Option<DateTime>| time.map(|time| time.to_string()).unwrap_or_default();
    let (from, to) = (time(current.from), time(current.to));
    html! {
        form method="get" {
            label { "Count by "
                select name="by" {
                    @for by in By::ALL {
                        option value=(by.name()) selected[by == current.by] { (by.name()) }
                    }
                }
            }
            label { "from " input type="datetime-local" name="from" step=[step(current.from)] value=(from); }
            label { "until " input type="datetime-local" name="to" step=[step(current.to)] value=(to); }
            button { "Show" }
        }
    }
}

/// Returns the step of a time field, in seconds. `None` stands for the default of one minute, which is too long if the
/// given time has seconds or fractions of a second.
fn step(time: Option<DateTime>) -> Option<&'static str> {
    match time {
        Some(time) if time.subsec_nanosecond() != 0 => Some("any"),
        Some(time) if time.second() != 0 => Some("1"),
        Some(_) | None => None,
    }
}

fn table(tally: &Tally) -> Markup {
    let (what, rows) = (tally.question.by.name(), &tally.stats.0);
    let rest = rows.get(MOST_ROWS..).unwrap_or_default();
    html! {
        section {
            h2 { "Table" }
            table {
                thead { tr { th scope="col" { (what) } th scope="col" { "events" } } }
                tbody {
                    @for (row, events) in rows.iter().take(MOST_ROWS) {
                        tr { th scope="row" { (name(tally.question.by, row)) } td { (grouped(*events)) } }
                    }
                    @if !rest.is_empty() {
                        tr.rest {
                            th scope="row" { (grouped(count(rest.len()))) " more: see the JSON" }
                            td { (grouped(rest.iter().map(|(_, events)| events).sum())) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::tally;

    #[test]
    fn a_name_is_always_escaped() {
        let page = document(&tally(By::City, &[("<script>alert(1)</script>", 1), ("\"><b>&", 1), ("a\u{1b}b", 1)]))
            .document()
            .into_string();
        let lower = page.to_lowercase();
        assert!(!lower.contains("<script") && !lower.contains("<b>"), "{page}");
        assert!(page.contains('\u{fffd}') && !page.contains('\u{1b}'), "{page}");
        // The name is shown in title case, because it occurred only in lower case.
        assert!(page.contains("&lt;Script&gt;Alert(1)&lt;/Script&gt;"), "{page}");
    }

    #[test]
    fn the_table_says_what_it_leaves_out() {
        let hours: Vec<String> = (0..1_005).map(|number| format!("{number:04}")).collect();
        let counted: Vec<(&str, i64)> = hours.iter().map(|hour| (hour.as_str(), 2)).collect();
        let page = document(&tally(By::Hour, &counted)).document().into_string();
        assert!(page.contains("5 more: see the JSON</th><td>10</td>"));
    }
}
