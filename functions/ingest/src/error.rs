//! What a request is answered with when it is not answered as asked.

use std::borrow::Cow;

use axum::http::header::{ACCEPT_ENCODING, ALLOW};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use shared::contract::NotJson;
use shared::http::database;
use shared::http::fields;
use shared::http::problem::Problem;
use shared::identity::Denied;

use crate::check::EventError;
use crate::receipts::Receipt;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `400`: an event, or the batch, is not JSON.
    #[error("not JSON: {0}")]
    NotJson(NotJson),
    /// `400`: a header, a parameter or the body's encoding is wrong.
    #[error("malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// `404`: there is no such thing.
    #[error("not found: {0}")]
    NotFound(Cow<'static, str>),
    /// `405`: the route has other methods.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// Those that it has.
        allow: &'static str,
    },
    /// `409`: the dead letter cannot be put back on its topic.
    #[error("not replayable: {0}")]
    NotReplayable(&'static str),
    /// `413`: one of the limits.
    #[error("too large: {0}")]
    TooLarge(&'static str),
    /// `415`: a media type that the route does not take.
    #[error("unsupported media type")]
    MediaType {
        /// Those that it takes.
        accepted: &'static str,
    },
    /// `415`: a content coding that is not taken.
    #[error("unsupported content coding")]
    Coding,
    /// `422`: events that break the contract.
    #[error("{} contract violations", .0.len())]
    Violations(Vec<EventError>),
    /// `422`: a batch without an event.
    #[error("empty batch")]
    Empty,
    /// `422`: as many random events are not made.
    #[error("not a number of events")]
    Number,
    /// `500`: no random event was found that keeps the contract.
    #[error("no random events")]
    NoEvents,
    /// `422`: events were accepted and then rejected when they were to be written.
    #[error("rejected events")]
    Rejected {
        /// All of the batch's.
        receipts: Vec<Receipt>,
        /// What a lenient batch left out.
        errors: Option<Vec<EventError>>,
    },
    /// `503`: the broker has not acknowledged all events in time.
    #[error("the broker has not acknowledged")]
    Unacknowledged {
        /// What it did acknowledge.
        receipts: Vec<Receipt>,
    },
    /// `413`: the broker takes smaller records only.
    #[error("the broker takes smaller records only")]
    RecordTooLarge {
        /// What it did acknowledge.
        receipts: Vec<Receipt>,
    },
    /// `503`: broker or database do not answer.
    #[error("unhealthy: {0}")]
    Unhealthy(&'static str),
    /// `401` or `403`: the caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// `503` or `500`: the database does not do its part.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// `400`.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(detail.into())
    }

    /// `404`.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound(detail.into())
    }

    /// How many events it is about that break their contract.
    pub(crate) fn invalid_events(&self) -> usize {
        match self {
            Self::Violations(errors) => EventError::events(errors),
            Self::NotJson(_) => 1,
            Self::Malformed(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
            | Self::NotReplayable(_)
            | Self::TooLarge(_)
            | Self::MediaType { .. }
            | Self::Coding
            | Self::Empty
            | Self::Number
            | Self::NoEvents
            | Self::Rejected { .. }
            | Self::Unacknowledged { .. }
            | Self::RecordTooLarge { .. }
            | Self::Unhealthy(_)
            | Self::Denied(_)
            | Self::Database(_) => 0,
        }
    }

    /// The problem as the caller sees it.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::NotJson(error) => {
                Problem::new(StatusCode::BAD_REQUEST, "not-json", "The body is not JSON", error.detail.clone())
                    .with("line", error.line)
                    .with("column", error.column)
            }
            Self::Malformed(detail) => Problem::malformed(detail.as_ref()),
            Self::NotFound(detail) => Problem::not_found(detail.as_ref()),
            Self::MethodNotAllowed { allow } => Problem::method_not_allowed(format!("This route takes {allow}.")),
            Self::NotReplayable(detail) => {
                Problem::new(StatusCode::CONFLICT, "not-replayable", "The dead letter is not replayed", *detail)
            }
            Self::TooLarge(detail) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", *detail)
            }
            Self::RecordTooLarge { receipts } => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
                "The broker takes smaller events only. receipts lists those that it took.",
            )
            .with("receipts", listed(receipts)),
            Self::MediaType { accepted } => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The media type is not supported",
                format!("Content-Type should be one of {accepted}, in UTF-8."),
            ),
            Self::Coding => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-encoding",
                "The content coding is not supported",
                "Content-Encoding should be gzip, zstd or identity.",
            ),
            Self::Violations(errors) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "contract",
                "The contract is violated",
                "Nothing was sent. errors lists what breaks the contract, by the event's index and a JSON pointer.",
            )
            .with("errors", listed(errors)),
            Self::Empty => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "empty",
                "The batch is empty",
                "A batch holds at least one event.",
            ),
            Self::Number => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "number",
                "Not a number of events",
                "The number of events should be from 1 to 10,000.",
            ),
            Self::NoEvents => Problem::internal(),
            Self::Rejected { receipts, errors } => rejected(receipts, errors.as_deref()),
            Self::Unacknowledged { receipts } => Problem::unavailable("broker").with("receipts", listed(receipts)),
            Self::Unhealthy(what) => Problem::unavailable(what),
            Self::Denied(denied) => denied.problem(),
            Self::Database(error) => database::problem(error),
        }
    }

    fn log(&self) {
        match self {
            Self::Denied(denied) => denied.log(),
            Self::Database(error) => database::log(error),
            Self::Unhealthy(what) => tracing::warn!(what, "no answer"),
            Self::Rejected { .. }
            | Self::Unacknowledged { .. }
            | Self::RecordTooLarge { .. }
            | Self::NotJson(_)
            | Self::Malformed(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
            | Self::NotReplayable(_)
            | Self::TooLarge(_)
            | Self::MediaType { .. }
            | Self::Coding
            | Self::Violations(_)
            | Self::Number
            | Self::NoEvents
            | Self::Empty => {}
        }
    }
}

fn rejected(receipts: &[Receipt], errors: Option<&[EventError]>) -> Problem {
    let problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "rejected",
        "Events were rejected",
        "At least one event was accepted but could not be written. receipts has each event's status and reason.",
    )
    .with("accepted", receipts.len())
    .with("receipts", listed(receipts));
    match errors {
        Some(errors) => problem.with("errors", listed(errors)),
        None => problem,
    }
}

fn listed(items: &[impl serde::Serialize]) -> Value {
    serde_json::to_value(items).unwrap_or_default()
}

impl From<fields::Malformed> for Error {
    fn from(fields::Malformed(detail): fields::Malformed) -> Self {
        Self::Malformed(detail)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let mut response = self.problem().into_response();
        if let Self::MethodNotAllowed { allow } = self {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        } else if matches!(self, Self::Coding) {
            // RFC 9110, section 15.5.16.
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd"));
        }
        response
    }
}
