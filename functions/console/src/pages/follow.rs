//! The page that follows an event: a form that finds the event, and the stages that the event went through.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::contract::Contract;
use shared::http::fields::{Fields, Malformed};
use shared::http::problem::Problem;

use super::api::{Api, List, Refusal};
use super::event_place::{Receipt, place};
use super::layout::{Notice, Page, Section};
use super::letter_filter::letter_path;
use super::payload::{payload, plain};
use super::query::{time_for_api, time_for_field, with_query};
use super::stalls::Stalls;
use super::state::Pages;
use super::wording::{exact_time, status};

const PATH: &str = "/console/follow";
/// The ways to find an event, each with the JSON route's parameter and the label in the form.
const WAYS: [(&str, &str); 3] = [("key", "Record key"), ("id", "Event id"), ("idempotency_key", "Idempotency key")];

#[derive(Debug, Deserialize)]
struct Event {
    topic: String,
    partition: i32,
    offset: i64,
    accepted_at: Option<Timestamp>,
    user: Option<String>,
    trace_id: Option<String>,
    key: Option<String>,
    payload: Option<Box<RawValue>>,
    payload_base64: Option<String>,
    #[serde(default)]
    payload_truncated: bool,
    status: String,
    reason: Option<String>,
    landed_at: Option<Timestamp>,
    row: Option<Box<RawValue>>,
    dead_letter: Option<Letter>,
}

#[derive(Debug, Deserialize)]
struct Letter {
    id: i64,
    status: String,
    error_code: String,
    pointer: Option<String>,
    replayed_as: Option<Receipt>,
}

/// The values in the form.
#[derive(Debug, Default)]
struct Question {
    receipt: String,
    stream: String,
    by: String,
    value: String,
    since: String,
    until: String,
    after: String,
}

impl Question {
    fn from_query(query: Option<&str>) -> Result<Self, Malformed> {
        let names = ["receipt", "stream", "by", "value", "since", "until", "after"];
        let fields = Fields::from_query(query, &names)?;
        let text = |name| Ok::<_, Malformed>(fields.get(name)?.unwrap_or_default().trim().to_owned());
        Ok(Self {
            receipt: text("receipt")?,
            stream: text("stream")?,
            by: text("by")?,
            value: text("value")?,
            since: time_for_api(&text("since")?),
            until: time_for_api(&text("until")?),
            after: text("after")?,
        })
    }

    /// Returns the path, with its query, of the JSON route that finds the events that the form asks for. `None` if the
    /// form has neither a receipt nor a value.
    fn api_path(&self) -> Option<String> {
        if !self.receipt.is_empty() {
            return Some(with_query("/follow", [("receipt", place_in(&self.receipt))]));
        }
        let by = WAYS.into_iter().find(|(name, _)| *name == self.by).map_or("key", |(name, _)| name);
        let parameters = [
            ("stream", &self.stream),
            (by, &self.value),
            ("since", &self.since),
            ("until", &self.until),
            ("after", &self.after),
        ];
        let given = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        (!self.value.is_empty()).then(|| with_query("/follow", given.map(|(name, value)| (name, value.as_str()))))
    }

    /// Returns the path of the page that continues the search at `next`.
    fn next_path(&self, next: &str) -> String {
        let parameters = [
            ("stream", self.stream.as_str()),
            ("by", &self.by),
            ("value", &self.value),
            ("since", &self.since),
            ("until", &self.until),
            ("after", next),
        ];
        with_query(PATH, parameters.into_iter().filter(|(_, value)| !value.is_empty()))
    }
}

/// Returns the `TOPIC/PARTITION/OFFSET` in a text that people may paste: a receipt's `href`, a URL that ends with the
/// `href`, or `TOPIC/PARTITION/OFFSET` followed by a slash and the record's time.
fn place_in(text: &str) -> &str {
    let place = text.rsplit_once("/receipts/").map_or(text, |(_, place)| place);
    place.match_indices('/').nth(2).map_or(place, |(end, _)| &place[..end])
}

