//! A report as a page: a chart, the same as a table, and what else may be asked. It needs no script and nothing from
//! elsewhere.

mod chart;

use std::borrow::Cow;

use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use jiff::civil::DateTime;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::question::{By, Question};
use crate::tally::Tally;

const STYLE: &str = include_str!("style.css");

/// Most rows of the table: more than anybody reads, and JSON has them all.
const MOST_ROWS: usize = 1_000;

/// The page as an answer.
pub(crate) fn page(tally: &Tally) -> Response {
    let mut response = document(tally).into_string().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Names are escaped; should one slip through, it can do nothing.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

fn document(tally: &Tally) -> Markup {
    let title = title(tally.question.by);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    p { (sentence(tally)) }
                }
                (questions(&tally.question))
                @if tally.stats.0.is_empty() {
                    p.empty { (if tally.question.from.or(tally.question.to).is_some() { "No events in that time." } else { "No events yet." }) }
                } @else {
                    main {
                        (chart::chart(tally))
                        (table(tally))
                    }
                }
            }
        }
    }
}

/// What the report is about.
pub(crate) fn title(by: By) -> &'static str {
    match by {
        By::City => "User events by city",
        By::Country => "User events by country",
        By::Hour => "User events by hour",
    }
}

/// The report in one sentence.
pub(crate) fn sentence(tally: &Tally) -> String {
    let events = tally.events();
    let of = tally.stats.0.len();
    let what = match (tally.question.by, of) {
        (By::City, 1) => "city",
        (By::City, _) => "cities",
        (By::Country, 1) => "country",
        (By::Country, _) => "countries",
        (By::Hour, 1) => "hour",
        (By::Hour, _) => "hours",
    };
    let range = match (tally.question.from, tally.question.to) {
        (None, None) => String::new(),
        (Some(from), None) => format!(" from {} on", time(from)),
        (None, Some(to)) => format!(" before {}", time(to)),
        (Some(from), Some(to)) => format!(" from {} until {}", time(from), time(to)),
    };
    let event = if events == 1 { "event" } else { "events" };
    let at = tally.timestamp.strftime("%Y-%m-%d %H:%M:%S");
    format!("{} {event} in {} {what}{range}, counted {at} UTC.", grouped(events), grouped(count(of)))
}

/// A name as it is shown: some events have a blank one, or none; an hour's is a time.
pub(crate) fn name(by: By, name: &str) -> Cow<'_, str> {
    match by {
        By::City | By::Country if name.is_empty() => "(none)".into(),
        // Neither HTML nor a terminal takes them.
        By::City | By::Country if name.contains(char::is_control) => name.replace(char::is_control, "\u{fffd}").into(),
        By::City | By::Country => name.into(),
        By::Hour => name.replace('T', " ").into(),
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(time: DateTime) -> String {
    time.to_string().replace('T', " ")
}

/// Links and a form for other questions.
fn questions(asked: &Question) -> Markup {
    let time = |time: Option<DateTime>| time.map(|time| time.to_string()).unwrap_or_default();
    let (from, to) = (time(asked.from), time(asked.to));
    html! {
        form method="get" {
            label { "Count by "
                select name="by" {
                    @for by in By::ALL {
                        option value=(by.name()) selected[by == asked.by] { (by.name()) }
                    }
                }
            }
            label { "from " input type="datetime-local" name="from" step=[step(asked.from)] value=(from); }
            label { "until " input type="datetime-local" name="to" step=[step(asked.to)] value=(to); }
            button { "Show" }
        }
    }
}

/// How fine a time may be, in seconds: as fine as the one that was asked for; minutes unless it is finer.
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
    use crate::summary::Counted;

    fn tally(by: By, counted: &[(&str, i64)]) -> Tally {
        let counted = counted.iter().map(|(name, events)| Counted { name: (*name).to_owned(), events: *events });
        Tally::new(Question { by, ..Question::default() }, counted.collect(), 1_557_258_853_563)
    }

    #[test]
    fn a_name_is_text_whatever_it_says() {
        let page = document(&tally(By::City, &[("<script>alert(1)</script>", 1), ("\"><b>&", 1), ("a\u{1b}b", 1)]))
            .into_string();
        let lower = page.to_lowercase();
        assert!(!lower.contains("<script") && !lower.contains("<b>"), "{page}");
        assert!(page.contains('\u{fffd}') && !page.contains('\u{1b}'), "{page}");
        // In title case, as it came in lower case only.
        assert!(page.contains("&lt;Script&gt;Alert(1)&lt;/Script&gt;"), "{page}");
    }

    #[test]
    fn the_report_is_said_in_a_sentence() {
        let counted = [("Holland", 1_234_567), (" holland", 1), ("", 3)];
        assert_eq!(
            sentence(&tally(By::City, &counted)),
            "1,234,571 events in 2 cities, counted 2019-05-07 19:54:13 UTC."
        );
        assert_eq!(
            sentence(&tally(By::Hour, &[("2019-05-07T19:00", 1)])),
            "1 event in 1 hour, counted 2019-05-07 19:54:13 UTC."
        );
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn the_table_says_what_it_leaves_out() {
        let hours: Vec<String> = (0..1_005).map(|number| format!("{number:04}")).collect();
        let counted: Vec<(&str, i64)> = hours.iter().map(|hour| (hour.as_str(), 2)).collect();
        let page = document(&tally(By::Hour, &counted)).into_string();
        assert!(page.contains("5 more: see the JSON</th><td>10</td>"));
    }
}
