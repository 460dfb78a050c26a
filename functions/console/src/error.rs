//! The errors of requests, and the answers to them.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use serde_json::json;
use shared::contract::NotJson;
use shared::database::error_class::describe;
use shared::http::database;
use shared::http::fields;
use shared::http::problem::Problem;
use shared::http::problem_type::ProblemType;
use shared::kafka::reader::ReadError;

use crate::not_replayable::NotReplayable;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `400`: a parameter is wrong.
    #[error("malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// `400`: a body is not JSON.
    #[error("not JSON: {0}")]
    NotJson(NotJson),
    /// `400`: a member of a body is wrong.
    #[error("{pointer} {detail}")]
    WrongMember {
        /// The member's JSON pointer; empty for the whole body.
        pointer: String,
        /// What is wrong, without the value.
        detail: Cow<'static, str>,
    },
    /// `413`: the body is too large.
    #[error("too large")]
    TooLarge,
    /// `415`: the body is not JSON in UTF-8.
    #[error("unsupported media type")]
    MediaType,
    /// `415`: the body has a content coding.
    #[error("unsupported content coding")]
    Coding,
    /// `404`: the resource does not exist.
    #[error("not found: {0}")]
    NotFound(&'static str),
    /// `409`: the dead letter cannot be replayed.
    #[error("not replayable: {0}")]
    NotReplayable(#[from] NotReplayable),
    /// The replay was not sent, or was rejected.
    #[error(transparent)]
    Sending(#[from] ingest::Error),
    /// `503` or `500`: Kafka could not be read. `404`: the partition does not exist.
    #[error(transparent)]
    Kafka(#[from] ReadError),
    /// `503` or `500`: the database failed.
    #[error("database: {}", describe(.0))]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// Creates [`Self::Malformed`], a `400`.
    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(detail.into())
    }

    /// Creates [`Self::WrongMember`], a `400`.
    pub(crate) fn wrong_member(pointer: String, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::WrongMember { pointer, detail: detail.into() }
    }

    /// Creates the `503` without receipts: the broker did not answer in time, or too little time is left to send.
    pub(crate) fn unacknowledged() -> Self {
        Self::Sending(ingest::Error::Unacknowledged { receipts: Vec::new() })
    }
}

impl From<fields::Malformed> for Error {
    fn from(fields::Malformed(detail): fields::Malformed) -> Self {
        Self::Malformed(detail)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Malformed(detail) => Problem::malformed(detail).into_response(),
            Self::NotJson(NotJson { line, column, detail }) => {
                Problem::new(ProblemType::NOT_JSON, detail).with("line", line).with("column", column).into_response()
            }
            Self::WrongMember { pointer, detail } => {
                let what = if pointer.is_empty() { "The body".to_owned() } else { format!("`{pointer}` in the body") };
                let errors = json!([{"pointer": pointer, "detail": detail}]);
                Problem::malformed(format!("{what} {detail}.")).with("errors", errors).into_response()
            }
            Self::TooLarge => Problem::too_large("The body must not exceed 1,100,000 bytes.").into_response(),
            Self::MediaType => {
                Problem::unsupported_media_type("`Content-Type` must be `application/json`, in UTF-8.").into_response()
            }
            Self::Coding => {
                const DETAIL: &str = "This route does not support `Content-Encoding`. Send the body uncompressed.";
                Problem::unsupported_coding(DETAIL).into_response()
            }
            Self::NotFound(detail) => Problem::not_found(detail).into_response(),
            Self::NotReplayable(reason) => {
                Problem::new(ProblemType::NOT_REPLAYABLE, reason.to_string()).into_response()
            }
            Self::Sending(error) => error.into_response(),
            Self::Kafka(error) => unread(&error).into_response(),
            Self::Database(error) => {
                database::log(&error);
                database::problem(&error).into_response()
            }
        }
    }
}

fn unread(error: &ReadError) -> Problem {
    match error {
        ReadError::UnknownPartition { .. } => Problem::not_found("Kafka has no such partition."),
        ReadError::Forbidden(_) => {
            tracing::error!(%error, "the function lacks the permission to read the topic");
            Problem::internal()
        }
        ReadError::Unconnected(_) | ReadError::Failed(_) => {
            tracing::warn!(%error, "Kafka could not be read");
            Problem::unavailable("broker")
        }
    }
}
