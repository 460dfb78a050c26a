//! Looks up settings at AWS when the process starts, and again when the settings stop working.
//!
//! - [`Aws`]: access to AWS. The module `sdk` implements it with the AWS SDK. In builds without the feature `aws`, the
//!   module `absent` replaces `sdk` and refuses every lookup. Leaving out the SDK saves a fifth of the build time
//! - [`LookUpError`]: why a lookup failed, and whether retrying helps
//! - `token`: the tokens that Kafka clients authenticate with, and the trait [`Sign`], which signs these tokens

#[cfg(not(feature = "aws"))]
mod absent;
mod error;
mod listener;
#[cfg(feature = "aws")]
mod sdk;
mod secret;
mod token;

use std::time::Duration;

#[cfg(not(feature = "aws"))]
pub use self::absent::Aws;
pub use self::error::{LookUpError, Service};
pub use self::listener::Listener;
#[cfg(feature = "aws")]
pub use self::sdk::Aws;
pub use self::secret::Secret;
pub(crate) use self::token::SIGNING_PATIENCE;
pub use self::token::{BearerToken, Sign, TokenError};

/// The time limit for a lookup, including one retry. A lookup must fit into Lambda's Init phase, which lasts at most
/// 10 s.
pub const PATIENCE: Duration = Duration::from_secs(4);

/// A database user, with the server's address. A token is signed for one user at one address.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "without the AWS SDK, no token is signed"))]
pub(crate) struct DatabaseUser<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) name: &'a str,
}

/// Returns whether `text` is an ARN of the service that `service` names. The ARN's last part must begin with the text
/// in `resource`, and a name must follow.
pub(crate) fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let prefix = [parts.next(), parts.next(), parts.next()];
    let (region, account, rest) = (parts.next(), parts.next(), parts.next());
    matches!(prefix, [Some("arn"), Some(partition), Some(named)] if !partition.is_empty() && named == service)
        && [region, account].iter().all(|part| part.is_some_and(|part| !part.is_empty()))
        && rest.is_some_and(|rest| rest.strip_prefix(resource).is_some_and(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_a_service_and_a_region_and_an_account_and_a_resource() {
        let is_cluster = |arn| is_arn(arn, "kafka", "cluster/");
        assert!(is_cluster("arn:aws:kafka:eu-central-1:123456789012:cluster/sluice/5f-2"));
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