/// Shows the form, and the events that it finds.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let question = Question::from_query(uri.query()).map_err(|wrong| Problem::malformed(wrong.0))?;
    let found = match question.api_path() {
        Some(path) => Some(api.get::<List<Event>>(&path).await),
        None => None,
    };
    let is_pending = |events: &List<Event>| events.items.iter().any(|event| event.status == "pending");
    let stalls = match &found {
        Some(Ok(events)) if is_pending(events) => Some(Stalls::read(&api).await),
        Some(Ok(_) | Err(_)) | None => None,
    };
    let now_ms = pages.clock.now_ms();
    let content = html! {
        h1 { "Follow an event" }
        (forms(&question, &pages.streams))
        @match &found {
            None => div.empty {
                h2 { "What happened to an event?" }
                p { "Paste its receipt, such as " code { "routes/2/17" } ", or look for it by key or id. "
                    "Without a time, the last hour is searched. One search covers at most 24 hours." }
            },
            Some(Err(refusal)) => (Notice::failed(refusal.detail()).show()),
            Some(Ok(events)) => (results(&question, events, stalls.as_ref(), now_ms)),
        }
    };
    let page = Page::new(Section::Follow, "Follow an event", content);
    match found {
        Some(Err(refusal)) if refusal.status.is_client_error() => Ok(page.refused(&refusal)),
        Some(Err(refusal)) => Err(refusal),
        Some(Ok(_)) | None => Ok(page),
    }
}

fn forms(question: &Question, streams: &[String]) -> Markup {
    // The form preselects the first stream other than the stream of logins, because few people look for a login.
    let first = streams.iter().find(|stream| *stream != Contract::LOGIN);
    let chosen = if question.stream.is_empty() { first } else { Some(&question.stream) };
    html! {
        div.columns.even {
            form.card method="get" action=(PATH) {
                h2 { "By receipt" }
                label { "Receipt"
                    input.mono name="receipt" value=(question.receipt) placeholder="TOPIC/PARTITION/OFFSET" required spellcheck="false";
                }
                button.primary { "Follow" }
            }
            form.card method="get" action=(PATH) {
                h2 { "By key or id" }
                div.fields {
                    label { "Stream"
                        select name="stream" {
                            @for stream in streams {
                                option value=(stream) selected[Some(stream) == chosen] { (stream) }
                            }
                        }
                    }
                    label { "Find by"
                        select name="by" {
                            @for (name, shown) in WAYS {
                                option value=(name) selected[name == question.by] { (shown) }
                            }
                        }
                    }
                    label.wide { "Value" input name="value" value=(question.value) required spellcheck="false"; }
                    label { "Since (UTC)" input type="datetime-local" step="1" name="since" value=(time_for_field(&question.since)); }
                    label { "Until (UTC)" input type="datetime-local" step="1" name="until" value=(time_for_field(&question.until)); }
                }
                button.primary { "Find" }
            }
        }
    }
}

fn results(question: &Question, events: &List<Event>, stalls: Option<&Stalls>, now_ms: i64) -> Markup {
    html! {
        @for event in &events.items { (stages(event, stalls, now_ms)) }
        @if events.items.is_empty() {
            div.empty {
                h2 { "Nothing found" }
                @if events.next.is_some() {
                    p { "Nothing was found so far, but there is more to search." }
                } @else {
                    p { (nowhere(question)) }
                }
            }
        }
        @if let Some(next) = &events.next {
            p.more { a.button href=(question.next_path(next)) { "Keep searching" } }
        }
    }
}

