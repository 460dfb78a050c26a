//! Passes tokens for Amazon MSK to librdkafka.
//!
//! librdkafka requests a token on its own thread: when a client is created, and after four fifths of the last token's
//! life. It calls a callback, which must return the token. But signing may first have to fetch credentials, which is
//! asynchronous. So signing runs as a task on the runtime, and librdkafka's thread waits at most [`SIGNING_PATIENCE`]
//! for the token.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};

use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;

use crate::aws::{SIGNING_PATIENCE, Sign, TokenError};
use crate::process::clock::Clock;

/// The time for which a token is used. A token is valid for 15 minutes, but clocks differ, and a process may be frozen
/// when the token should be renewed.
const USED_FOR_MS: i64 = 9 * 60 * 1_000;

/// The source of clients' tokens. Clones share the signer.
#[derive(Clone)]
pub struct IamTokens {
    signer: Arc<dyn Sign>,
    clock: Clock,
    runtime: Handle,
}

impl fmt::Debug for IamTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IamTokens")
    }
}

impl IamTokens {
    /// Creates a source whose signer runs on the current runtime.
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn new(signer: Arc<dyn Sign>, clock: Clock) -> Self {
        Self { signer, clock, runtime: Handle::current() }
    }

    /// Returns a token, with the time at which to stop using it. Blocks for at most [`SIGNING_PATIENCE`], so it must
    /// not be called on a thread of the runtime.
    ///
    /// # Errors
    /// No valid token was signed in time.
    pub(super) fn next(&self) -> Result<OAuthToken, TokenError> {
        let (answer, answered) = sync_channel(1);
        let signer = Arc::clone(&self.signer);
        let signing = self.runtime.spawn(async move {
            // This fails if the token is late, because the receiver is gone.
            let _late = answer.send(signer.sign().await);
        });
        let token = answered.recv_timeout(SIGNING_PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => TokenError::Late,
            RecvTimeoutError::Disconnected => TokenError::Unsigned("the runtime has ended".to_owned()),
        });
        signing.abort();
        let token = token??;
        let now_ms = self.clock.now_ms();
        if token.expires_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        Ok(OAuthToken {
            token: token.text,
            principal_name: "sluice".to_owned(),
            lifetime_ms: token.expires_ms.min(now_ms + USED_FOR_MS),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::future::BoxFuture;

    use super::*;
    use crate::aws::BearerToken;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// A signer with a given result, or a signer that hangs.
    struct Stub(Option<BearerToken>);

    impl Sign for Stub {
        fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
            match self.0.clone() {
                Some(token) => Box::pin(async { Ok(token) }),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    /// Requests a token as librdkafka does, on a thread outside the runtime.
    async fn next(signer: impl Sign + 'static) -> Result<OAuthToken, TokenError> {
        let tokens = IamTokens::new(Arc::new(signer), Clock::fixed(NOW_MS));
        tokio::task::spawn_blocking(move || tokens.next()).await.unwrap_or(Err(TokenError::Late))
    }

    fn expiring_in(life_ms: i64) -> Stub {
        Stub(Some(BearerToken { text: "t".to_owned(), expires_ms: NOW_MS + life_ms }))
    }

    #[tokio::test]
    async fn a_token_is_used_for_at_most_nine_minutes_and_never_after_it_expires() {
        let used_for_ms = async |life_ms| next(expiring_in(life_ms)).await.map(|token| token.lifetime_ms - NOW_MS);
        assert_eq!(used_for_ms(900_000).await, Ok(540_000));
        assert_eq!(used_for_ms(60_000).await, Ok(60_000));
        assert_eq!(used_for_ms(0).await, Err(TokenError::Expired));
    }

    #[tokio::test]
    async fn a_signer_that_hangs_blocks_the_thread_for_at_most_five_seconds() {
        let begun = Instant::now();
        assert_eq!(next(Stub(None)).await.map(|token| token.token), Err(TokenError::Late));
        assert!((5..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}
