//! How a failed request is answered.

use axum::response::{IntoResponse, Response};
use shared::http::database;
use shared::http::fields::Malformed;
use shared::http::problem::Problem;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `400`: the query cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `503` or `500`: the database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Malformed(Malformed(detail)) => Problem::malformed(detail).into_response(),
            Self::Database(error) => {
                database::log(&error);
                database::problem(&error).into_response()
            }
        }
    }
}
