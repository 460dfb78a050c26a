//! Why a caller is not let through, and how that is answered.

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::password::{Busy, Unhashable};
use crate::http::database;
use crate::http::problem::Problem;

/// Why a caller is not let through.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// `401`: no credentials, or none that can be read.
    #[error("no credentials")]
    Missing,
    /// `401`: the token is not valid, or not any more.
    #[error("invalid token")]
    InvalidToken,
    /// `401`: there is no such user, or the password is another.
    #[error("wrong password")]
    WrongPassword,
    /// `403`: too many attempts have failed.
    #[error("blocked")]
    Blocked {
        /// Until it may be tried again.
        retry_after_seconds: u32,
    },
    /// `403`: the user's role does not allow it.
    #[error("forbidden")]
    Forbidden,
    /// `503`: too many passwords are being compared.
    #[error("busy")]
    Busy,
    /// `500`: a password cannot be hashed.
    #[error(transparent)]
    Unhashable(#[from] Unhashable),
    /// `500`: a token cannot be written.
    #[error("a token cannot be written: {0}")]
    Token(#[source] jsonwebtoken::errors::Error),
    /// `500`: a fault of ours, which is in the log.
    #[error("a check of a password broke off")]
    Fault,
    /// `503` or `500`: the database does not do its part.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<Busy> for Denied {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl Denied {
    /// The problem as the caller sees it.
    pub fn problem(&self) -> Problem {
        let unauthorized =
            |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "Authentication is required", detail);
        match self {
            Self::Missing => unauthorized("Send a registered user's Basic credentials, or a Bearer token from /login."),
            Self::InvalidToken => unauthorized("The token is not valid, or not any more. /login gives another."),
            Self::WrongPassword => {
                unauthorized("There is no such user, or the password is another.").with("error", "Wrong password")
            }
            Self::Blocked { retry_after_seconds } => Problem::new(
                StatusCode::FORBIDDEN,
                "blocked",
                "The user is blocked",
                "Too many attempts have failed. Try again later.",
            )
            .retry_after(*retry_after_seconds),
            Self::Forbidden => Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "This is not allowed",
                "Your role does not allow this.",
            ),
            Self::Busy => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
                "Too many passwords are being compared. Try again.",
            )
            .retry_after(5),
            Self::Unhashable(_) | Self::Token(_) | Self::Fault => Problem::internal(),
            Self::Database(error) => database::problem(error),
        }
    }

    /// Writes the cause into the log, if it is not the caller's.
    pub fn log(&self) {
        match self {
            Self::Missing
            | Self::InvalidToken
            | Self::WrongPassword
            | Self::Blocked { .. }
            | Self::Forbidden
            | Self::Fault => {}
            Self::Busy => tracing::warn!("too many passwords are being compared"),
            Self::Unhashable(_) | Self::Token(_) => tracing::error!("{self}"),
            Self::Database(error) => database::log(error),
        }
    }

    /// The one challenge that a `401` carries (RFC 9110, section 11.6.1): API Gateway passes one value only.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken => Some("Bearer error=\"invalid_token\""),
            Self::Missing | Self::WrongPassword => Some("Basic realm=\"sluice\", charset=\"UTF-8\""),
            Self::Blocked { .. }
            | Self::Forbidden
            | Self::Busy
            | Self::Unhashable(_)
            | Self::Token(_)
            | Self::Fault
            | Self::Database(_) => None,
        }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        self.log();
        let mut response = self.problem().into_response();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
