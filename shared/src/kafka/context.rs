//! The context of our Kafka clients. It supplies tokens, and notes which connections were refused.

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::watch;

use super::token::IamTokens;

/// A client's context. Clones share what it has recorded.
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

    /// Returns the latest error, if there was one.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.borrow().clone()
    }

    /// Waits until the broker refuses us, or we refuse the broker, because of certificates, names, passwords or tokens.
    /// Retrying does not help then. Returns the reason.
    pub async fn refused(&self) -> String {
        match self.refusal.subscribe().wait_for(Option::is_some).await.map(|refusal| refusal.clone()) {
            Ok(Some(refusal)) => refusal,
            // This value holds the sender, so the channel cannot close.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns the latest refusal, if there was one. Unlike [`Self::refused`], does not wait for a refusal.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.borrow().clone()
    }

    /// Notes a client's error, and logs the first refusal.
    pub fn note(&self, error: &KafkaError, reason: &str) {
        let said = first_line(reason);
        // A summary such as "1/1 brokers are down" follows the error that gives the reason, and must not replace it.
        let is_summary = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        self.last_error.send_if_modified(|last| {
            let is_news = !is_summary || last.is_none();
            if is_news {
                *last = Some(said.clone());
            }
            is_news
        });
        // In TLS 1.3, a broker rejects our certificate only after the connection is established. The error code is then
        // that of a closed connection, and only the text shows the difference.
        let is_alert = said.contains("SSL routines") && said.contains("alert");
        if is_throttled(&said) {
            tracing::warn!("Kafka: the broker accepts no new connection at the moment: {said}");
            return;
        }
        if !is_alert && !error.rdkafka_error_code().is_some_and(is_refusal) {
            return;
        }
        let is_new = self.refusal.send_replace(Some(said.clone())).is_none();
        if is_new {
            tracing::error!("Kafka: the connection is refused: {said}");
        }
    }

    /// Returns a token. Blocks until the token is signed, so this function must not be called on a thread of the
    /// runtime.
    ///
    /// # Errors
    /// No token is available, or this connection uses none.
    pub fn token(&self) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref().ok_or("this connection does not use tokens")?;
        tokens.next().map_err(|error| {
            self.refusal.send_replace(Some(error.to_string()));
            tracing::error!("Kafka: {error}");
            error.into()
        })
    }

    /// Returns whether a client needs tokens.
    pub(super) fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Anything important is also reported as an error.
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

/// The default callbacks are enough: our consumer joins no consumer group, so there are no rebalances to react to.
impl ConsumerContext for Context {}

fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::SSL
    )
}

/// Returns whether Amazon MSK refused a connection only because too many were opened at once. With IAM, the limit is
/// 100 a second for each broker, or 4 for a small broker. The error code is the same as for wrong credentials, and only
/// the text differs. librdkafka tries again.
/// <https://docs.aws.amazon.com/msk/latest/developerguide/limits.html>
fn is_throttled(said: &str) -> bool {
    said.to_lowercase().contains("too many connects")
}

/// Returns the first line of librdkafka's message, which names the cause, the connection and the elapsed time.
fn first_line(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too many connections, as librdkafka reports them.
    const THROTTLED: &str = "sasl_ssl://b-1.sluice.kafka.eu-central-1.amazonaws.com:9098/bootstrap: SASL authentication \
                             error: [5d2f]: Too many connects (after 312ms in state AUTH_REQ)";

    #[test]
    fn a_wrong_password_counts_as_a_refusal_whereas_throttling_does_not() {
        let context = Context::new(None);
        let refused = KafkaError::Global(RDKafkaErrorCode::Authentication);
        context.note(&refused, THROTTLED);
        assert_eq!(context.refusal(), None);
        assert_eq!(context.last_error().as_deref(), Some(THROTTLED), "throttling is recorded as the last error");
        context.note(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(context.last_error().as_deref(), Some(THROTTLED), "a summary does not hide the cause");
        context.note(&refused, &THROTTLED.replace("Too many connects", "Access denied"));
        assert!(context.refusal().is_some_and(|said| said.contains("Access denied")));
    }
}
