//! Handles CloudFormation's requests. Every request is answered, because without an answer, the stack would wait for a
//! timeout.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use crate::delivery::deliver;
use crate::error::MigrateError;
use crate::request::{CustomResource, Properties};

/// The id of the stack's only resource of this kind. The id never changes. If it changed, CloudFormation would regard
/// the resource as replaced, and delete the old resource.
const PHYSICAL_ID: &str = "sluice-migrate";

/// The time limit of the work: the `ServiceTimeout` of 600 s in template.yaml, minus the time to start and to answer.
const LONGEST: Duration = Duration::from_secs(540);

/// The maximum length of an answer's reason. CloudFormation accepts at most 4,096 bytes for the whole answer.
const LONGEST_REASON_CHARACTERS: usize = 500;

/// An answer to CloudFormation.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/crpg-ref-responses.html>
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    status: &'static str,
    reason: &'a str,
    physical_resource_id: &'static str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
    data: Attributes,
}

/// What the template reads from the resource with `!GetAtt`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    /// A text that changes when a setting of the functions changes, so that new versions of the functions are
    /// published.
    settings: String,
}

/// Does the requested work within `left`, and answers CloudFormation. Returns the function's response.
///
/// # Errors
/// CloudFormation did not accept the answer.
pub(crate) async fn answer(
    request: &CustomResource,
    left: Duration,
    work: impl Future<Output = Result<Value, MigrateError>>,
) -> Result<Value, MigrateError> {
    let CustomResource { request_type, resource_properties: Properties { version, .. }, .. } = request;
    tracing::info!(request_type, %version, "request from CloudFormation");
    let outcome = decide(request, left.min(LONGEST), work).await;
    let (status, reason) = match &outcome {
        Ok(_done) => ("SUCCESS", String::new()),
        Err(error) => ("FAILED", one_line(&error.to_string())),
    };
    if outcome.is_err() {
        tracing::error!("{reason}");
    }
    let answer = Answer {
        status,
        reason: &reason,
        physical_resource_id: PHYSICAL_ID,
        stack_id: &request.stack_id,
        request_id: &request.request_id,
        logical_resource_id: &request.logical_resource_id,
        data: Attributes { settings: fingerprint(&request.resource_properties.settings) },
    };
    deliver(&request.response_url, json!(answer).to_string()).await?;
    Ok(json!({"status": status, "reason": reason, "done": outcome.unwrap_or_default()}))
}

/// Does the work, if the request needs any. For a new stack, an update and a rollback, the work is the same: to create
/// what is missing.
async fn decide(
    request: &CustomResource,
    left: Duration,
    work: impl Future<Output = Result<Value, MigrateError>>,
) -> Result<Value, MigrateError> {
    match request.request_type.as_str() {
        "Create" | "Update" if is_wanted(&request.resource_properties)? => {
            let done = timeout(left, AssertUnwindSafe(work).catch_unwind()).await;
            done.map_err(|_late| MigrateError::Deadline(left))?.unwrap_or(Err(MigrateError::Panic))
        }
        "Create" | "Update" => Ok(json!("nothing, because MigrateOnDeploy is no")),
        // The database and the topics belong to the operator, and outlive the stack.
        "Delete" => Ok(json!("nothing, because database and topics stay")),
        _ => Err(MigrateError::RequestType),
    }
}

fn is_wanted(properties: &Properties) -> Result<bool, MigrateError> {
    match &properties.migrate_on_deploy {
        Value::Null => Ok(true),
        Value::String(text) if text == "yes" => Ok(true),
        Value::String(text) if text == "no" => Ok(false),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            Err(MigrateError::MigrateOnDeploy)
        }
    }
}

/// Returns the first 16 hexadecimal digits of a value's SHA-256. The order of members in objects makes no difference.
fn fingerprint(value: &Value) -> String {
    hex::encode(&Sha256::digest(value.to_string())[..8])
}

fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(LONGEST_REASON_CHARACTERS).collect()
}

#[cfg(test)]
mod tests;
