//! The mail: what it says, and how it goes out.

mod message;
mod ses;
mod smtp;

use lettre::message::{Mailbox, Mailboxes};
use shared::aws::Aws;

use crate::hour::Hour;
use crate::settings::{MailSettings, MailTransport};
use crate::tally::Tally;
use ses::Ses;
use smtp::Smtp;

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The message cannot be written.
    #[error("the message cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    /// The SMTP server cannot be reached, or does not take it.
    #[error("SMTP_URL: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// Amazon SES cannot be reached, or does not take it.
    #[error("Amazon SES: {0}")]
    Ses(String),
    /// It took too long.
    #[error("it took too long")]
    Late,
}

/// The way by which mail goes out, and to whom.
#[derive(Debug)]
pub(crate) struct Post {
    to: Mailboxes,
    from: Mailbox,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    Smtp(Smtp),
    Ses(Ses),
}

impl Post {
    /// Opens no connection yet.
    pub(crate) fn new(settings: &MailSettings, aws: &Aws) -> Result<Self, MailError> {
        let carrier = match &settings.transport {
            MailTransport::Smtp(url) => Carrier::Smtp(Smtp::new(url)?),
            MailTransport::Ses => Carrier::Ses(Ses(aws.clone())),
        };
        Ok(Self { to: settings.to.clone(), from: settings.from.clone(), carrier })
    }

    /// Sends a report; returns once the server has taken it.
    pub(crate) async fn send(&self, tally: &Tally, hour: Hour) -> Result<(), MailError> {
        let message = message::message(&self.from, &self.to, tally, hour)?;
        match &self.carrier {
            Carrier::Smtp(smtp) => smtp.send(message).await,
            Carrier::Ses(ses) => ses.send(&message).await,
        }
    }
}
