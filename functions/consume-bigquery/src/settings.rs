//! The settings for the connection to BigQuery.

use shared::aws::Secret;
use shared::process::settings::SettingsError;

/// The variable with the ARN of the AWS secret that contains the credentials.
pub(crate) const SECRET_ARN: &str = "GOOGLE_CREDENTIALS_SECRET_ARN";

/// The settings for the connection to BigQuery, read from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BigquerySettings {
    /// `BIGQUERY_PROJECT`: the project that pays for queries. A table also belongs to this project if its contract
    /// names no other project.
    pub project: String,
    /// `BIGQUERY_ENDPOINT`: the addresses of an emulator that is used instead of Google's service.
    pub emulator: Option<Emulator>,
    /// Where the credentials are.
    pub credentials: CredentialsSource,
}

/// Where the credentials are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsSource {
    /// `GOOGLE_CREDENTIALS`: the JSON itself, or the path of a file that contains it.
    Given(Secret),
    /// `GOOGLE_CREDENTIALS_SECRET_ARN`: the ARN of an AWS secret that contains the JSON.
    AwsSecret(String),
    /// The places where Google's own tools look for credentials.
    Default,
}

/// An emulator's addresses, each a host with a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// The address of the REST API.
    pub rest: String,
    /// The address of the gRPC API.
    pub grpc: String,
}

impl BigquerySettings {
    /// Reads the settings through `variable`.
    ///
    /// # Errors
    /// A variable is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        const PROJECT: &str = "BIGQUERY_PROJECT";
        const ENDPOINT: &str = "BIGQUERY_ENDPOINT";
        const ADDRESSES: &str = "an emulator's addresses for REST and gRPC, such as 127.0.0.1:9050,127.0.0.1:9060";
        let project = variable(PROJECT)
            .ok_or(SettingsError::Missing { name: PROJECT, expected: "the id of a Google Cloud project" })?;
        let emulator = variable(ENDPOINT).map(|text| {
            let (rest, grpc) =
                text.split_once(',').ok_or(SettingsError::Malformed { name: ENDPOINT, expected: ADDRESSES })?;
            Ok(Emulator { rest: rest.to_owned(), grpc: grpc.to_owned() })
        });
        let credentials = match (variable("GOOGLE_CREDENTIALS"), variable(SECRET_ARN)) {
            (Some(given), _) => CredentialsSource::Given(Secret::new(given)),
            (None, Some(arn)) => CredentialsSource::AwsSecret(arn),
            (None, None) => CredentialsSource::Default,
        };
        Ok(Self { project, emulator: emulator.transpose()?, credentials })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_malformed_variable_is_named() {
        let read = |project: Option<&'static str>, endpoint: Option<&'static str>| {
            let settings = BigquerySettings::read(|name| match name {
                "BIGQUERY_PROJECT" => project.map(str::to_owned),
                "BIGQUERY_ENDPOINT" => endpoint.map(str::to_owned),
                _ => None,
            });
            settings.map_err(|error| error.to_string())
        };
        assert!(read(None, None).unwrap_err().starts_with("BIGQUERY_PROJECT is not set"));
        assert!(read(Some("p"), Some("a:1")).unwrap_err().starts_with("BIGQUERY_ENDPOINT is malformed"));
        let emulator = Emulator { rest: "a:1".to_owned(), grpc: "b:2".to_owned() };
        assert_eq!(read(Some("p"), Some("a:1,b:2")).map(|settings| settings.emulator), Ok(Some(emulator)));
    }
}
