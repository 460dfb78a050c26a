//! Mail through an SMTP server (RFC 5321). Over TLS, its certificate is verified.

use std::time::Duration;

use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::MailError;

/// How long the server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An SMTP server.
#[derive(Debug)]
pub(super) struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

impl Smtp {
    /// The server at an `smtp://` or `smtps://` address.
    pub(super) fn new(url: &str) -> Result<Self, MailError> {
        Ok(Self(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(Some(TIMEOUT)).build()))
    }

    /// Sends over a connection of its own: between two hours, any other would have been cut.
    pub(super) async fn send(&self, message: Message) -> Result<(), MailError> {
        self.0.send(message).await?;
        Ok(())
    }
}
