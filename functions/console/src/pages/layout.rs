//! Renders the document around a page: the head, the bar with the sections, and the notice about the last action.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use shared::http::page::{Rendered, respond};

use super::api::Refusal;
use super::assets::{COMMON_STYLE, ICON, SCRIPT, STYLE};
use super::wording::sentence;

/// A section of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// All streams.
    Overview,
    /// Dead letters, and runs of replays.
    DeadLetters,
    /// One event and the stages that it went through.
    Follow,
    /// Users and blocks.
    Users,
    /// The audit log.
    Audit,
}

impl Section {
    const ALL: [Self; 5] = [Self::Overview, Self::DeadLetters, Self::Follow, Self::Users, Self::Audit];

    const fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/console"),
            Self::DeadLetters => ("Dead letters", "/console/dead-letters"),
            Self::Follow => ("Follow", "/console/follow"),
            Self::Users => ("Users", "/console/users"),
            Self::Audit => ("Audit", "/console/audit"),
        }
    }
}

/// The content of a page. The middleware `session::signed_in` renders it with [`Page::respond`].
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// The HTTP status.
    pub(super) status: StatusCode,
    /// The code of the problem that the page shows, for the log.
    pub(super) code: Option<&'static str>,
    /// The title, without the product's name.
    pub(super) title: String,
    /// The section that the page belongs to.
    pub(super) section: Option<Section>,
    /// The number of seconds after which a browser without scripts reloads the page.
    pub(super) reload_seconds: Option<u8>,
    /// The content, including the heading.
    pub(super) content: Markup,
}

/// Whether an action succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// The action succeeded.
    Done,
    /// The action failed.
    Failed,
}

/// A message about the last action. The next page shows it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// Whether the action succeeded.
    pub(super) tone: Tone,
    /// The message.
    pub(super) text: String,
}

impl Notice {
    /// Says what was done.
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self { tone: Tone::Done, text: text.into() }
    }

    /// Says what was not done, and why.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { tone: Tone::Failed, text: text.into() }
    }

    /// Renders the notice.
    pub(super) fn show(&self) -> Markup {
        match self.tone {
            Tone::Done => html! { p.notice.good role="status" { (sentence(&self.text)) } },
            Tone::Failed => html! { p.notice.bad role="alert" { (sentence(&self.text)) } },
        }
    }
}

impl Page {
    /// Creates a page of a section.
    pub(super) fn new(section: Section, title: impl Into<String>, content: Markup) -> Self {
        let (status, title, section) = (StatusCode::OK, title.into(), Some(section));
        Self { status, code: None, title, section, reload_seconds: None, content }
    }

    /// Turns the page into the answer to a refused request.
    pub(super) fn refused(self, refusal: &Refusal) -> Self {
        Self { status: refusal.status, code: Some(refusal.code), ..self }
    }

    /// Renders the page. `user` is the signed-in user. If `user` is `None`, the page has neither the links to the
    /// sections nor the button that signs out.
    pub(super) fn respond(&self, user: Option<&str>, notice: Option<&Notice>) -> Response {
        let mut response = respond(self.status, self.document(user, notice), POLICY);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.extensions_mut().insert(Rendered { code: self.code });
        response
    }

    fn document(&self, user: Option<&str>, notice: Option<&Notice>) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Sluice" }
                    link rel="icon" type="image/svg+xml" href=(ICON);
                    link rel="stylesheet" href=(COMMON_STYLE);
                    link rel="stylesheet" href=(STYLE);
                    script src=(SCRIPT) defer {}
                    @if let Some(seconds) = self.reload_seconds {
                        noscript { meta http-equiv="refresh" content=(seconds); }
                    }
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    (self.bar(user))
                    main #content tabindex="-1" {
                        @if let Some(notice) = notice { (notice.show()) }
                        (self.content)
                    }
                }
            }
        }
    }

    fn bar(&self, user: Option<&str>) -> Markup {
        html! {
            header.bar {
                div {
                    a.brand href="/console" { img src=(ICON) alt="" width="24" height="24"; "Sluice" }
                    @if let Some(user) = user {
                        nav aria-label="Sections" {
                            @for section in Section::ALL {
                                @let (name, path) = section.link();
                                @let current = (self.section == Some(section)).then_some("page");
                                a href=(path) aria-current=[current] { (name) }
                            }
                        }
                        form.session method="post" action="/console/sign-out" {
                            span.who title=(user) { (user) }
                            button { "Sign out" }
                        }
                    }
                }
            }
        }
    }
}

/// Lets pages load only the console's own files.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Passes the page to the middleware `session::signed_in`, which renders it.
impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Passes the refusal to the middleware `session::signed_in`, which renders it as a page.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A redirect after an action, with a notice about the action.
#[derive(Debug, Clone)]
pub(super) struct SeeOther {
    /// The path.
    pub(super) path: String,
    /// The message that the next page shows.
    pub(super) notice: Option<Notice>,
}

impl SeeOther {
    /// Creates a redirect to a page that shows the notice.
    pub(super) fn new(path: impl Into<String>, notice: Notice) -> Self {
        Self { path: path.into(), notice: Some(notice) }
    }
}

/// Passes the redirect to the middleware `session::signed_in`, which keeps the notice in a cookie.
impl IntoResponse for SeeOther {
    fn into_response(self) -> Response {
        let mut response = StatusCode::SEE_OTHER.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The page that says why a request was refused.
pub(super) fn refusal_page(refusal: &Refusal) -> Page {
    let title = refusal.body["title"].as_str().unwrap_or("Something went wrong");
    let content = html! {
        h1 { (title) }
        div.card.prose {
            p { (sentence(refusal.detail())) }
            @if let Some(id) = refusal.body["request_id"].as_str().filter(|id| !id.is_empty()) {
                p.soft { "Request " code { (id) } }
            }
            p { a href="/console" { "Back to the overview" } }
        }
    };
    Page { section: None, ..Page::new(Section::Overview, title, content) }.refused(refusal)
}
