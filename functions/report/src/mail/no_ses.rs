//! Stands in for SES in a build without the AWS SDK.

use lettre::Message;
use shared::aws::Aws;

use super::MailError;

/// An account's SES, which this build cannot reach.
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
