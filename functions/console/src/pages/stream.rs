//! The page of a stream: its activity in the last hour, its contract, and a form that checks or sends events.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use shared::http::fields::NoQuery;
use shared::identity::Caller;

use super::activity::StreamActivity;
use super::api::{Api, Refusal};
use super::event_place::Receipt;
use super::form::Form;
use super::layout::{Notice, Page, Section, SeeOther};
use super::payload::{indented_text, payload};
use super::problem_notice::problem;
use super::query::encoded;
use super::session::is_on_loopback;
use super::stalls::Stalls;
use super::state::Pages;
use super::wording::counted;

/// The header that asks the route to wait up to 5 s for the events to land.
const WAIT: (&str, &str) = ("prefer", "wait=5");

#[derive(Debug, Deserialize)]
struct Stream {
    stream: String,
    topic: String,
    partitions: i32,
    mode: String,
    table: Option<String>,
    roles: Vec<String>,
    contract: Box<RawValue>,
}

/// The members of a contract that the page uses.
#[derive(Debug, Default, Deserialize)]
struct Described {
    title: Option<String>,
    description: Option<String>,
    #[serde(default)]
    examples: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Valid {
    valid: i64,
    #[serde(default)]
    rows: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
struct Sent {
    receipts: Vec<Receipt>,
}

/// The result of the form.
#[derive(Debug)]
enum Outcome<'a> {
    Nothing,
    Valid(&'a str, Valid),
    Refused(&'a str, Refusal),
}

/// Shows a stream.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(stream): Path<String>,
    _: NoQuery,
) -> Result<Page, Refusal> {
    page(&pages, &api, (&caller, &headers), &stream, &Outcome::Nothing).await
}

/// Checks or sends the events of the form.
pub(super) async fn send(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(stream): Path<String>,
    form: Form,
) -> Result<Response, Refusal> {
    let events = form.get("events").replace("\r\n", "\n");
    let path = format!("/events/{}", encoded(&stream));
    let outcome = if form.get("action") == "send" {
        match api.send::<Sent>(Method::POST, &path, &[WAIT], Body::from(events.clone())).await {
            Ok(Sent { receipts }) => return Ok(sent(&stream, &receipts).into_response()),
            Err(refusal) => match rejected(&refusal) {
                Some(receipts) => return Ok(sent(&stream, &receipts).into_response()),
                None => Outcome::Refused(&events, refusal),
            },
        }
    } else {
        match api
            .send::<Valid>(Method::POST, &format!("{path}?validate_only=true"), &[], Body::from(events.clone()))
            .await
        {
            Ok(valid) => Outcome::Valid(&events, valid),
            Err(refusal) => Outcome::Refused(&events, refusal),
        }
    };
    if let Outcome::Refused(_, refusal) = &outcome
        && !refusal.status.is_client_error()
    {
        return Err(refusal.clone());
    }
    Ok(page(&pages, &api, (&caller, &headers), &stream, &outcome).await?.into_response())
}

/// Returns the receipts from a refusal if the events were sent, but some of them could not be written.
fn rejected(refusal: &Refusal) -> Option<Vec<Receipt>> {
    let receipts = Vec::<Receipt>::deserialize(&refusal.body["receipts"]).ok()?;
    (refusal.status.is_client_error() && !receipts.is_empty()).then_some(receipts)
}

/// If one event was sent, redirects to the page that shows what happens to the event (`/console/follow`). If several
/// events were sent, redirects to the page of the stream, with a notice that says how many events were written and
/// rejected.
fn sent(stream: &str, receipts: &[Receipt]) -> SeeOther {
    if let [receipt] = receipts {
        let notice = match receipt.status.as_deref() {
            Some("rejected") => Notice::failed("The event was sent, and rejected."),
            Some(_) | None => Notice::done("The event was sent."),
        };
        return SeeOther::new(receipt.follow_path(), notice);
    }
    let with = |name: &str| receipts.iter().filter(|receipt| receipt.status.as_deref() == Some(name)).count();
    let (written, rejected) = (with("written"), with("rejected"));
    let count = counted(i64::try_from(receipts.len()).unwrap_or(i64::MAX), "event");
    let text = format!("Sent {count}: {written} written, {rejected} rejected so far.");
    let notice = if rejected == 0 { Notice::done(text) } else { Notice::failed(text) };
    SeeOther::new(format!("/console/streams/{}", encoded(stream)), notice)
}

async fn page(
    pages: &Pages,
    api: &Api,
    by: (&Caller, &HeaderMap),
    name: &str,
    outcome: &Outcome<'_>,
) -> Result<Page, Refusal> {
    let path = format!("/streams/{}", encoded(name));
    let (stream, activity, stalls) =
        tokio::join!(api.get::<Stream>(&path), StreamActivity::find(api, name), Stalls::read(api));
    let (stream, activity) = (stream?, activity?);
    let stalls = stalls.of_topic(&stream.topic);
    let described: Described = serde_json::from_str(stream.contract.get()).unwrap_or_default();
    let example = described.examples.first().map(|example| indented_text(example.get())).unwrap_or_default();
    let now_ms = pages.clock.now_ms();
    let content = html! {
        nav.crumbs aria-label="Path" { a href="/console" { "Streams" } }
        h1 { (stream.stream) }
        @if let Some(text) = described.description.as_ref().or(described.title.as_ref()) { p.lead { (text) } }
        (stalls.show(&[], now_ms))
        @if let Some(activity) = &activity { (activity.panels(now_ms)) }
        div.columns {
            section.card {
                h2 { "Send events" }
                @if stream.roles.is_empty() {
                    p { "The contract of this stream names no roles, so no user may send its events here." }
                } @else {
                    (send_form(&stream, &example, outcome))
                }
            }
            section.card {
                h2 { "Facts" }
                dl.facts {
                    dt { "Topic" } dd { code { (stream.topic) } }
                    dt { "Partitions" } dd { (stream.partitions) }
                    dt { "Mode" } dd { (stream.mode) }
                    dt { "Table" } dd { code { (stream.table.as_deref().unwrap_or("the tables that the events name")) } }
                    dt { "Who may send" } dd { (if stream.roles.is_empty() { "service keys".to_owned() } else { stream.roles.join(", ") }) }
                }
                h3 { "From a terminal" }
                div.code.wrap tabindex="0" role="group" aria-label="Command" { pre { code { (curl(by, &stream, &described)) } } }
            }
        }
        section.card {
            h2 { "Contract" }
            (payload(&stream.contract, None))
        }
    };
    let page = Page::new(Section::Overview, stream.stream.as_str(), content);
    Ok(match outcome {
        Outcome::Refused(_, refusal) => page.refused(refusal),
        Outcome::Nothing | Outcome::Valid(..) => page,
    })
}

fn send_form(stream: &Stream, example: &str, outcome: &Outcome<'_>) -> Markup {
    let events = match outcome {
        Outcome::Nothing => example,
        Outcome::Valid(events, _) | Outcome::Refused(events, _) => events,
    };
    html! {
        form method="post" action={ "/console/streams/" (encoded(&stream.stream)) "#result" } {
            label { "An event, or an array of events"
                textarea.mono name="events" rows="12" spellcheck="false" required { "\n" (events) }
            }
            div.actions {
                button.primary name="action" value="validate" { "Check" }
                button name="action" value="send" { "Send" }
            }
        }
        div #result {
            @match outcome {
                Outcome::Nothing => p.soft {
                    "Checking compares the events with the contract, and shows the rows that would be written. It sends "
                    "nothing, and does not check the table's constraints."
                },
                Outcome::Valid(_, valid) => {
                    div.notice.good role="status" {
                        p { (counted(valid.valid, "valid event")) ". Nothing was sent. The table's constraints were not checked." }
                    }
                    @if !valid.rows.is_empty() {
                        h3 { "Rows" }
                        @for row in valid.rows.iter().take(20) { (payload(row, None)) }
                        @if valid.rows.len() > 20 { p.soft { "These are the first 20 rows." } }
                    }
                },
                Outcome::Refused(_, refusal) => (problem(refusal)),
            }
        }
    }
}

/// Returns the command that sends the example.
fn curl((caller, headers): (&Caller, &HeaderMap), stream: &Stream, described: &Described) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("HOST");
    let scheme = if is_on_loopback(headers) { "http" } else { "https" };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let compact = |json: &RawValue| serde_json::from_str::<Value>(json.get()).map(|value| value.to_string());
    let example =
        described.examples.first().and_then(|example| compact(example).ok()).unwrap_or_else(|| "{}".to_owned());
    format!(
        "curl -u {} {scheme}://{host}/events/{} \\\n  -H 'Content-Type: application/json' \\\n  -d {}",
        quoted(&caller.name),
        encoded(&stream.stream),
        quoted(&example)
    )
}
