//! Tokens that Kafka clients authenticate with, and the trait [`Sign`], which signs these tokens.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;

/// The time limit for signing. It is shorter than the time limit for sending a record, so that the sender learns that
/// signing failed.
pub(crate) const SIGNING_PATIENCE: Duration = Duration::from_secs(5);

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// The token itself.
    pub text: String,
    /// When the token expires, in milliseconds since the Unix epoch. If the credentials that signed the token expire
    /// earlier, this is the time at which the credentials expire.
    pub expires_ms: i64,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "(token until {})", self.expires_ms)
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There are no credentials, or signing failed.
    #[error("KAFKA_AUTH=iam: cannot sign a token: {0}")]
    Unsigned(String),
    /// The credentials have expired.
    #[error("KAFKA_AUTH=iam: the AWS credentials have expired")]
    Expired,
    /// Signing, which includes fetching credentials, took too long.
    #[error("KAFKA_AUTH=iam: no AWS credentials within {} s", SIGNING_PATIENCE.as_secs())]
    Late,
}

/// Signs tokens.
pub trait Sign: Send + Sync {
    /// Signs a new token.
    fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>>;
}
