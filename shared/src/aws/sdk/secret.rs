//! Secrets of AWS Secrets Manager.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;

use super::super::{LookUpError, Secret, Service};
use super::{Aws, region_of};

impl Aws {
    /// Reads the current version of the secret whose ARN is in `variable`.
    ///
    /// # Errors
    /// Secrets Manager does not answer, Secrets Manager refuses, or the secret is not text.
    pub async fn secret(&self, variable: &'static str, arn: &str) -> Result<Secret, LookUpError> {
        let config = Builder::from(self.config().await).region(region_of(arn)).build();
        let question = Client::from_conf(config).get_secret_value().secret_id(arn);
        let answer =
            question.send().await.map_err(|error| LookUpError::from_sdk(variable, Service::SecretsManager, &error))?;
        answer.secret_string.map(Secret::new).ok_or(LookUpError::Unfit { variable, expected: "a secret that is text" })
    }
}
