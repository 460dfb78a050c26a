//! What an invocation asks for.

use serde::Deserialize;
use serde_json::Value;

use crate::error::MigrateError;

/// An invocation.
#[derive(Debug)]
pub(crate) enum Request {
    /// A request from CloudFormation, which waits for an answer at an address.
    CloudFormation(CustomResource),
    /// `{}`: prepare database and cluster.
    Prepare,
    /// `{"admin": NAME}`: create an admin.
    Admin {
        /// The user's name.
        name: String,
    },
}

/// CloudFormation's request for a custom resource.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-requests.html>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CustomResource {
    /// `Create`, `Update` or `Delete`.
    pub(crate) request_type: String,
    /// The address for the answer. The address contains a signature, so it is never logged.
    #[serde(rename = "ResponseURL")]
    pub(crate) response_url: String,
    /// The stack.
    pub(crate) stack_id: String,
    /// This request.
    pub(crate) request_id: String,
    /// The resource's name in the template.
    pub(crate) logical_resource_id: String,
    /// The properties that the template gives the resource.
    #[serde(default)]
    pub(crate) resource_properties: Properties,
}

/// The resource's properties. CloudFormation passes them as strings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Properties {
    /// The function's version. CloudFormation sends an update when the version changes.
    #[serde(default)]
    pub(crate) version: Value,
    /// `yes` or `no`. With `no`, an operator starts the work with `aws lambda invoke`.
    #[serde(default)]
    pub(crate) migrate_on_deploy: Value,
    /// Every setting that the functions get.
    #[serde(default)]
    pub(crate) settings: Value,
}

/// An invocation by an operator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Direct {
    admin: Option<String>,
}

impl Request {
    /// Reads an invocation's payload.
    ///
    /// # Errors
    /// The payload has neither an operator's format nor CloudFormation's.
    pub(crate) fn read(payload: &str) -> Result<Self, MigrateError> {
        // The parser's error is not passed on, because it may quote the secret address.
        if let Ok(request) = serde_json::from_str(payload) {
            return Ok(Self::CloudFormation(request));
        }
        match serde_json::from_str(payload) {
            Ok(Direct { admin: Some(name) }) => Ok(Self::Admin { name }),
            Ok(Direct { admin: None }) => Ok(Self::Prepare),
            Err(_) => Err(MigrateError::Payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_payload_is_empty_or_names_an_admin() {
        assert!(matches!(Request::read("{}"), Ok(Request::Prepare)));
        assert!(matches!(Request::read(r#"{"admin":"ann"}"#), Ok(Request::Admin { name }) if name == "ann"));
        for wrong in ["[]", "1", r#"{"admn":"ann"}"#, r#"{"admin":1}"#, r#"{"RequestType":"Create"}"#] {
            assert!(matches!(Request::read(wrong), Err(MigrateError::Payload)), "{wrong}");
        }
    }
}
