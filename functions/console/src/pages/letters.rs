//! The page of dead letters: groups by reason, and the letters themselves.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use shared::http::problem::Problem;

use super::api::{Api, List, Refusal};
use super::layout::{Page, Section};
use super::letter_filter::LetterFilter;
use super::state::Pages;
use super::wording::{counted, number, status, time, time_ms};

/// The paths of the page and of the JSON route.
const PATH: &str = "/console/dead-letters";
const API: &str = "/dead-letters";
/// The maximum numbers of letters and of groups on a page.
const LETTERS: &str = "25";
const GROUPS: &str = "30";

#[derive(Debug, Deserialize)]
struct Group {
    stream: Option<String>,
    topic: String,
    error_code: String,
    reason: String,
    count: i64,
    first_at: Timestamp,
    last_at: Timestamp,
    sample_id: i64,
}

/// A dead letter in a list.
#[derive(Debug, Deserialize)]
struct Letter {
    id: i64,
    stream: Option<String>,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(rename = "timestamp")]
    sent_ms: i64,
    reason: String,
    status: String,
    replays: i32,
}

/// Shows the letters that match the filter in the address.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let (filter, after) = LetterFilter::from_query(uri.query()).map_err(|wrong| Problem::malformed(wrong.0))?;
    let mut page = vec![("limit", LETTERS)];
    page.extend(after.as_deref().map(|after| ("after", after)));
    let letters = filter.path_with(API, &page);
    let groups = filter.path_with("/dead-letters/groups", &[("limit", GROUPS)]);
    let (letters, groups) = tokio::join!(api.get::<List<Letter>>(&letters), api.get::<List<Group>>(&groups));
    let (letters, groups) = (letters?, groups?);
    let now_ms = pages.clock.now_ms();
    let content = html! {
        div.head {
            h1 { "Dead letters" }
            a.button href="/console/dead-letters/replays" { "Replay runs" }
        }
        (filter.form(&pages.streams))
        (filter.chips(PATH))
        @if letters.items.is_empty() && after.is_none() {
            (nothing(&filter))
        } @else {
            (actions(&filter, &groups))
            @if after.is_none() { (group_table(&filter, &groups, now_ms)) }
            (letter_table(&filter, &letters, now_ms))
        }
    };
    Ok(Page::new(Section::DeadLetters, "Dead letters", content))
}

fn nothing(filter: &LetterFilter) -> Markup {
    html! {
        div.empty {
            @if filter.is_everything() && filter.is_open() {
                h2 { "No open dead letters" }
                p { "No rejected event is left to be replayed or discarded." }
                p { "To look for one event, " a href="/console/follow" { "follow it" } "." }
            } @else {
                h2 { "Nothing matches" }
                p { "No dead letter has this status and matches these filters." }
                p { a href=(PATH) { "Show all open dead letters" } }
            }
        }
    }
}

/// Returns the total number of letters in the listed groups. Returns `None` if the list is not complete.
fn total(groups: &List<Group>) -> Option<i64> {
    groups.next.is_none().then(|| groups.items.iter().map(|group| group.count).sum())
}

fn actions(filter: &LetterFilter, groups: &List<Group>) -> Markup {
    let which = match total(groups) {
        Some(1) => "1 letter".to_owned(),
        Some(total) => format!("all {}", counted(total, "letter")),
        None => "all letters".to_owned(),
    };
    html! {
        @if filter.is_open() {
            div.actions {
                a.button.primary href=(filter.path("/console/dead-letters/replay")) { "Replay " (which) "…" }
                a.button.danger href=(filter.path("/console/dead-letters/discard")) { "Discard all…" }
            }
        }
    }
}

fn group_table(filter: &LetterFilter, groups: &List<Group>, now_ms: i64) -> Markup {
    html! {
        section.card {
            h2 { "By reason" }
            table.stack {
                caption { "Reasons that differ only in quoted values or numbers are one group." }
                thead { tr {
                    th scope="col" { "Reason" } th scope="col" { "Stream" } th.end scope="col" { "Letters" }
                    th scope="col" { "First" } th scope="col" { "Last" } th scope="col" { "Example" }
                } }
                tbody {
                    @for group in &groups.items {
                        @let own = filter.with("topic", &group.topic).with("error_code", &group.error_code)
                            .with("reason", &group.reason);
                        tr {
                            th scope="row" { a href=(own.path(PATH)) { (group.reason) } div.soft { code { (group.error_code) } } }
                            td data-label="Stream" { (group.stream.as_deref().unwrap_or(&group.topic)) }
                            td.end data-label="Letters" { (number(group.count)) }
                            td data-label="First" { (time(group.first_at, now_ms)) }
                            td data-label="Last" { (time(group.last_at, now_ms)) }
                            td data-label="Example" { a href=(filter.letter_path(group.sample_id)) { "#" (group.sample_id) } }
                        }
                    }
                }
            }
            @if groups.next.is_some() { p.soft { "These are the " (GROUPS) " most frequent reasons. To see other reasons, filter the letters." } }
        }
    }
}

fn letter_table(filter: &LetterFilter, letters: &List<Letter>, now_ms: i64) -> Markup {
    html! {
        section.card {
            h2 { "Letters" }
            table.stack {
                caption { "In the order in which events became dead letters, the oldest first." }
                thead { tr {
                    th scope="col" { "Letter" } th scope="col" { "Reason" } th scope="col" { "Event" }
                    th scope="col" { "Sent" } th scope="col" { "Status" }
                } }
                tbody {
                    @for letter in &letters.items {
                        tr {
                            th scope="row" { a href=(filter.letter_path(letter.id)) { "#" (letter.id) } }
                            td data-label="Reason" { div.clamp { (letter.reason) } }
                            td data-label="Event" {
                                (letter.stream.as_deref().unwrap_or(&letter.topic))
                                div.soft.mono { (letter.topic) "/" (letter.partition) "/" (letter.offset) }
                            }
                            td data-label="Sent" { (time_ms(letter.sent_ms, now_ms)) }
                            td data-label="Status" {
                                (status(&letter.status))
                                @if letter.replays > 0 { div.soft { "replayed " (letter.replays) "×" } }
                            }
                        }
                    }
                }
            }
            @if letters.items.is_empty() { p.soft { "There are no more letters." } }
            @if let Some(next) = &letters.next {
                p.more { a.button href=(filter.path_with(PATH, &[("after", next)])) { "Next page" } }
            }
        }
    }
}
