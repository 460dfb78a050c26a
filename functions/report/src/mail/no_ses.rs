//! Stands in for SES in a build without the AWS SDK.

use lettre::Message;
use shared::aws::Aws;

use super::MailError;

/// A type without values, because this build cannot reach SES.
#[derive(Debug)]
pub(super) enum Ses {}

impl Ses {
    pub(super) fn new(_: Aws) -> Result<Self, MailError> {
        Err(MailError::NotBuiltIn)
    }

    pub(super) async fn send(&self, _: &Message) -> Result<(), MailError> {
        match *self {}
    }
}
