//! How a failed request is answered.

use std::borrow::Cow;

use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, ALLOW};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use shared::contract::NotJson;
use shared::http::database;
use shared::http::fields;
use shared::http::problem::Problem;
use shared::http::problem_type::ProblemType;
use shared::identity::Denied;

use crate::event_error::EventError;
use crate::receipt::Receipt;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `400`: an event, or the batch, is not JSON.
    #[error("not JSON: {0}")]
    NotJson(NotJson),
    /// `400`: a header, a parameter or the body's encoding is wrong.
    #[error("malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// `404`: the resource does not exist.
    #[error("not found: {0}")]
    NotFound(Cow<'static, str>),
    /// `405`: the route does not support the method.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// The methods that the route supports.
        allow: &'static str,
    },
    /// `413`: the request exceeds a limit.
    #[error("too large: {0}")]
    TooLarge(&'static str),
    /// `415`: the route does not support the media type.
    #[error("unsupported media type")]
    MediaType {
        /// The media types that the route supports.
        accepted: &'static str,
    },
    /// `415`: the content coding is not supported.
    #[error("unsupported content coding")]
    Coding,
    /// `422`: events break the contract.
    #[error("{} contract violations", .0.len())]
    Violations(Vec<EventError>),
    /// `422`: the batch has no events.
    #[error("empty batch")]
    Empty,
    /// `422`: the number of random events is out of range.
    #[error("invalid number of events")]
    Number,
    /// `500`: no random event satisfies the contract.
    #[error("no random events")]
    NoEvents,
    /// `422`: accepted events could not be written.
    #[error("rejected events")]
    Rejected {
        /// All receipts of the batch.
        receipts: Vec<Receipt>,
        /// The errors of the events that were left out, if handling was lenient.
        errors: Option<Vec<EventError>>,
    },
    /// `503`: the broker did not acknowledge all events in time.
    #[error("the broker did not acknowledge in time")]
    Unacknowledged {
        /// The receipts of the events that the broker did acknowledge.
        receipts: Vec<Receipt>,
    },
    /// `413`: a record exceeds the broker's size limit.
    #[error("a record exceeds the broker's size limit")]
    RecordTooLarge {
        /// The receipts of the events that the broker did acknowledge.
        receipts: Vec<Receipt>,
    },
    /// `503`: the broker or the database does not answer.
    #[error("unhealthy: {0}")]
    Unhealthy(&'static str),
    /// `401` or `403`: the caller is unknown, is blocked, or lacks the permission. `500` or `503`: the check failed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// `503` or `500`: the database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// Creates [`Self::Malformed`], a `400`.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(detail.into())
    }

    /// Creates [`Self::NotFound`], a `404`.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::NotFound(detail.into())
    }

    /// Returns the number of events that violate their contract. A request that is not JSON counts as one such event.
    pub(crate) fn invalid_events(&self) -> usize {
        match self {
            Self::Violations(errors) => EventError::count_events(errors),
            Self::NotJson(_) => 1,
            Self::Malformed(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
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

    /// Returns the problem that the caller sees.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::NotJson(error) => Problem::new(ProblemType::NOT_JSON, error.detail.clone())
                .with("line", error.line)
                .with("column", error.column),
            Self::Malformed(detail) => Problem::malformed(detail.as_ref()),
            Self::NotFound(detail) => Problem::not_found(detail.as_ref()),
            Self::MethodNotAllowed { allow } => Problem::method_not_allowed(format!("This route supports {allow}.")),
            Self::TooLarge(detail) => Problem::too_large(*detail),
            Self::RecordTooLarge { receipts } => Problem::too_large(
                "An event exceeds the broker's size limit. `receipts` lists the events that were accepted.",
            )
            .with("receipts", listed(receipts)),
            Self::MediaType { accepted } => {
                Problem::unsupported_media_type(format!("`Content-Type` must be one of {accepted}, in UTF-8."))
            }
            Self::Coding => Problem::unsupported_coding("`Content-Encoding` must be gzip, zstd or identity."),
            Self::Violations(errors) => Problem::new(
                ProblemType::CONTRACT,
                "Nothing was sent. `errors` lists each violation with the event's index and a JSON pointer.",
            )
            .with("errors", listed(errors)),
            Self::Empty => Problem::new(ProblemType::EMPTY, "A batch must contain at least one event."),
            Self::Number => Problem::new(ProblemType::NUMBER, "The number of events must be from 1 to 10,000."),
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
            Self::Unhealthy(what) => tracing::warn!(what, "no answer to a health check"),
            Self::Rejected { .. }
            | Self::Unacknowledged { .. }
            | Self::RecordTooLarge { .. }
            | Self::NotJson(_)
            | Self::Malformed(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed { .. }
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
        ProblemType::REJECTED,
        "At least one event was accepted but could not be written. `receipts` has each event's status and reason.",
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
