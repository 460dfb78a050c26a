//! Credentials for Google Cloud: a service account, an external account such as an AWS role, or the default
//! credentials.

use google_cloud_auth::credentials::{
    Builder, CacheableResource, Credentials, EntityTag, anonymous, external_account, service_account,
};
use google_cloud_auth::errors::CredentialsError;
use serde_json::Value;
use shared::aws::{Aws, LookUpError};
use tokio::sync::Mutex;
use tonic::codegen::http::{Extensions, HeaderMap};

use crate::settings::{CredentialsSource, SECRET_ARN};

/// The OAuth scope for all of Sluice's requests to BigQuery.
const SCOPE: &str = "https://www.googleapis.com/auth/bigquery";

/// Why there are no usable credentials. Startup fails with this message, which never contains the credentials.
#[derive(Debug, thiserror::Error)]
pub enum NoCredentials {
    /// The file cannot be read.
    #[error("GOOGLE_CREDENTIALS: the file cannot be read: {0}")]
    Unreadable(#[source] std::io::Error),
    /// The credentials are not JSON.
    #[error("GOOGLE_CREDENTIALS must be a path, or the JSON of a service account or of an external account")]
    NotJson,
    /// The JSON has no `type`, or a type that is not supported.
    #[error("GOOGLE_CREDENTIALS: the member `type` of the JSON must be service_account or external_account")]
    Type,
    /// The secret cannot be looked up.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// Google's library refuses the credentials.
    #[error("GOOGLE_CREDENTIALS: {0}")]
    Refused(String),
}

/// The headers that authenticate a request. The headers are renewed before the access token in them expires.
#[derive(Debug)]
pub(crate) struct Authentication {
    credentials: Credentials,
    last: Mutex<Option<(EntityTag, HeaderMap)>>,
}

impl Authentication {
    /// Reads the credentials. An emulator needs none.
    ///
    /// # Errors
    /// The credentials are missing or wrong.
    pub(crate) async fn read(source: &CredentialsSource, is_emulated: bool) -> Result<Self, NoCredentials> {
        let credentials = match source {
            _ if is_emulated => anonymous::Builder::new().build(),
            CredentialsSource::Given(given) => {
                let text = given.reveal();
                let is_json = text.trim_start().starts_with('{');
                let read = || std::fs::read_to_string(text).map_err(NoCredentials::Unreadable);
                from_json(&if is_json { text.to_owned() } else { read()? })?
            }
            CredentialsSource::AwsSecret(arn) => from_json(Aws::default().secret(SECRET_ARN, arn).await?.reveal())?,
            CredentialsSource::Default => {
                let built = Builder::default().with_scopes([SCOPE]).build();
                built.map_err(|error| NoCredentials::Refused(error.to_string()))?
            }
        };
        Ok(Self { credentials, last: Mutex::default() })
    }

    /// Returns the headers for a request.
    ///
    /// # Errors
    /// No access token can be fetched.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, CredentialsError> {
        let mut last = self.last.lock().await;
        let mut extensions = Extensions::new();
        if let Some((tag, _)) = &*last {
            extensions.insert(tag.clone());
        }
        match (self.credentials.headers(extensions).await?, &*last) {
            (CacheableResource::New { entity_tag, data }, _) => {
                *last = Some((entity_tag, data.clone()));
                Ok(data)
            }
            (CacheableResource::NotModified, Some((_, headers))) => Ok(headers.clone()),
            (CacheableResource::NotModified, None) => Ok(HeaderMap::new()),
        }
    }
}

fn from_json(text: &str) -> Result<Credentials, NoCredentials> {
    let json: Value = serde_json::from_str(text).map_err(|_| NoCredentials::NotJson)?;
    let built = match json["type"].as_str() {
        Some("service_account") => service_account::Builder::new(json)
            .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
            .build(),
        Some("external_account") => external_account::Builder::new(json).with_scopes([SCOPE]).build(),
        Some(_) | None => return Err(NoCredentials::Type),
    };
    built.map_err(|error| NoCredentials::Refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use shared::aws::Secret;

    use super::*;

    #[tokio::test]
    async fn wrong_credentials_are_refused_without_being_shown() {
        for (given, expected) in [
            ("/nowhere/secret.json", "GOOGLE_CREDENTIALS: the file cannot be read"),
            ("{secret", "GOOGLE_CREDENTIALS must be a path, or the JSON"),
            (r#"{"type": "secret"}"#, "GOOGLE_CREDENTIALS: the member `type`"),
        ] {
            let source = CredentialsSource::Given(Secret::new(given.to_owned()));
            let error = Authentication::read(&source, false).await.map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(expected) && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_emulator_gets_no_token() {
        let authentication = Authentication::read(&CredentialsSource::Default, true).await.unwrap();
        assert!(authentication.headers().await.unwrap().is_empty());
    }
}
