//! Why a caller is denied, and the response.

use axum::http::HeaderValue;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::{IntoResponse, Response};

use super::password::{Busy, HashError, Unhashable};
use crate::http::database::{self, FromDatabase};
use crate::http::problem::Problem;
use crate::http::problem_type::ProblemType;

/// Why a caller is denied.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// `401`: the request has no readable credentials.
    #[error("no credentials")]
    Missing,
    /// `401`: the token is invalid or has expired.
    #[error("invalid token")]
    InvalidToken,
    /// `401`: there is no such service key, or it has expired.
    #[error("invalid service key")]
    InvalidKey,
    /// `401`: a service key was sent as the name of Basic credentials.
    #[error("service key as a name")]
    KeyAsName,
    /// `401`: there is no such user, or the password is wrong.
    #[error("wrong password")]
    WrongPassword,
    /// `403`: too many attempts have failed.
    #[error("blocked")]
    Blocked {
        /// The time until the next attempt is allowed.
        retry_after_seconds: u32,
    },
    /// `403`: the user's role does not allow the request.
    #[error("forbidden")]
    Forbidden,
    /// `403`: the service key is not for this stream.
    #[error("a service key for other streams")]
    OtherStream,
    /// `403`: service keys do not work on this route.
    #[error("only users")]
    UsersOnly,
    /// `403`: the stream's contract has no roles, so only service keys may post to the stream.
    #[error("only service keys may post")]
    KeysOnly,
    /// `403`: the stream is written by Sluice itself.
    #[error("only Sluice itself may post")]
    OwnStream,
    /// `503`: too many passwords are being compared.
    #[error("busy")]
    Busy,
    /// `500`: a password cannot be hashed.
    #[error(transparent)]
    Unhashable(#[from] Unhashable),
    /// `500`: the token cannot be signed.
    #[error("cannot sign a token: {0}")]
    Token(#[source] jsonwebtoken::errors::Error),
    /// `500`: a bug. The log has its cause.
    #[error("checking a password was aborted")]
    Fault,
    /// `503` or `500`: the database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl FromDatabase for Denied {
    fn database_error(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Database(error) => Some(error),
            Self::Missing
            | Self::InvalidToken
            | Self::InvalidKey
            | Self::KeyAsName
            | Self::WrongPassword
            | Self::Blocked { .. }
            | Self::Forbidden
            | Self::OtherStream
            | Self::UsersOnly
            | Self::KeysOnly
            | Self::OwnStream
            | Self::Busy
            | Self::Unhashable(_)
            | Self::Token(_)
            | Self::Fault => None,
        }
    }
}

impl From<Busy> for Denied {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl From<HashError> for Denied {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Unhashable(error) => Self::Unhashable(error),
        }
    }
}

impl Denied {
    /// Returns the problem that the caller sees.
    pub fn problem(&self) -> Problem {
        let unauthorized = |detail: &str| Problem::new(ProblemType::UNAUTHORIZED, detail);
        let forbidden = |detail: &str| Problem::new(ProblemType::FORBIDDEN, detail);
        match self {
            Self::Missing => {
                unauthorized("Send Basic credentials of a registered user, or a Bearer token from `/login`.")
            }
            Self::InvalidToken => unauthorized("The token is invalid or has expired. Get a new one from `/login`."),
            Self::InvalidKey => unauthorized(
                "The service key is mistyped, deleted or expired, or its user is deleted. `POST /keys` creates another.",
            ),
            Self::KeyAsName => {
                unauthorized("Send a service key as `Authorization: Bearer slk_…`, not as a user's name.")
            }
            Self::WrongPassword => {
                unauthorized("The user does not exist, or the password is wrong.").with("error", "Wrong password")
            }
            Self::Blocked { retry_after_seconds } => Problem::new(
                ProblemType::BLOCKED,
                "Too many attempts failed. Try again after the time in `Retry-After`.",
            )
            .retry_after(*retry_after_seconds),
            Self::Forbidden => forbidden("Your role does not allow this."),
            Self::OtherStream => forbidden(
                "This service key is not for this stream. `GET /keys` lists each key's streams. If the stream's \
                 contract has no roles, an admin must create a key that names the stream.",
            ),
            Self::UsersOnly => forbidden(
                "A service key can only post events and read receipts. Use Basic credentials or a token from `/login` here.",
            ),
            Self::KeysOnly => forbidden("Only service keys may post to this stream: its contract has no roles."),
            Self::OwnStream => forbidden("Only Sluice itself writes to this stream."),
            Self::Busy => Problem::new(
                ProblemType::UNAVAILABLE,
                "The server is busy checking passwords. Try again after the time in `Retry-After`.",
            )
            .retry_after(5),
            Self::Unhashable(_) | Self::Token(_) | Self::Fault => Problem::internal(),
            Self::Database(error) => database::problem(error),
        }
    }

    /// Logs the cause, unless the caller made a mistake or the cause is in the log already ([`Self::Fault`]).
    pub fn log(&self) {
        match self {
            Self::Missing
            | Self::InvalidToken
            | Self::InvalidKey
            | Self::KeyAsName
            | Self::WrongPassword
            | Self::Blocked { .. }
            | Self::Forbidden
            | Self::OtherStream
            | Self::UsersOnly
            | Self::KeysOnly
            | Self::OwnStream
            | Self::Fault => {}
            Self::Busy => tracing::warn!("too many passwords are being compared"),
            Self::Unhashable(_) | Self::Token(_) => tracing::error!("{self}"),
            Self::Database(error) => database::log(error),
        }
    }

    /// Returns the single challenge of a `401` (RFC 9110, section 11.6.1). API Gateway passes on only one value.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::InvalidToken | Self::InvalidKey => Some("Bearer error=\"invalid_token\""),
            Self::Missing | Self::WrongPassword | Self::KeyAsName => Some("Basic realm=\"sluice\", charset=\"UTF-8\""),
            Self::Blocked { .. }
            | Self::Forbidden
            | Self::OtherStream
            | Self::UsersOnly
            | Self::KeysOnly
            | Self::OwnStream
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
