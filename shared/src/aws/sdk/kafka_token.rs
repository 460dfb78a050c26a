//! Tokens that authenticate the process to Amazon MSK under its IAM role.

use std::sync::Arc;

use aws_config::Region;
use aws_msk_iam_sasl_signer::generate_auth_token_from_credentials_provider;
use aws_sdk_kafka::config::{ProvideCredentials as _, SharedCredentialsProvider};
use futures::future::BoxFuture;

use super::super::{BearerToken, LookUpError, Service, Sign, TokenError};
use super::error::chain;
use super::{Aws, region_of};

impl Aws {
    /// Returns a signer of tokens for a cluster. The tokens are for the cluster's region if its ARN is known, and
    /// otherwise for the region in the environment.
    ///
    /// # Errors
    /// There is no region, or there are no credentials.
    pub(crate) async fn kafka_signer(&self, cluster_arn: Option<&str>) -> Result<Arc<dyn Sign>, LookUpError> {
        const VARIABLE: &str = "KAFKA_AUTH";
        let region = match cluster_arn {
            Some(arn) => Some(region_of(arn)),
            None => self.region().await,
        };
        let region = region.ok_or(LookUpError::NoRegion { variable: VARIABLE })?;
        let provider = self.credentials().await.ok_or_else(|| LookUpError::Refused {
            variable: VARIABLE,
            service: Service::Credentials,
            cause: "no credentials found".to_owned(),
        })?;
        Ok(Arc::new(MskSigner { provider, region }))
    }
}

/// Signs tokens for Amazon MSK.
struct MskSigner {
    provider: SharedCredentialsProvider,
    region: Region,
}

impl Sign for MskSigner {
    fn sign(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        Box::pin(async {
            let unsigned = |error: &dyn std::error::Error| TokenError::Unsigned(chain(error));
            let credentials = self.provider.provide_credentials().await.map_err(|error| unsigned(&error))?;
            let credentials_expire_ms = credentials.expiry().map_or(i64::MAX, crate::process::clock::unix_ms);
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
    use std::time::{Duration, UNIX_EPOCH};

    use aws_sdk_kafka::config::Credentials;

    use super::*;
    use crate::process::clock::Clock;

    #[tokio::test]
    async fn a_token_is_a_signed_address_and_expires_no_later_than_its_credentials() {
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
