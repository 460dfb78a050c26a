//! Replays or discards all dead letters that match a filter, after showing how many there are.

use axum::Extension;
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use shared::http::problem::Problem;

use super::api::{Api, Refusal};
use super::form::Form;
use super::layout::{Notice, Page, Section, SeeOther};
use super::letter_filter::LetterFilter;
use super::wording::{counted, number, sentence};

const LETTERS: &str = "/console/dead-letters";
const REPLAY: &str = "/console/dead-letters/replay";
const DISCARD: &str = "/console/dead-letters/discard";

#[derive(Debug, Deserialize)]
struct Count {
    count: i64,
    /// The number of matching letters that are still open.
    left: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Created {
    id: i64,
    count: i64,
}

fn filter(uri: &Uri) -> Result<LetterFilter, Refusal> {
    let (filter, _) = LetterFilter::from_query(uri.query()).map_err(|wrong| Problem::malformed(wrong.0))?;
    Ok(filter)
}

/// Limits the filter to letters that exist now, so that exactly the counted letters are replayed or discarded. The
/// database stamps letters with the real time, so this function does not use the clock that tests can set.
fn until_now(filter: &LetterFilter) -> LetterFilter {
    let now = Timestamp::now();
    let ends_before =
        filter.get("until").and_then(|until| until.parse::<Timestamp>().ok()).is_some_and(|end| end <= now);
    if ends_before { filter.clone() } else { filter.with("until", &now.to_string()) }
}

/// Asks whether to replay the letters.
pub(super) async fn ask_replay(Extension(api): Extension<Api>, uri: Uri) -> Result<Page, Refusal> {
    let filter = filter(&uri)?;
    let counted_filter = until_now(&filter);
    let body = json!({"filter": counted_filter.body(), "dry_run": true});
    let Count { count, .. } = api.post("/dead-letters/replays", &body).await?;
    let form = html! {
        form method="post" action=(counted_filter.path(REPLAY)) {
            label.check {
                input type="checkbox" name="force" value="true";
                span { "Also replay letters whose event was already replayed three times, or whose key has later events. "
                    "An older event may then replace a newer row." }
            }
            div.actions {
                button.primary disabled[count == 0] { "Replay " (counted(count, "letter")) }
                a.button href=(filter.path(LETTERS)) { "Back" }
            }
        }
    };
    let what = "Each letter is sent to its topic once more. You can cancel the run while it is in progress.";
    Ok(question("Replay dead letters", count, &filter, what, &form))
}

/// Creates the run.
pub(super) async fn replay(Extension(api): Extension<Api>, uri: Uri, form: Form) -> Result<SeeOther, Refusal> {
    let body = json!({"filter": filter(&uri)?.body(), "force": form.get("force") == "true"});
    let Created { id, count } = api.post("/dead-letters/replays", &body).await?;
    let path = format!("{LETTERS}/replays/{id}");
    Ok(SeeOther::new(path, Notice::done(format!("The run has started with {}.", counted(count, "letter")))))
}

/// Asks whether to discard the letters.
pub(super) async fn ask_discard(Extension(api): Extension<Api>, uri: Uri) -> Result<Page, Refusal> {
    let filter = filter(&uri)?;
    let counted_filter = until_now(&filter);
    let body = json!({"filter": counted_filter.body(), "dry_run": true});
    let Count { count, .. } = api.post("/dead-letters/discard", &body).await?;
    Ok(discard_page(&filter, &counted_filter, count, "", None))
}

/// Shows the form for a note. If the discard was refused, the form contains the refused note.
fn discard_page(
    filter: &LetterFilter,
    counted_filter: &LetterFilter,
    count: i64,
    note: &str,
    refusal: Option<&Refusal>,
) -> Page {
    let form = html! {
        @if let Some(refusal) = refusal { (Notice::failed(refusal.detail()).show()) }
        form method="post" action=(counted_filter.path(DISCARD)) {
            label { "Why"
                textarea name="note" rows="3" maxlength="1000" required placeholder="For those who look at these letters later" { "\n" (note) }
            }
            div.actions {
                button.danger disabled[count == 0] { "Discard " (counted(count, "letter")) }
                a.button href=(filter.path(LETTERS)) { "Back" }
            }
        }
    };
    let what = "Discarded letters are kept with your note, but cannot be replayed any more. Their receipts keep the status `rejected`.";
    question("Discard dead letters", count, filter, what, &form)
}

/// Discards the letters.
pub(super) async fn discard(
    Extension(api): Extension<Api>,
    uri: Uri,
    form: Form,
) -> Result<Result<SeeOther, Page>, Refusal> {
    let filter = filter(&uri)?;
    let body = json!({"filter": filter.body(), "note": form.get("note").trim()});
    match api.post("/dead-letters/discard", &body).await {
        Ok(Count { count, left }) => {
            let rest = match left.unwrap_or_default() {
                0 => String::new(),
                left => {
                    format!(" {} still open: there was no time for them, or they were being replayed.", number(left))
                }
            };
            let notice = Notice::done(format!("Discarded {}.{rest}", counted(count, "letter")));
            Ok(Ok(SeeOther::new(LETTERS, notice)))
        }
        Err(refusal) if refusal.status.is_client_error() => {
            let dry = json!({"filter": filter.body(), "dry_run": true});
            let Count { count, .. } = api.post("/dead-letters/discard", &dry).await?;
            Ok(Err(discard_page(&filter, &filter, count, form.get("note"), Some(&refusal)).refused(&refusal)))
        }
        Err(refusal) => Err(refusal),
    }
}

fn question(title: &str, count: i64, filter: &LetterFilter, what: &str, form: &Markup) -> Page {
    let content = html! {
        h1 { (title) }
        div.card.prose {
            p.count { b.number { (number(count)) } " " (if count == 1 { "open letter matches" } else { "open letters match" }) }
            @if filter.is_everything() { p.soft { "These are all open dead letters." } } @else { (filter.chips(LETTERS)) }
            p { (sentence(what)) }
            (form)
        }
    };
    Page::new(Section::DeadLetters, title, content)
}
