//! AWS: what is looked up there when a function starts, and again when it no longer holds.
//!
//! - `msk`: the brokers of a cluster
//! - `secret`: secrets
//! - [`LookUpError`]: why something was not found, and whose fault that is

mod error;
mod msk;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kafka::config::SharedCredentialsProvider;
use tokio::sync::OnceCell;

pub(crate) use self::error::chain;
pub use self::error::{LookUpError, Service};
pub use self::msk::Listener;
pub use self::secret::Secret;

/// How long one question to AWS may take, its second attempt included: within Init, for which Lambda gives 10 s.
pub const PATIENCE: Duration = Duration::from_secs(4);
const ATTEMPT: Duration = Duration::from_millis(1_900);
const ATTEMPTS: u32 = 2;

/// AWS as the environment says it is reached: region, credentials, `AWS_ENDPOINT_URL_KAFKA` and the like. Read when it
/// is first needed, and once; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Aws(Arc<OnceCell<SdkConfig>>);

impl Aws {
    /// AWS as this says, for tests.
    pub fn with(config: SdkConfig) -> Self {
        Self(Arc::new(OnceCell::from(config)))
    }

    /// The time that questions are given.
    pub fn timeouts() -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build()
    }

    /// What clients of AWS's services are made from.
    pub async fn config(&self) -> &SdkConfig {
        let load = async || {
            aws_config::defaults(BehaviorVersion::latest())
                // Not what the machine's metadata say: nobody answers for them on Lambda, nor on a laptop.
                .region(named_region())
                .timeout_config(Self::timeouts())
                .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
                .load()
                .await
        };
        self.0.get_or_init(load).await
    }

    /// Where credentials come from, one for all who sign.
    pub(crate) async fn credentials(&self) -> Option<SharedCredentialsProvider> {
        self.config().await.credentials_provider()
    }

    /// `AWS_REGION`, or what a profile says.
    pub(crate) async fn region(&self) -> Option<Region> {
        self.config().await.region().cloned()
    }
}

fn named_region() -> RegionProviderChain {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(ProfileFileRegionProvider::new())
}

/// Whether a text is an ARN of this service, and of a resource that is named like this.
pub(crate) fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let prefix = [parts.next(), parts.next(), parts.next()];
    let (region, account, rest) = (parts.next(), parts.next(), parts.next());
    matches!(prefix, [Some("arn"), Some(partition), Some(named)] if !partition.is_empty() && named == service)
        && [region, account].iter().all(|part| part.is_some_and(|part| !part.is_empty()))
        && rest.is_some_and(|rest| rest.strip_prefix(resource).is_some_and(|name| !name.is_empty()))
}

/// The region that an ARN names.
pub(crate) fn region_of(arn: &str) -> Region {
    Region::new(arn.split(':').nth(3).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_service_region_account_and_resource() {
        let is_cluster = |arn| is_arn(arn, "kafka", "cluster/");
        assert!(is_cluster("arn:aws:kafka:eu-central-1:123456789012:cluster/sluice/5f-2"));
        assert_eq!(region_of("arn:aws:kafka:eu-central-1:123456789012:cluster/sluice/5f-2").as_ref(), "eu-central-1");
        for wrong in [
            "sluice",
            "arn:aws:kafka:eu-central-1:123456789012:cluster/",
            "arn:aws:kafka:eu-central-1:123456789012:topic/sluice",
            "arn:aws:kafka::123456789012:cluster/sluice",
            "arn:aws:s3:eu-central-1:123456789012:cluster/sluice",
        ] {
            assert!(!is_cluster(wrong), "{wrong}");
        }
    }
}
