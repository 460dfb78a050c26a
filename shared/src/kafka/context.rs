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
    last_error: watch::Sender<Option<String>>,
}

impl Context {
    pub(super) fn new(tokens: Option<IamTokens>) -> Self {
        Self { tokens, refusal: watch::Sender::new(None), last_error: watch::Sender::new(None) }
    }

    /// What went wrong last, if anything did.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.borrow().clone()
    }

    /// Waits for brokers that refuse us, or that we refuse: certificates, names, passwords, tokens. Nothing that waiting
    /// mends.
    pub async fn refused(&self) -> String {
        match self.refusal.subscribe().wait_for(Option::is_some).await.map(|refusal| refusal.clone()) {
            Ok(Some(refusal)) => refusal,
            // We hold its sender ourselves.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Notes an error of the client's; logs the first refusal.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        let said = first_line(reason);
        self.last_error.send_replace(Some(said.clone()));
        // In TLS 1.3 a broker says that it does not take our certificate when the connection is there already: it ends
        // like one that is cut, but for the words.
        let is_alert = said.contains("SSL routines") && said.contains("alert");
        if !is_alert && !error.rdkafka_error_code().is_some_and(is_refusal) {
            return;
        }
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
