//! What every client of ours has beside its settings: tokens, and what the brokers refused.

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use super::token::IamTokens;

/// A client's context. Clones share it.
#[derive(Debug, Clone)]
pub struct Context {
    tokens: Option<IamTokens>,
    refusal: watch::Sender<Option<String>>,
}

impl Context {
    pub(super) fn new(tokens: Option<IamTokens>) -> Self {
        Self { tokens, refusal: watch::Sender::new(None) }
    }

    /// Why brokers refused us last, or we them: certificates, names, passwords, tokens. Nothing that waiting mends.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// Waits for a refusal.
    pub async fn refused(&self) -> String {
        match self.refusal.subscribe().wait_for(Option::is_some).await.map(|refusal| refusal.clone()) {
            Ok(Some(refusal)) => refusal,
            // We hold its sender ourselves.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Notes an error of the client's, if it is a refusal; logs the first of a kind.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        if !error.rdkafka_error_code().is_some_and(is_refusal) {
            return;
        }
        let said = first_line(reason);
        let is_new = self.refusal.send_replace(Some(said.clone())).is_none();
        if is_new {
            tracing::error!("Kafka: the connection is refused: {said}");
        }
    }

    /// A token, for clients that ask by themselves.
    ///
    /// # Errors
    /// No token is to be had now, or none is used here.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref().ok_or("tokens are not how we are known here")?;
        tokens.next().map_err(|error| {
            self.refusal.send_replace(Some(error.to_string()));
            tracing::error!("Kafka: {error}");
            error.into()
        })
    }

    /// Whether a client has to be given tokens.
    pub(super) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error, too.
        tracing::debug!(?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("Kafka: {error}: {reason}");
        self.note(&error, reason);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.token()
    }
}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL
    )
}

/// librdkafka names the connection, then says what is wrong, then how long it took.
fn first_line(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().trim().to_owned()
}
