//! The page of one dead letter: the reason, the event, and the possible actions.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::http::problem::Problem;

use super::api::{Api, Refusal};
use super::event_place::{Receipt, follow_path, place};
use super::layout::{Notice, Page, Section};
use super::letter_filter::LetterFilter;
use super::payload::{SHOWN_BYTES, indented_text, payload};
use super::problem_notice::problem;
use super::query::encoded;
use super::state::Pages;
use super::wording::{exact_time, status};

/// A dead letter.
#[derive(Debug, Deserialize)]
pub(super) struct Letter {
    pub(super) id: i64,
    stream: Option<String>,
    topic: String,
    partition: i32,
    offset: i64,
    #[serde(rename = "timestamp")]
    sent_ms: i64,
    rejected_at: Timestamp,
    reason: String,
    error_code: String,
    constraint: Option<String>,
    table: Option<String>,
    column: Option<String>,
    pointer: Option<String>,
    status: String,
    replays: i32,
    replay_of: Option<i64>,
    note: Option<String>,
    replayed_as: Option<Receipt>,
    headers: Value,
    key: Option<String>,
    key_base64: Option<String>,
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
}

impl Letter {
    /// Looks up a letter.
    pub(super) async fn find(api: &Api, id: &str) -> Result<Self, Refusal> {
        let id: i64 = id.parse().map_err(|_| Problem::not_found("There is no such dead letter."))?;
        api.get(&format!("/dead-letters/{id}")).await
    }

    /// Returns the path of the list of open letters with the same reason.
    fn same_reason_path(&self) -> String {
        let filter = LetterFilter::default().with("topic", &self.topic).with("error_code", &self.error_code);
        filter.with("reason", &self.reason).path("/console/dead-letters")
    }

    /// Returns the event as a text that can be edited in a form. Returns `None` if the event is too long or is not
    /// text.
    fn editable(&self) -> Option<String> {
        let raw = self.payload.as_ref().map(|payload| payload.get()).filter(|raw| raw.len() <= SHOWN_BYTES)?;
        Some(serde_json::from_str::<String>(raw).unwrap_or_else(|_| indented_text(raw)))
    }
}

/// The last action on a letter, if that action was refused. The page shows the refusal and what was typed.
#[derive(Debug, Default)]
pub(super) struct Attempt<'a> {
    /// Why the action was refused.
    pub(super) refusal: Option<&'a Refusal>,
    /// The edited event.
    pub(super) event: Option<&'a str>,
    /// The note of a discard.
    pub(super) note: &'a str,
}

/// Shows a letter.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let (filter, _) = LetterFilter::from_query(uri.query()).map_err(|wrong| Problem::malformed(wrong.0))?;
    let letter = Letter::find(&api, &id).await?;
    Ok(page(&letter, &filter, &Attempt::default(), pages.clock.now_ms()))
}

/// Renders a letter. `filter` is the filter of the list that led to the letter.
pub(super) fn page(letter: &Letter, filter: &LetterFilter, attempt: &Attempt<'_>, now_ms: i64) -> Page {
    let content = html! {
        nav.crumbs aria-label="Path" { a href=(filter.path("/console/dead-letters")) { "Dead letters" } }
        div.title { h1 { "Dead letter #" (letter.id) } (status(&letter.status)) }
        @if let Some(refusal) = attempt.refusal.filter(|_| attempt.event.is_none()) { (problem(refusal)) }
        p.reason { (letter.reason) }
        p.beside { a href=(letter.same_reason_path()) { "Open letters with this reason" } }
        div.columns {
            section.card {
                h2 { "Event" }
                @match (&letter.payload, &letter.payload_base64) {
                    (Some(json), _) => (payload(json, letter.pointer.as_deref())),
                    (None, Some(base64)) => {
                        p.soft { "The payload is not text. This is its Base64 form." }
                        (super::payload::plain(base64))
                    },
                    (None, None) => p.soft { "The payload was erased." },
                }
                @if letter.pointer.is_some() && letter.payload.is_some() {
                    p.soft { "Marked: the value at " code { (letter.pointer.as_deref().unwrap_or_default()) } ". The reason is about this value." }
                }
            }
            section.card { h2 { "Facts" } (facts(letter, filter, now_ms)) }
        }
        @if letter.status == "open" { (actions(letter, filter, attempt)) }
    };
    Page::new(Section::DeadLetters, format!("Dead letter {}", letter.id), content)
}

