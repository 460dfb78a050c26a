//! Mail through an SMTP server (RFC 5321). Over TLS, the server's certificate is verified.

use std::time::Duration;

use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::MailError;

/// The time limit for the server's answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An SMTP server.
#[derive(Debug)]
pub(super) struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

impl Smtp {
    /// Creates a client of the server at an `smtp://` or `smtps://` address.
    pub(super) fn new(url: &str) -> Result<Self, MailError> {
        Ok(Self(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.timeout(Some(TIMEOUT)).build()))
    }

    /// Sends a message over a new connection. The next mail is sent an hour later, and the server would close an idle
    /// connection before then.
    pub(super) async fn send(&self, message: Message) -> Result<(), MailError> {
        self.0.send(message).await?;
        Ok(())
    }
}
