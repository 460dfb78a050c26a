//! Secrets of AWS Secrets Manager.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::Builder;
use serde_json::Value;

use super::{Aws, LookUpError, Service, region_of};

/// What nobody is to see: it is never part of what is logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// What it is.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its members, where it is a JSON object, as the secrets of RDS and MSK are. Numbers are as they are written.
    pub(crate) fn members(&self) -> Option<HashMap<String, Secret>> {
        let members: HashMap<String, Value> = serde_json::from_str(&self.0).ok()?;
        let text = |value| match value {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        Some(members.into_iter().filter_map(|(name, value)| Some((name, Self(text(value)?)))).collect())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(secret)")
    }
}

impl Aws {
    /// The text of the secret that `variable` names by its ARN, in its current version.
    ///
    /// # Errors
    /// Secrets Manager does not answer, refuses, or the secret is not a text.
    pub async fn secret(&self, variable: &'static str, arn: &str) -> Result<Secret, LookUpError> {
        let config = Builder::from(self.config().await).region(region_of(arn)).build();
        let question = Client::from_conf(config).get_secret_value().secret_id(arn);
        let answer =
            question.send().await.map_err(|error| LookUpError::of(variable, Service::SecretsManager, &error))?;
        answer.secret_string.map(Secret).ok_or(LookUpError::Unfit { variable, expected: "a secret that is text" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_rds_has_members_and_is_not_told() {
        let secret = Secret::new(r#"{"username":"u","password":"p w","port":5432,"masterarn":null}"#.to_owned());
        let members = secret.members().unwrap_or_default();
        let member = |name: &str| members.get(name).map(Secret::reveal);
        assert_eq!((member("username"), member("password"), member("port")), (Some("u"), Some("p w"), Some("5432")));
        assert_eq!(member("masterarn"), None);
        assert_eq!(format!("{secret:?}"), "(secret)");
        assert!(Secret::new("plain".to_owned()).members().is_none());
    }
}
