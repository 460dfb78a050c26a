//! The hourly mail: its content (`message`), and how it is sent (`smtp`, `ses`). `schedule` sends it.

mod error;
mod message;
#[cfg(not(feature = "aws"))]
mod no_ses;
#[cfg(feature = "aws")]
mod ses;
mod smtp;

use lettre::message::{Mailbox, Mailboxes};
use shared::aws::Aws;

use crate::hour::Hour;
use crate::settings::{MailSettings, MailTransport};
use crate::tally::Tally;
pub use error::MailError;
#[cfg(not(feature = "aws"))]
use no_ses::Ses;
#[cfg(feature = "aws")]
use ses::Ses;
use smtp::Smtp;

/// How mail is sent, and to whom.
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
    /// Prepares sending without opening a connection.
    pub(crate) fn new(settings: &MailSettings, aws: &Aws) -> Result<Self, MailError> {
        let carrier = match &settings.transport {
            MailTransport::Smtp(url) => Carrier::Smtp(Smtp::new(url)?),
            MailTransport::Ses => Carrier::Ses(Ses::new(aws.clone())?),
        };
        Ok(Self { to: settings.to.clone(), from: settings.from.clone(), carrier })
    }

    /// Sends a report and returns once the server has accepted it.
    pub(crate) async fn send(&self, tally: &Tally, hour: Hour) -> Result<(), MailError> {
        let message = message::message(&self.from, &self.to, tally, hour)?;
        match &self.carrier {
            Carrier::Smtp(smtp) => smtp.send(message).await,
            Carrier::Ses(ses) => ses.send(&message).await,
        }
    }
}
