//! Tokens by which Amazon MSK knows us for our IAM role.
//!
//! librdkafka asks for one on a thread of its own, when a client is made and when four fifths of the last one's life are
//! over, and wants the answer at once; signing may have to fetch credentials, which is asynchronous. So it is a task of
//! the runtime's, for which that thread waits, not longer than [`PATIENCE`].

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use aws_config::Region;
use aws_msk_iam_sasl_signer::generate_auth_token_from_credentials_provider;
use aws_sdk_kafka::config::{ProvideCredentials as _, SharedCredentialsProvider};
use futures::future::BoxFuture;
use rdkafka::client::OAuthToken;
use tokio::runtime::Handle;

use crate::aws::chain;
use crate::clock::Clock;

/// How long signing may take: less than a send, which then still learns of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// A token is used for 9 minutes at most, although it is valid for 15: clocks differ, and a frozen process wakes late.
const USED_FOR_MS: i64 = 9 * 60 * 1_000;

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken {
    /// What the broker is shown.
    pub text: String,
    /// When it, or the credentials that signed it, expire: milliseconds since the Unix epoch.
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
    #[error("KAFKA_AUTH=iam: no token could be signed: {0}")]
    Unsigned(String),
    /// The credentials have expired.
    #[error("KAFKA_AUTH=iam: the AWS credentials have expired")]
    Expired,
    /// Signing, which includes fetching credentials, takes too long.
    #[error("KAFKA_AUTH=iam: AWS credentials did not come within {} s", PATIENCE.as_secs())]
    Late,
}

/// Makes tokens.
pub trait Sign: Send + Sync {
    /// A new token.
    fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>>;
}

/// Where clients get their tokens. Clones share it.
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
    /// Tokens of this signer, made on the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(signer: Arc<dyn Sign>, clock: Clock) -> Self {
        Self { signer, clock, runtime: Handle::current() }
    }

    /// Tokens that these credentials sign.
    pub(super) fn of_credentials(provider: SharedCredentialsProvider, region: Region) -> Self {
        Self::new(Arc::new(MskSigner { provider, region }), Clock::system())
    }

    /// A token, and until when to use it. Blocks the thread for [`PATIENCE`] at most; not for the runtime's own.
    ///
    /// # Errors
    /// There is none in time.
    pub(super) fn next(&self) -> Result<OAuthToken, TokenError> {
        let (answer, answered) = sync_channel(1);
        let signer = Arc::clone(&self.signer);
        let signing = self.runtime.spawn(async move {
            // Nobody listens any more if it was late.
            let _late = answer.send(signer.sign().await);
        });
        let token = answered.recv_timeout(PATIENCE).map_err(|error| match error {
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

/// Signs as Amazon MSK wants it.
struct MskSigner {
    provider: SharedCredentialsProvider,
    region: Region,
}

impl Sign for MskSigner {
    fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        Box::pin(async {
            let unsigned = |error: &dyn std::error::Error| TokenError::Unsigned(chain(error));
            let credentials = self.provider.provide_credentials().await.map_err(|error| unsigned(&error))?;
            let credentials_expire_ms = credentials.expiry().map_or(i64::MAX, crate::clock::unix_ms);
            let provider = SharedCredentialsProvider::new(credentials);
            let (text, expires_ms) = generate_auth_token_from_credentials_provider(self.region.clone(), provider)
                .await
                .map_err(|error| unsigned(&error))?;
            Ok(BearerToken { text, expires_ms: expires_ms.min(credentials_expire_ms) })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use aws_sdk_kafka::config::Credentials;

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// Signs what it is told to, or never.
    struct Stub(Option<BearerToken>);

    impl Sign for Stub {
        fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
            match self.0.clone() {
                Some(token) => Box::pin(async { Ok(token) }),
                None => Box::pin(std::future::pending()),
            }
        }
    }

    /// As librdkafka does, on a thread that is none of the runtime's.
    async fn next(signer: impl Sign + 'static) -> Result<OAuthToken, TokenError> {
        let tokens = IamTokens::new(Arc::new(signer), Clock::fixed(NOW_MS));
        tokio::task::spawn_blocking(move || tokens.next()).await.unwrap_or(Err(TokenError::Late))
    }

    fn expiring_in(life_ms: i64) -> Stub {
        Stub(Some(BearerToken { text: "t".to_owned(), expires_ms: NOW_MS + life_ms }))
    }

    #[tokio::test]
    async fn a_token_is_used_for_nine_minutes_at_most_and_never_past_its_end() {
        let used_for_ms = async |life_ms| next(expiring_in(life_ms)).await.map(|token| token.lifetime_ms - NOW_MS);
        assert_eq!(used_for_ms(900_000).await, Ok(540_000));
        assert_eq!(used_for_ms(60_000).await, Ok(60_000));
        assert_eq!(used_for_ms(0).await, Err(TokenError::Expired));
    }

    #[tokio::test]
    async fn a_signer_that_hangs_does_not_hold_the_thread_longer_than_five_seconds() {
        let begun = Instant::now();
        assert_eq!(next(Stub(None)).await.map(|token| token.token), Err(TokenError::Late));
        assert!((5..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn amazon_msk_is_shown_a_signed_address_that_ends_with_the_credentials() {
        let credentials = |expiry| Credentials::new("AKIDEXAMPLE", "secret", None, expiry, "test");
        let sign = async |credentials| {
            let provider = SharedCredentialsProvider::new(credentials);
            MskSigner { provider, region: Region::new("eu-central-1") }.sign().await
        };
        let token = sign(credentials(None)).await;
        let text = token.as_ref().map(|token| token.text.as_str()).unwrap_or_default();
        let address =
            base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let address = address.unwrap_or_default();
        assert!(
            address.starts_with("https://kafka.eu-central-1.amazonaws.com/?Action=kafka-cluster%3AConnect&"),
            "{address}"
        );
        assert!(
            address.contains("X-Amz-Credential=AKIDEXAMPLE%2F") && address.contains("X-Amz-Expires=900"),
            "{address}"
        );
        let now_ms = Clock::system().now_ms();
        let life_ms = token.map(|token| token.expires_ms - now_ms);
        assert!(life_ms.is_ok_and(|life_ms| (890_000..=900_000).contains(&life_ms)));

        let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms + 60_000).unwrap_or_default());
        let token = sign(credentials(Some(end))).await;
        assert_eq!(token.map(|token| token.expires_ms), Ok(now_ms + 60_000));
    }
}
