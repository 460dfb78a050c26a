//! The page of the audit log, which lists who did what.

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use shared::http::fields::Fields;
use shared::http::problem::Problem;

use super::api::{Api, List, Refusal};
use super::layout::{Page, Section};
use super::letter_filter::{as_parameter, parameter};
use super::query::with_query;
use super::state::Pages;
use super::wording::time;

const PATH: &str = "/console/audit";

#[derive(Debug, Deserialize)]
struct Entry {
    at: Timestamp,
    user: String,
    action: String,
    object: String,
    detail: Value,
}

/// Shows the entries, newest first.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let query = Fields::from_query(uri.query(), &["after"]).map_err(|wrong| Problem::malformed(wrong.0))?;
    let after = query.get("after").map_err(|wrong| Problem::malformed(wrong.0))?;
    let parameters = after.map(|after| ("after", after)).into_iter().chain([("limit", "50")]);
    let entries: List<Entry> = api.get(&with_query("/audit", parameters)).await?;
    let now_ms = pages.clock.now_ms();
    let content = html! {
        h1 { "Audit" }
        @if entries.items.is_empty() {
            div.empty {
                h2 { "Nothing yet" }
                p { "Replays, discards, lifted blocks, and created or deleted users and keys appear here." }
            }
        } @else {
            section.card {
                table.stack {
                    caption { "The latest first." }
                    thead { tr {
                        th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Did" } th scope="col" { "To" }
                        th scope="col" { "Details" }
                    } }
                    tbody {
                        @for entry in &entries.items {
                            tr {
                                td data-label="When" { (time(entry.at, now_ms)) }
                                td data-label="Who" { b { (entry.user) } }
                                td.nowrap data-label="Did" { (entry.action) }
                                td data-label="To" { (object(&entry.object, &entry.detail)) }
                                td data-label="Details" { (details(&entry.detail)) }
                            }
                        }
                    }
                }
                @if let Some(next) = &entries.next {
                    p.more { a.button href=(with_query(PATH, [("after", next.as_str())])) { "Older entries" } }
                }
            }
        }
    };
    Ok(Page::new(Section::Audit, "Audit", content))
}

/// Shows the object of an action, as a link if the object has a page. The object of a discard links to the list of
/// discarded letters that the discard's filter matches now.
fn object(path: &str, detail: &Value) -> Markup {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-/".contains(&byte));
    let address = match path {
        "dead-letters" => discarded_path(&detail["filter"]),
        _ => (is_plain && path.starts_with("dead-letters/")).then(|| format!("/console/{path}")),
    };
    html! { @match address { Some(address) => a.nowrap href=(address) { (path) }, None => (path) } }
}

/// Returns the path of the list of discarded letters that match a filter. Returns `None` if the filter has an empty
/// value: the list would ignore that value, and might show letters that the filter did not match.
fn discarded_path(filter: &Value) -> Option<String> {
    let members = filter.as_object().into_iter().flatten().filter(|(name, _)| *name != "status");
    let parameters: Vec<(&str, String)> = members.map(|(name, value)| (name.as_str(), as_parameter(value))).collect();
    if parameters.iter().any(|(_, value)| value.is_empty()) {
        return None;
    }
    let parameters = parameters.iter().map(|(name, value)| (*name, value.as_str()));
    Some(with_query("/console/dead-letters", parameters.chain([("status", "discarded")])))
}

/// Shows the details of an entry, for example `count 200, filter stream route, note …`.
fn details(detail: &Value) -> Markup {
    let members: Vec<(&String, &Value)> = detail.as_object().into_iter().flatten().collect();
    html! {
        @for (index, (name, value)) in members.into_iter().filter(|(_, value)| is_worth_it(value)).enumerate() {
            @if index > 0 { ", " }
            span.soft { (name.replace('_', " ")) } " "
            @match value {
                Value::String(text) => (parameter(name, text)),
                Value::Bool(true) => "yes",
                Value::Object(_) => (details(value)),
                other => (other.to_string()),
            }
        }
    }
}

fn is_worth_it(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Array(_) => true,
    }
}
