//! The sign-in form.

use maud::html;
use shared::identity::Denied;

use super::layout::{Page, Section};
use super::wording::duration;

/// Shows the form. `next` is the path to go to after signing in.
pub(super) fn page(next: &str, user: &str, denied: Option<&Denied>, is_from_elsewhere: bool) -> Page {
    let content = html! {
        div.sign-in {
            h1 { "Sign in" }
            p.soft { "The console is for admins of this gateway." }
            @if let Some(denied) = denied {
                p.notice.bad role="alert" id="why" { (sentence(denied)) }
            }
            form.card method="post" action="/console/sign-in" {
                input type="hidden" name="next" value=(next);
                label { "User name"
                    input name="user" value=(user) autocomplete="username" autocapitalize="none" spellcheck="false" required
                        autofocus[denied.is_none()] aria-describedby=[denied.map(|_| "why")];
                }
                label { "Password"
                    input type="password" name="password" autocomplete="current-password" required
                        autofocus[denied.is_some()] aria-describedby=[denied.map(|_| "why")];
                }
                button.primary { "Sign in" }
            }
            @if is_from_elsewhere {
                p { a href=(next) { "Continue if you are already signed in" } }
            }
        }
    };
    Page { section: None, ..Page::new(Section::Overview, "Sign in", content) }
}

/// Says why the sign-in failed. An unknown user and a wrong password get the same sentence.
fn sentence(denied: &Denied) -> String {
    match denied {
        Denied::Blocked { retry_after_seconds } => {
            let left = duration(i64::from(*retry_after_seconds) * 1_000);
            format!(
                "Too many attempts failed, so this user is blocked. Try again in {left}, or ask another admin to lift the block."
            )
        }
        Denied::Forbidden => "This user is not an admin. Sign in as an admin.".to_owned(),
        Denied::Missing
        | Denied::InvalidToken
        | Denied::InvalidKey
        | Denied::KeyAsName
        | Denied::WrongPassword
        | Denied::OtherStream
        | Denied::UsersOnly
        | Denied::KeysOnly
        | Denied::OwnStream => "User name or password is wrong.".to_owned(),
        Denied::Busy => "Too many passwords are being checked. Try again in a few seconds.".to_owned(),
        Denied::Unhashable(_) | Denied::Token(_) | Denied::Fault => {
            "Something went wrong on our side. Try again; the log has the cause.".to_owned()
        }
        Denied::Database(_) => "The database did not answer in time. Try again.".to_owned(),
    }
}
