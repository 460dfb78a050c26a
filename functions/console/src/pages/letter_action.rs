//! Replays or discards one dead letter. The event may be edited before the replay.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use shared::contract::NotJson;
use shared::contract::json::not_json;
use shared::http::problem::Problem;
use shared::http::problem_type::ProblemType;

use super::api::{Api, Refusal};
use super::event_place::Receipt;
use super::form::Form;
use super::layout::{Notice, SeeOther};
use super::letter::{Attempt, Letter, page, sent};
use super::letter_filter::LetterFilter;
use super::state::Pages;
use crate::not_replayable::FORCE;

/// The header that asks the route to wait up to 5 s for the replay to land.
const WAIT: (&str, &str) = ("prefer", "wait=5");

#[derive(Debug, Deserialize)]
struct Sent {
    receipts: Vec<Receipt>,
}

/// Performs the action that the form names.
pub(super) async fn act(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Path(id): Path<String>,
    uri: Uri,
    form: Form,
) -> Result<Response, Refusal> {
    let (filter, _) = LetterFilter::from_query(uri.query()).map_err(|wrong| Problem::malformed(wrong.0))?;
    let letter = Letter::find(&api, &id).await?;
    let event = form.get("event").replace("\r\n", "\n");
    let is_edit = form.get("action") == "edit";
    let done = match form.get("action") {
        "replay" => replay(&api, letter.id, &form, None).await,
        "edit" => replay(&api, letter.id, &form, Some(&event)).await,
        "discard" => discard(&api, letter.id, &form).await,
        _ => Err(Problem::malformed("The form has no action.").into()),
    };
    match done {
        Ok(notice) => Ok(SeeOther::new(filter.letter_path(letter.id), notice).into_response()),
        // The page is shown again, with the reason for the refusal and what was typed.
        Err(refusal) if refusal.status.is_client_error() => {
            let refusal = refusal.reworded(FORCE, "Tick the box to replay the letter anyway.");
            let attempt =
                Attempt { refusal: Some(&refusal), event: is_edit.then_some(event.as_str()), note: form.get("note") };
            Ok(page(&letter, &filter, &attempt, pages.clock.now_ms()).refused(&refusal).into_response())
        }
        Err(refusal) => Err(refusal),
    }
}

async fn replay(api: &Api, id: i64, form: &Form, event: Option<&str>) -> Result<Notice, Refusal> {
    let force = if form.get("force") == "true" { "?force=true" } else { "" };
    let path = format!("/dead-letters/{id}/replay{force}");
    let body = match event {
        // Passes the event to the route exactly as it was typed. The route checks it like any other event.
        Some(event) => Body::from(format!("{{\"event\": {}}}", event_of(event)?.get())),
        None => Body::empty(),
    };
    match api.send::<Sent>(Method::POST, &path, &[WAIT], body).await {
        Ok(Sent { receipts }) => Ok(sent(receipts.first())),
        // If the refusal contains a receipt, the replay was sent, and was rejected again.
        Err(refusal) => match refusal.body["receipts"].as_array().and_then(|receipts| receipts.first()) {
            Some(receipt) if refusal.status.is_client_error() => Ok(sent(receipt_of(receipt).as_ref())),
            Some(_) | None => Err(refusal),
        },
    }
}

/// Reads an edited event.
fn event_of(text: &str) -> Result<&RawValue, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let NotJson { line, column, detail } = not_json(&error);
        let problem = Problem::new(ProblemType::NOT_JSON, format!("The event is not JSON: {detail}."));
        problem.with("line", line).with("column", column).into()
    })
}

fn receipt_of(receipt: &Value) -> Option<Receipt> {
    Receipt::deserialize(receipt).ok()
}

async fn discard(api: &Api, id: i64, form: &Form) -> Result<Notice, Refusal> {
    let body = json!({"filter": {"ids": [id]}, "note": form.get("note").trim()});
    let discarded: Value = api.post("/dead-letters/discard", &body).await?;
    match discarded["count"].as_i64() {
        Some(1) => Ok(Notice::done("Discarded.")),
        Some(_) | None => Ok(Notice::failed("The letter was no longer open, or was being replayed.")),
    }
}
