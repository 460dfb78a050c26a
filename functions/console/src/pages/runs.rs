//! The pages of replay runs: the list, and one run with its progress.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::http::fields::{Fields, NoQuery};
use shared::http::problem::Problem;

use super::api::{Api, List, Refusal};
use super::layout::{Notice, Page, Section, SeeOther};
use super::letter_filter::{as_parameter, parameter};
use super::query::with_query;
use super::state::Pages;
use super::wording::{counted, exact_time, number, status, time};

const PATH: &str = "/console/dead-letters/replays";
/// The interval at which the progress is looked up, in seconds.
const EVERY_SECONDS: u8 = 2;

#[derive(Debug, Deserialize)]
struct Run {
    id: i64,
    count: i64,
    replayed: i64,
    skipped: i64,
    skip_reasons: BTreeMap<String, i64>,
    status: String,
    created_by: String,
    created_at: Timestamp,
    finished_at: Option<Timestamp>,
    filter: Value,
    force: bool,
}

impl Run {
    fn is_running(&self) -> bool {
        self.status == "running"
    }

    /// Returns the number of skipped letters without a reason.
    fn unexplained(&self) -> i64 {
        self.skipped - self.skip_reasons.values().sum::<i64>()
    }

    /// Returns the path of the list of letters that match the run's filter without its `until`, which the console sets
    /// when a run is created. So the list includes letters that were created later, for example by rejected replays.
    fn letters_path(&self) -> String {
        let members = self.filter.as_object().into_iter().flatten().filter(|(name, _)| *name != "until");
        let parameters: Vec<(&str, String)> =
            members.map(|(name, value)| (name.as_str(), as_parameter(value))).collect();
        with_query("/console/dead-letters", parameters.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// Counts the open letters that match the run's filter without its `until`. `None` if they cannot be counted.
    async fn open_letters(&self, api: &Api) -> Option<i64> {
        #[derive(Deserialize)]
        struct Matching {
            count: i64,
        }
        let mut filter = self.filter.clone();
        filter.as_object_mut()?.remove("until");
        let body = json!({"filter": filter, "dry_run": true});
        api.post::<Matching>("/dead-letters/replays", &body).await.ok().map(|matching| matching.count)
    }

    /// Shows the run's filter.
    fn asked_for(&self) -> Markup {
        let members: Vec<(&String, &Value)> = self.filter.as_object().into_iter().flatten().collect();
        html! {
            @if members.iter().all(|(name, _)| *name == "until") { "all open letters " }
            @for (index, (name, value)) in members.into_iter().enumerate() {
                @if index > 0 { ", " }
                (name.replace('_', " ")) " "
                b { (value.as_str().map_or_else(|| value.to_string(), |value| parameter(name, value))) }
            }
            @if self.force { " " span.badge.plain { "forced" } }
        }
    }
}

/// Lists runs, newest first.
pub(super) async fn list(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let query = Fields::from_query(uri.query(), &["after"]).map_err(|wrong| Problem::malformed(wrong.0))?;
    let after = query.get("after").map_err(|wrong| Problem::malformed(wrong.0))?;
    let parameters = after.map(|after| ("after", after)).into_iter().chain([("limit", "50")]);
    let runs: List<Run> = api.get(&with_query("/dead-letters/replays", parameters)).await?;
    let now_ms = pages.clock.now_ms();
    let content = html! {
        nav.crumbs aria-label="Path" { a href="/console/dead-letters" { "Dead letters" } }
        h1 { "Replay runs" }
        @if runs.items.is_empty() {
            div.empty {
                h2 { "No runs yet" }
                p { "A run replays all dead letters that match a filter. " a href="/console/dead-letters" { "Choose the letters" } " first." }
            }
        } @else {
            section.card {
                table.stack {
                    caption { "The latest first." }
                    thead { tr {
                        th scope="col" { "Run" } th scope="col" { "Letters" } th.end scope="col" { "Replayed" }
                        th.end scope="col" { "Left out" } th scope="col" { "Started" } th scope="col" { "By" } th scope="col" { "Status" }
                    } }
                    tbody {
                        @for run in &runs.items {
                            tr {
                                th scope="row" { a href={ (PATH) "/" (run.id) } { "#" (run.id) } }
                                td data-label="Letters" { (run.asked_for()) }
                                td.end data-label="Replayed" { (number(run.replayed)) " of " (number(run.count)) }
                                td.end data-label="Left out" { (number(run.skipped)) }
                                td data-label="Started" { (time(run.created_at, now_ms)) }
                                td data-label="By" { (run.created_by) }
                                td data-label="Status" { (status(&run.status)) }
                            }
                        }
                    }
                }
                @if let Some(next) = &runs.next {
                    p.more { a.button href=(with_query(PATH, [("after", next.as_str())])) { "Older runs" } }
                }
            }
        }
    };
    Ok(Page::new(Section::DeadLetters, "Replay runs", content))
}

/// Shows one run.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Path(id): Path<String>,
    _: NoQuery,
) -> Result<Page, Refusal> {
    let run: Run = api.get(&format!("/dead-letters/replays/{}", run_id(&id)?)).await?;
    let open = if run.is_running() { None } else { run.open_letters(&api).await };
    let now_ms = pages.clock.now_ms();
    let content = html! {
        nav.crumbs aria-label="Path" {
            a href="/console/dead-letters" { "Dead letters" } " / " a href=(PATH) { "Replay runs" }
        }
        h1 { "Run #" (run.id) }
        @let every = run.is_running().then_some(EVERY_SECONDS);
        div.card {
            div #progress data-refresh=[every] { (progress(&run, open)) }
            // This part is refreshed separately, so that the button keeps the focus while the progress changes.
            div #cancel data-refresh=[every] { (cancel_form(&run)) }
        }
        section.card {
            h2 { "What was asked for" }
            dl.facts {
                dt { "Letters" } dd { (run.asked_for()) }
                dt { "By" } dd { (run.created_by) }
                dt { "Started" } dd { (exact_time(run.created_at, now_ms)) }
            }
        }
    };
    let reload_seconds = run.is_running().then_some(EVERY_SECONDS);
    Ok(Page { reload_seconds, ..Page::new(Section::DeadLetters, format!("Run {}", run.id), content) })
}

fn run_id(text: &str) -> Result<i64, Refusal> {
    text.parse().map_err(|_| Problem::not_found("There is no such run.").into())
}

/// Shows how far a run has got. `open` counts the open letters that match the filter of an ended run.
fn progress(run: &Run, open: Option<i64>) -> Markup {
    let settled = run.replayed + run.skipped;
    html! {
        p.state { (status(&run.status)) }
        p role="status" aria-live="polite" {
            b.number { (number(run.replayed)) } " of " b.number { (number(run.count)) } " replayed"
            @if run.skipped > 0 { ", " b.number { (number(run.skipped)) } " left out" }
            "."
        }
        progress value=(settled) max=(run.count.max(1)) aria-label="Progress" {}
        @if run.skipped > 0 {
            ul {
                @for (reason, count) in &run.skip_reasons {
                    li { b.number { (number(*count)) } " left out: " (explained(reason)) }
                }
                @if run.unexplained() > 0 {
                    li { b.number { (number(run.unexplained())) } " left out by an older version of Sluice, which did not note why" }
                }
            }
        }
        @if let Some(at) = run.finished_at {
            p.soft { "Ended at " time datetime=(at) { (at.strftime("%Y-%m-%d %H:%M:%S UTC")) } ". "
                "If the cause of a rejection is not removed, the event is rejected again, and becomes a new letter. "
                @match open {
                    Some(0) => "No open letter matches the filter now. ",
                    Some(open) => { b { (counted(open, "open letter")) } (if open == 1 { " matches" } else { " match" }) " the filter now. " },
                    None => {},
                }
                a href=(run.letters_path()) { "See which letters match now" } }
        }
    }
}

/// Explains why letters were left out. Reasons that a newer version of Sluice has added are shown as they are.
fn explained(reason: &str) -> &str {
    match reason {
        "not_open" => "replayed, discarded, expired or deleted in the meantime",
        "no_stream" => "no stream uses the topic any more",
        "of_bigquery" => "the event could not be written to BigQuery, and such letters cannot be replayed yet",
        "replayed_often" => "the event was already replayed three times; a forced run replays such letters anyway",
        "later_event" => {
            "a later event with the same key was written or may still be written, and the replay would replace that \
             event; a forced run replays such letters anyway"
        }
        "later_event_possible" => {
            "a later event with the same key cannot be ruled out, and the replay would replace such an event; a \
             forced run replays such letters anyway"
        }
        "too_large" => "too large for the broker",
        other => other,
    }
}

fn cancel_form(run: &Run) -> Markup {
    html! {
        @if run.is_running() {
            form method="post" action={ (PATH) "/" (run.id) } { button.danger { "Cancel the run" } }
        }
    }
}

/// Cancels a run.
pub(super) async fn cancel(Extension(api): Extension<Api>, Path(id): Path<String>) -> Result<SeeOther, Refusal> {
    let run: Run = api.post(&format!("/dead-letters/replays/{}/cancel", run_id(&id)?), &json!(null)).await?;
    let notice = match run.status.as_str() {
        "cancelled" => Notice::done(format!(
            "Cancelled after {}. If the run was replaying letters at that moment, these letters are still replayed.",
            counted(run.replayed, "letter")
        )),
        _ => Notice::failed("The run had already ended."),
    };
    Ok(SeeOther::new(format!("{PATH}/{}", run.id), notice))
}
