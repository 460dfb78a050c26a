//! What a request is answered with when it is not answered as asked.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::contract::NotJson;
use shared::http::fields::Malformed;
use shared::http::problem::Problem;
use shared::identity::Denied;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// Where, as a JSON pointer.
    pointer: String,
    /// What is wrong, without the value.
    detail: String,
}

impl FieldError {
    /// An error of the field of this name; of the whole body, if it has none.
    pub(crate) fn new(field: &str, detail: impl Into<String>) -> Self {
        let pointer = if field.is_empty() { String::new() } else { format!("/{field}") };
        Self { pointer, detail: detail.into() }
    }
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `400`: the body is not JSON.
    #[error("not JSON: {0}")]
    NotJson(NotJson),
    /// `400`: the query or the form cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `404`: there is no such user, or no such block.
    #[error("not found")]
    NotFound(&'static str),
    /// `409`: the name is taken.
    #[error("taken")]
    Taken,
    /// `413`: the body is too large.
    #[error("too large")]
    TooLarge,
    /// `415`: the body is neither JSON nor a form.
    #[error("unsupported media type")]
    MediaType,
    /// `415`: the body is coded.
    #[error("unsupported content coding")]
    Coding,
    /// `422`: values that are refused.
    #[error("{} fields are refused", .0.len())]
    Refused(Vec<FieldError>),
    /// `403`: the old password is another.
    #[error("the old password is another")]
    WrongOld,
    /// `401`, `403` or `503`: the caller may not, or not now.
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Denied(error.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::NotJson(error) => {
                Problem::new(StatusCode::BAD_REQUEST, "not-json", "The body is not JSON", error.detail.clone())
                    .with("line", error.line)
                    .with("column", error.column)
            }
            Self::Malformed(Malformed(detail)) => Problem::malformed(detail),
            Self::NotFound(detail) => Problem::not_found(detail),
            Self::Taken => Problem::new(
                StatusCode::CONFLICT,
                "taken",
                "The name is taken",
                "There is a user of this name, or of one that reads the same.",
            ),
            Self::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
                "The body may have 16,384 bytes.",
            ),
            Self::MediaType => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "The media type is not supported",
                "Content-Type should be one of application/json, application/x-www-form-urlencoded, in UTF-8.",
            ),
            Self::Coding => Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "content-encoding",
                "The content coding is not supported",
                "This route takes no Content-Encoding.",
            ),
            Self::Refused(errors) => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "refused",
                "Values are refused",
                "errors lists what is wrong, by a JSON pointer.",
            )
            .with("errors", serde_json::to_value(errors).unwrap_or_default()),
            Self::WrongOld => Problem::new(
                StatusCode::FORBIDDEN,
                "wrong-password",
                "The old password is wrong",
                "old should be the present password. A wrong one counts as a failed attempt.",
            )
            .with("error", "Wrong password"),
            Self::Denied(denied) => return denied.into_response(),
        };
        problem.into_response()
    }
}
