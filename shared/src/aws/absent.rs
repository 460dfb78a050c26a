//! Access to AWS in a build without the AWS SDK. Every lookup fails. The error names the variable that needs the SDK.

use std::sync::Arc;

use super::{DatabaseUser, Listener, LookUpError, Secret, Sign};

/// Refuses all access to AWS.
#[derive(Debug, Clone, Default)]
pub struct Aws;

impl Aws {
    /// Refuses to look up brokers.
    ///
    /// # Errors
    /// Always.
    pub async fn brokers(&self, _cluster_arn: &str, _listener: Listener) -> Result<String, LookUpError> {
        Err(LookUpError::NotBuiltIn { variable: "MSK_CLUSTER_ARN" })
    }

    /// Refuses to read the secret whose ARN is in `variable`.
    ///
    /// # Errors
    /// Always.
    pub async fn secret(&self, variable: &'static str, _arn: &str) -> Result<Secret, LookUpError> {
        Err(LookUpError::NotBuiltIn { variable })
    }

    /// Refuses to sign tokens for RDS.
    pub(crate) async fn database_token(&self, _: DatabaseUser<'_>, _now_ms: i64) -> Result<Secret, LookUpError> {
        Err(LookUpError::NotBuiltIn { variable: "DATABASE_AUTH" })
    }

    /// Refuses to sign tokens for Kafka.
    pub(crate) async fn kafka_signer(&self, _cluster_arn: Option<&str>) -> Result<Arc<dyn Sign>, LookUpError> {
        Err(LookUpError::NotBuiltIn { variable: "KAFKA_AUTH" })
    }
}
