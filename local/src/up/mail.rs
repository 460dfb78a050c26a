//! Where e-mails go.

use crate::mail_sink::MailSink;

/// The destination of e-mails.
pub(super) enum Mail {
    Server(String),
    Sink(MailSink),
}

impl Mail {
    /// Returns the server's address, and whether the server is the mail sink.
    pub(super) fn smtp(&self) -> (&str, bool) {
        match self {
            Self::Server(url) => (url, false),
            Self::Sink(sink) => (&sink.url, true),
        }
    }
}