/// Says at which offset, or in which span of time, no event was found.
fn nowhere(question: &Question) -> Markup {
    let Question { receipt, since, until, .. } = question;
    html! {
        @if !receipt.is_empty() {
            "Kafka has no event at this offset yet. Check the receipt."
        } @else {
            "Kafka has no such event "
            @match (since.as_str(), until.as_str()) {
                ("", "") => "from the last hour",
                (since, "") => { "from " (since) " until 24 hours later" },
                ("", until) => { "in the hour before " (until) },
                (since, until) => { "from " (since) " until " (until) },
            }
            ". Check the stream, the value and the times."
        }
    }
}

fn stages(event: &Event, stalls: Option<&Stalls>, now_ms: i64) -> Markup {
    let stalled = stalls.and_then(|stalls| stalls.reason(&event.topic, event.partition));
    html! {
        article.card {
            div.title { h2.mono { (place(&event.topic, event.partition, event.offset)) } (status(&event.status)) }
            div.columns {
                div {
                    ol.timeline {
                        li.good {
                            b { "Accepted" }
                            @if let Some(at) = event.accepted_at { div { (exact_time(at, now_ms)) } }
                            div.soft {
                                @if let Some(user) = &event.user { "sent by " (user) } @else { "sent to the topic directly" }
                                @if let Some(key) = &event.key { ", key " code { (key) } }
                                @if let Some(trace) = &event.trace_id { ", trace " code { (trace) } }
                            }
                        }
                        (landing(event, stalled))
                        @if let Some(letter) = &event.dead_letter { (dead_letter(letter)) }
                    }
                }
                div {
                    h3 { "Event" }
                    @match (&event.payload, &event.payload_base64) {
                        (Some(json), _) => (payload(json, event.dead_letter.as_ref().and_then(|letter| letter.pointer.as_deref()))),
                        (None, Some(base64)) => (plain(base64)),
                        (None, None) => p.soft { "Kafka no longer has the event." },
                    }
                    @if event.payload_truncated { p.soft { "Cut after 64 KB." } }
                    @if let Some(row) = &event.row { h3 { "Its current row" } (payload(row, None)) }
                }
            }
        }
    }
}

/// Shows what became of an event. `stalled` is why the event's partition is stalled.
fn landing(event: &Event, stalled: Option<&str>) -> Markup {
    let (class, title, what) = match event.status.as_str() {
        "written" => ("good", "Written", "Its row is in the table."),
        "duplicate" => {
            ("plain", "Duplicate", "An earlier event with the same id has landed, so this one changed nothing.")
        }
        "superseded" => {
            const WHY: &str =
                "Its row already had a higher version, or was deleted with one, so this event changed nothing.";
            ("plain", "Superseded", WHY)
        }
        "waiting" => {
            ("warn", "Waiting", "Its parent has not arrived. The event lands as soon as the parent has arrived.")
        }
        "pending" => match stalled {
            Some(reason) => ("bad", "Stalled", reason),
            None => ("warn", "On its way", "It has not been applied yet. If this lasts, the overview shows the cause."),
        },
        "rejected" => ("bad", "Rejected", "It could not be written."),
        "lost" => ("bad", "Lost", "Kafka had already deleted the event when the function consume tried to read it."),
        other => ("plain", other, ""),
    };
    html! {
        li class=(class) {
            b { (title) }
            // The time is only accurate to the minute.
            @if let Some(at) = event.landed_at {
                div { "in the minute of " time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M UTC")) } }
            }
            div { (event.reason.as_deref().unwrap_or(what)) }
        }
    }
}

fn dead_letter(letter: &Letter) -> Markup {
    html! {
        li.plain {
            b { "Dead letter " a href=(letter_path(letter.id)) { "#" (letter.id) } } " " (status(&letter.status))
            div.soft { code { (letter.error_code) } }
        }
        @if let Some(receipt) = &letter.replayed_as {
            @let class = match receipt.status.as_deref() { Some("written") => "good", Some("rejected" | "lost") => "bad", _ => "warn" };
            li class=(class) { b { "Replayed" } div { (receipt.show()) } }
        }
    }
}
