//! Mail through version 2 of Amazon SES's API, which accepts a complete message.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::DisplayErrorContext;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{EmailContent, RawMessage};
use lettre::Message;
use shared::aws::Aws;

use super::MailError;

/// Sends mail through the AWS account's SES.
#[derive(Debug)]
pub(super) struct Ses(Aws);

impl Ses {
    pub(super) fn new(aws: Aws) -> Result<Self, MailError> {
        Ok(Self(aws))
    }

    /// Sends a message. SES reads the sender and the recipients from the message's headers.
    pub(super) async fn send(&self, message: &Message) -> Result<(), MailError> {
        let failed = |error: &dyn std::error::Error| MailError::Ses(DisplayErrorContext(error).to_string());
        let raw = RawMessage::builder().data(Blob::new(message.formatted())).build().map_err(|error| failed(&error))?;
        let client = Client::new(self.0.config().await);
        let sending = client.send_email().content(EmailContent::builder().raw(raw).build());
        sending.send().await.map(drop).map_err(|error| failed(&error))
    }
}