fn facts(letter: &Letter, filter: &LetterFilter, now_ms: i64) -> Markup {
    let own = place(&letter.topic, letter.partition, letter.offset);
    let sent = Timestamp::from_millisecond(letter.sent_ms).unwrap_or_default();
    let headers = letter.headers.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        dl.facts {
            @if let Some(stream) = &letter.stream {
                dt { "Stream" } dd { a href={ "/console/streams/" (encoded(stream)) } { (stream) } }
            }
            dt { "Event" } dd { a.mono href=(follow_path(&own)) { (own) } }
            dt { "Sent" } dd { (exact_time(sent, now_ms)) }
            dt { "Rejected" } dd { (exact_time(letter.rejected_at, now_ms)) }
            dt { "Error" } dd { code { (letter.error_code) } }
            @for (name, value) in [
                ("Constraint", &letter.constraint), ("Table", &letter.table), ("Column", &letter.column),
                ("Value", &letter.pointer), ("Key", &letter.key), ("Key (Base64)", &letter.key_base64),
            ] {
                @if let Some(value) = value { dt { (name) } dd { code { (value) } } }
            }
            @if letter.replays > 0 { dt { "Replays" } dd { (letter.replays) } }
            @if let Some(id) = letter.replay_of { dt { "Replay of" } dd { a href=(filter.letter_path(id)) { "#" (id) } } }
            @if let Some(receipt) = &letter.replayed_as { dt { "Replayed as" } dd { (receipt.show()) } }
            @if let Some(note) = &letter.note { dt { "Note" } dd { (note) } }
        }
        @if !headers.is_empty() {
            h3 { "Headers" }
            dl.facts {
                @for header in headers {
                    dt.mono { (header["name"].as_str().unwrap_or_default()) }
                    dd.mono { (header_value(header.get("bytes").unwrap_or(&header["value"]))) }
                }
            }
        }
    }
}

/// Returns a header's text. Bytes that are not text are shown as a list.
fn header_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "(none)".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn actions(letter: &Letter, filter: &LetterFilter, attempt: &Attempt<'_>) -> Markup {
    let path = filter.letter_path(letter.id);
    let is_overtaken = attempt.refusal.is_some_and(|refusal| refusal.status == axum::http::StatusCode::CONFLICT);
    html! {
        section.card {
            h2 { "What to do" }
            div.choices {
                form method="post" action=(path) {
                    h3 { "Replay" }
                    p.soft { "First remove the cause of the rejection. Then send the event to its topic again." }
                    label.check {
                        input type="checkbox" name="force" value="true" checked[is_overtaken];
                        span { "Replay even if later events with the same key were, or may be, written" }
                    }
                    button.primary name="action" value="replay" { "Replay" }
                }
                form method="post" action=(path) {
                    h3 { "Discard" }
                    label { "Why" textarea name="note" rows="2" maxlength="1000" required { "\n" (attempt.note) } }
                    button.danger name="action" value="discard" { "Discard" }
                }
            }
            @if let Some(event) = attempt.event.map(str::to_owned).or_else(|| letter.editable()) {
                details #edit open[attempt.event.is_some()] {
                    summary { "Edit and replay" }
                    p.soft {
                        "The edited event is checked like any other event, and is sent in place of this event. The dead letter keeps the original event."
                    }
                    @if let Some(refusal) = attempt.refusal.filter(|_| attempt.event.is_some()) { (problem(refusal)) }
                    form method="post" action={ (path) "#edit" } {
                        label { "Event" textarea.mono name="event" rows="14" spellcheck="false" required { "\n" (event) } }
                        label.check {
                            input type="checkbox" name="force" value="true" checked[is_overtaken];
                            span { "Replay even if later events with the same key were, or may be, written" }
                        }
                        button.primary name="action" value="edit" { "Check and replay" }
                    }
                }
            } @else {
                p.soft { "The event is too long or is not text, so it cannot be edited here. Use the JSON route to replace it." }
            }
        }
    }
}

/// Describes the outcome of a replay that was sent.
pub(super) fn sent(receipt: Option<&Receipt>) -> Notice {
    let Some(receipt) = receipt else { return Notice::done("Replayed.") };
    let place = receipt.place();
    match (receipt.status.as_deref(), &receipt.reason) {
        (Some("written"), _) => Notice::done(format!("Replayed as {place}, and written.")),
        (Some("rejected"), Some(reason)) => {
            Notice::failed(format!("Replayed as {place}, and rejected again: {reason}"))
        }
        (Some(status), _) => Notice::done(format!("Replayed as {place}, which is {status}.")),
        (None, _) => Notice::done(format!("Replayed as {place}.")),
    }
}
