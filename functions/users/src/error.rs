//! How a failed request is answered.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::contract::NotJson;
use shared::http::fields::Malformed;
use shared::http::problem::Problem;
use shared::http::problem_type::ProblemType;
use shared::identity::Denied;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// The field's JSON pointer.
    pointer: String,
    /// What is wrong, without the value.
    detail: String,
}

impl FieldError {
    /// Creates an error about the named field, or about the whole body if the name is empty.
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
    /// `404`: there is no user, block or key with this name or id.
    #[error("not found")]
    NotFound(&'static str),
    /// `409`: the name is taken.
    #[error("taken")]
    Taken,
    /// `409`: the user is the last admin.
    #[error("the last admin")]
    LastAdmin,
    /// `413`: the body is too large.
    #[error("too large")]
    TooLarge,
    /// `415`: the body is neither JSON nor a form.
    #[error("unsupported media type")]
    MediaType,
    /// `415`: the body has a content coding.
    #[error("unsupported content coding")]
    Coding,
    /// `422`: fields have invalid values.
    #[error("{} invalid fields", .0.len())]
    Refused(Vec<FieldError>),
    /// `403`: the caller may not create a key for a stream.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// `403`: the old password is wrong.
    #[error("the old password is wrong")]
    WrongOld,
    /// `401` or `403`: the caller is unknown, is blocked, or lacks the permission. `500` or `503`: the check failed.
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
            Self::NotJson(error) => Problem::new(ProblemType::NOT_JSON, error.detail.clone())
                .with("line", error.line)
                .with("column", error.column),
            Self::Malformed(Malformed(detail)) => Problem::malformed(detail),
            Self::NotFound(detail) => Problem::not_found(detail),
            Self::Taken => Problem::new(
                ProblemType::TAKEN,
                "A user with this name, or with one that looks the same, already exists.",
            ),
            Self::LastAdmin => Problem::new(
                ProblemType::LAST_ADMIN,
                "This user is the only admin. Make another one with `cargo local admin NAME` first.",
            ),
            Self::TooLarge => Problem::too_large("The body must not exceed 16,384 bytes."),
            Self::MediaType => Problem::unsupported_media_type(
                "`Content-Type` must be `application/json` or `application/x-www-form-urlencoded`, in UTF-8.",
            ),
            Self::Coding => Problem::unsupported_coding(
                "This route does not support `Content-Encoding`. Send the body uncompressed.",
            ),
            Self::Refused(errors) => {
                Problem::new(ProblemType::REFUSED, "`errors` lists each invalid value with its JSON pointer.")
                    .with("errors", serde_json::to_value(errors).unwrap_or_default())
            }
            Self::Forbidden(detail) => Problem::new(ProblemType::FORBIDDEN, detail),
            Self::WrongOld => Problem::new(
                ProblemType::WRONG_PASSWORD,
                "`old` must be the current password. A wrong one counts as a failed attempt.",
            )
            .with("error", "Wrong password"),
            Self::Denied(denied) => return denied.into_response(),
        };
        problem.into_response()
    }
}
