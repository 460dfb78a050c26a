//! Why a mail was not sent.

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The message cannot be written.
    #[error("the message cannot be written: {0}")]
    Message(#[from] lettre::error::Error),
    /// The SMTP server cannot be reached or refuses the message.
    #[error("SMTP_URL or SMTP_SECRET_ARN: {0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// Amazon SES cannot be reached or refuses the message.
    #[error("Amazon SES: {0}")]
    Ses(String),
    /// This build contains no AWS SDK.
    #[error("REPORT_TO without SMTP_URL needs a build with the AWS SDK, which the feature `aws` enables")]
    NotBuiltIn,
    /// Sending took too long.
    #[error("sending the mail took too long")]
    Late,
}
