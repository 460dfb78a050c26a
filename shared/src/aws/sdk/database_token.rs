//! Tokens that replace the password of a PostgreSQL user on RDS, with IAM authentication
//! (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>).
//!
//! A token is a signed address. AWS's own signing function is a part of the RDS client, which Sluice does not need
//! otherwise, so this module signs the address itself. The signature has the same form as the signature of any other
//! request to AWS.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_kafka::config::{Credentials, ProvideCredentials as _};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_request,
};
use aws_sigv4::sign::v4::SigningParams;
use url::Url;

use super::super::{DatabaseUser, LookUpError, PATIENCE, Secret, Service};
use super::Aws;
use super::error::chain;

/// The time for which a token can open connections. RDS accepts no other value. A connection stays open when its token
/// expires.
const VALID_FOR: Duration = Duration::from_secs(15 * 60);

const AUTH: &str = "DATABASE_AUTH";

impl Aws {
    /// Signs a token for a user. The token is valid from `now_ms` on.
    ///
    /// # Errors
    /// There is no region, there are no credentials, or the credentials do not arrive in time.
    pub(crate) async fn database_token(&self, user: DatabaseUser<'_>, now_ms: i64) -> Result<Secret, LookUpError> {
        let refused = |cause: String| LookUpError::Refused { variable: AUTH, service: Service::Credentials, cause };
        let region = self.region().await.ok_or(LookUpError::NoRegion { variable: AUTH })?;
        let provider = self.credentials().await.ok_or_else(|| refused("there are no credentials".to_owned()))?;
        let late = |cause: String| LookUpError::Unavailable { variable: AUTH, service: Service::Credentials, cause };
        let credentials = match tokio::time::timeout(PATIENCE, provider.provide_credentials()).await {
            Ok(Ok(credentials)) => credentials,
            Ok(Err(error)) => return Err(late(chain(&error))),
            Err(_elapsed) => return Err(late("no answer in time".to_owned())),
        };
        presign(credentials, region.as_ref(), user, now_ms).map(Secret::new).map_err(refused)
    }
}

fn presign(credentials: Credentials, region: &str, user: DatabaseUser<'_>, now_ms: i64) -> Result<String, String> {
    let DatabaseUser { host, port, name } = user;
    let mut address = Url::parse(&format!("https://{host}:{port}/")).map_err(|error| error.to_string())?;
    address.query_pairs_mut().append_pair("Action", "connect").append_pair("DBUser", name);

    let mut settings = SigningSettings::default();
    settings.expires_in = Some(VALID_FOR);
    settings.signature_location = SignatureLocation::QueryParams;
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or_default()))
        .settings(settings)
        .build()
        .map_err(|error| error.to_string())?
        .into();
    let request = SignableRequest::new("GET", address.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))
        .map_err(|error| error.to_string())?;
    let (instructions, _signature) =
        sign_request(request, &parameters).map_err(|error| error.to_string())?.into_parts();
    for (name, value) in instructions.params() {
        address.query_pairs_mut().append_pair(name, value);
    }
    let token = address.as_str().strip_prefix("https://").unwrap_or_default();
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_signed_address_without_its_scheme_and_expires_after_fifteen_minutes() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("session+/=".to_owned()), None, "test");
        let user = DatabaseUser { host: "db.example.org", port: 5433, name: "sluice app" };
        let token = |now_ms| presign(credentials.clone(), "eu-central-1", user, now_ms).unwrap_or_default();
        let first = token(1_700_000_000_000);

        assert!(first.starts_with("db.example.org:5433/?Action=connect&DBUser=sluice"), "{first}");
        let address = Url::parse(&format!("https://{first}"));
        let pairs: Vec<(String, String)> =
            address.iter().flat_map(Url::query_pairs).map(|(name, value)| (name.into(), value.into())).collect();
        let value = |name: &str| pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(value("DBUser"), Some("sluice app"));
        assert_eq!(value("X-Amz-Algorithm"), Some("AWS4-HMAC-SHA256"));
        assert_eq!(value("X-Amz-Credential"), Some("AKIDEXAMPLE/20231114/eu-central-1/rds-db/aws4_request"));
        assert_eq!(value("X-Amz-Date"), Some("20231114T221320Z"));
        assert_eq!(value("X-Amz-Expires"), Some("900"));
        assert_eq!(value("X-Amz-SignedHeaders"), Some("host"));
        assert_eq!(value("X-Amz-Security-Token"), Some("session+/="));
        let is_hex = |text: &str| text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit());
        assert!(value("X-Amz-Signature").is_some_and(is_hex), "{first}");
        assert_ne!(first, token(1_700_000_060_000), "a minute later the token is different");
    }
}
