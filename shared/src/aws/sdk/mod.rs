//! Access to AWS with the AWS SDK.
//!
//! - `msk`: the brokers of a cluster
//! - `secret`: secrets
//! - `kafka_token`, `database_token`: tokens that replace a password
//! - `error`: classifies the SDK's errors

mod database_token;
mod error;
mod kafka_token;
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

use super::PATIENCE;

const ATTEMPT: Duration = Duration::from_millis(1_900);
const ATTEMPTS: u32 = 2;

/// Access to AWS, configured by the environment: region, credentials, `AWS_ENDPOINT_URL_KAFKA` and the like. The
/// configuration is read once, on first use. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Aws(Arc<OnceCell<SdkConfig>>);

impl Aws {
    /// Creates access with this configuration, for tests.
    pub fn with(config: SdkConfig) -> Self {
        Self(Arc::new(OnceCell::from(config)))
    }

    /// Returns the timeouts of lookups.
    pub fn timeouts() -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build()
    }

    /// Returns the configuration for clients of AWS's services.
    pub async fn config(&self) -> &SdkConfig {
        let load = async || {
            aws_config::defaults(BehaviorVersion::latest())
                // By default, the SDK would also ask the instance metadata service for the region. That service exists
                // neither on Lambda nor on a laptop.
                .region(named_region())
                .timeout_config(Self::timeouts())
                .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
                .load()
                .await
        };
        self.0.get_or_init(load).await
    }

    /// Returns the provider of credentials, which all signers share.
    async fn credentials(&self) -> Option<SharedCredentialsProvider> {
        self.config().await.credentials_provider()
    }

    /// Returns the region from `AWS_REGION` or the profile.
    async fn region(&self) -> Option<Region> {
        self.config().await.region().cloned()
    }
}

fn named_region() -> RegionProviderChain {
    RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(ProfileFileRegionProvider::new())
}

/// Returns an ARN's region.
fn region_of(arn: &str) -> Region {
    Region::new(arn.split(':').nth(3).unwrap_or_default().to_owned())
}
