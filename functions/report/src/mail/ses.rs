//! Mail through Amazon SES, version 2 of its API, which takes a message as it is.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::error::DisplayErrorContext;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{EmailContent, RawMessage};
use lettre::Message;
use shared::aws::Aws;

use super::MailError;

/// SES of an account.
#[derive(Debug)]
pub(super) struct Ses(pub(super) Aws);

impl Ses {
    /// Sends a message; SES reads its sender and its recipients.
    pub(super) async fn send(&self, message: &Message) -> Result<(), MailError> {
        let failed = |error: &dyn std::error::Error| MailError::Ses(DisplayErrorContext(error).to_string());
        let raw = RawMessage::builder().data(Blob::new(message.formatted())).build().map_err(|error| failed(&error))?;
        let client = Client::new(self.0.config().await);
        let sending = client.send_email().content(EmailContent::builder().raw(raw).build());
        sending.send().await.map(drop).map_err(|error| failed(&error))
    }
}
