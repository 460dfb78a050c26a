//! The page of users: the blocked names, and all users.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Uri};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use shared::http::database::{self, in_time};
use shared::http::fields::{Fields, Malformed};
use shared::http::problem::Problem;
use shared::identity::Caller;
use shared::identity::lockout::{self, Blocked};

use super::api::{Api, List, Refusal};
use super::form::Form;
use super::layout::{Notice, Page, Section, SeeOther};
use super::query::{encoded, with_query};
use super::state::Pages;
use super::wording::{duration, status, time, time_ms};

const PATH: &str = "/console/users";
const DELETE: &str = "/console/users/delete";

#[derive(Debug, Deserialize)]
struct User {
    user: String,
    role: String,
    created: Timestamp,
    blocked_until: Option<Timestamp>,
}

fn parameter(uri: &Uri, name: &'static str) -> Result<Option<String>, Malformed> {
    Ok(Fields::from_query(uri.query(), &[name])?.get(name)?.map(str::to_owned))
}

/// Shows the users.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(api): Extension<Api>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Page, Refusal> {
    let after = parameter(&uri, "after").map_err(|wrong| Problem::malformed(wrong.0))?;
    let parameters = after.as_deref().map(|after| ("after", after)).into_iter().chain([("limit", "100")]);
    let users: List<User> = api.get(&with_query("/users", parameters)).await?;
    let now_ms = pages.clock.now_ms();
    // Reads the blocks from the database, because `GET /blocked` lists the same names without the times at which their
    // blocks end.
    let blocked = in_time(lockout::blocked(&pages.pool, now_ms)).await.map_err(|error| {
        database::log(&error);
        database::problem(&error)
    })?;
    let content = html! {
        h1 { "Users" }
        (blocked_table(&blocked, now_ms))
        (user_table(&users, &caller, now_ms))
    };
    Ok(Page::new(Section::Users, "Users", content))
}

fn blocked_table(blocked: &[Blocked], now_ms: i64) -> Markup {
    html! {
        section.card {
            h2 { "Blocked" }
            @if blocked.is_empty() {
                p.soft { "Nobody is blocked. Repeated wrong passwords block a name for a while." }
            } @else {
                table.stack.rows {
                    caption { "Names with too many wrong passwords. Even the right password is refused during the block." }
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Time left" } th scope="col" { "Until" }
                        th.end scope="col" { span.hidden { "Action" } }
                    } }
                    tbody {
                        @for Blocked { name, is_user, until_ms } in blocked {
                            tr {
                                th scope="row" { (name) @if !is_user { div.soft { "no such user" } } }
                                td data-label="Time left" { (duration(until_ms - now_ms)) }
                                td data-label="Until" { (time_ms(*until_ms, now_ms)) }
                                td.end {
                                    form method="post" action=(PATH) {
                                        input type="hidden" name="user" value=(name);
                                        button name="action" value="unblock" aria-label={ "Unblock " (name) } { "Unblock" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn user_table(users: &List<User>, caller: &Caller, now_ms: i64) -> Markup {
    html! {
        section.card {
            h2 { "All users" }
            table.stack.rows {
                caption { "By name." }
                thead { tr {
                    th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Registered" }
                    th.end scope="col" { span.hidden { "Action" } }
                } }
                tbody {
                    @for user in &users.items {
                        tr {
                            th scope="row" {
                                (user.user)
                                @if user.user == caller.name { " " span.soft { "(you)" } }
                                @if user.blocked_until.is_some() { " " (status("blocked")) }
                            }
                            td data-label="Role" { (user.role) }
                            td data-label="Registered" { (time(user.created, now_ms)) }
                            td.end {
                                a.button href=(with_query(DELETE, [("user", user.user.as_str())])) aria-label={ "Delete " (user.user) } { "Delete…" }
                            }
                        }
                    }
                }
            }
            @if let Some(next) = &users.next {
                p.more { a.button href=(with_query(PATH, [("after", next.as_str())])) { "Next page" } }
            }
        }
    }
}

/// Asks whether to delete a user.
pub(super) async fn ask_delete(Extension(caller): Extension<Caller>, uri: Uri) -> Result<Page, Refusal> {
    let user = parameter(&uri, "user").map_err(|wrong| Problem::malformed(wrong.0))?.unwrap_or_default();
    let content = html! {
        nav.crumbs aria-label="Path" { a href=(PATH) { "Users" } }
        h1 { "Delete a user" }
        div.card.prose {
            p { "Delete " b { (user) } "? The user's password, tokens and service keys stop working everywhere within five seconds. "
                "Events that the user has sent are kept." }
            @if user == caller.name { p.notice.bad { "This is you: you will be signed out." } }
            form method="post" action=(PATH) {
                input type="hidden" name="user" value=(user);
                div.actions {
                    button.danger name="action" value="delete" { "Delete " (user) }
                    a.button href=(PATH) { "Back" }
                }
            }
        }
    };
    Ok(Page::new(Section::Users, "Delete a user", content))
}

/// Lifts a block, or deletes a user.
pub(super) async fn act(Extension(api): Extension<Api>, form: Form) -> Result<SeeOther, Refusal> {
    let user = form.get("user");
    let (path, done) = match form.get("action") {
        "unblock" => (format!("/blocked/{}", encoded(user)), format!("{user} may log in again.")),
        "delete" => (format!("/users/{}", encoded(user)), format!("{user} was deleted.")),
        _ => return Err(Problem::malformed("The form has no action.").into()),
    };
    match api.send::<Value>(Method::DELETE, &path, &[], Body::empty()).await {
        Ok(_) => Ok(SeeOther::new(PATH, Notice::done(done))),
        Err(refusal) if refusal.status.is_client_error() => Ok(SeeOther::new(PATH, Notice::failed(refusal.detail()))),
        Err(refusal) => Err(refusal),
    }
}
