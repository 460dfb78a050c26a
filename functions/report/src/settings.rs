//! The environment variables that configure the hourly mail.

use lettre::Tokio1Executor;
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::AsyncSmtpTransport;
use shared::aws::Secret;
use shared::process::settings::SettingsError;

/// The variable that names a secret. The secret holds the address that would otherwise be in `SMTP_URL`.
pub const SMTP_SECRET: &str = "SMTP_SECRET_ARN";
const SMTP_URL: &str = "SMTP_URL";

/// How reports are mailed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportSettings {
    /// Recipients and transport. If this is `None`, reports are written to the log.
    pub mail: Option<MailSettings>,
}

/// The recipients of reports, and how mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// `REPORT_TO`.
    pub to: Mailboxes,
    /// `REPORT_FROM`.
    pub from: Mailbox,
    /// Amazon SES, unless `SMTP_URL` or the secret names a server.
    pub transport: MailTransport,
}

/// How mail is sent.
#[derive(Clone, PartialEq, Eq)]
pub enum MailTransport {
    /// Through the SMTP server at this address.
    Smtp(String),
    /// Through Amazon SES.
    Ses,
}

/// Hides the SMTP address, which may contain a password.
impl std::fmt::Debug for MailTransport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Smtp(_) => "Smtp(…)",
            Self::Ses => "Ses",
        })
    }
}

impl ReportSettings {
    /// Reads `REPORT_TO`, `REPORT_FROM` and `SMTP_URL` through `variable`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Self::read_with_secret(variable, None)
    }

    /// Reads `REPORT_TO` and `REPORT_FROM` through `variable`. The mail server's address is the content of the secret
    /// `smtp` or, if no secret is given, of `SMTP_URL`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed. If the secret's content is malformed, the error names
    /// `SMTP_SECRET_ARN`.
    pub fn read_with_secret(
        variable: impl Fn(&'static str) -> Option<String>,
        smtp: Option<&Secret>,
    ) -> Result<Self, SettingsError> {
        let transport = transport(&variable, smtp)?;
        let Some(to) = variable("REPORT_TO") else {
            return Ok(Self { mail: None });
        };
        let to: Mailboxes = to.parse().map_err(|_| SettingsError::Malformed {
            name: "REPORT_TO",
            expected: "mail addresses such as ann@example.com, bob@example.com",
        })?;
        const FROM: &str = "the mail address that reports come from, such as sluice@example.com";
        let from = variable("REPORT_FROM").ok_or(SettingsError::Missing { name: "REPORT_FROM", expected: FROM })?;
        let from = from.parse().map_err(|_| SettingsError::Malformed { name: "REPORT_FROM", expected: FROM })?;
        Ok(Self { mail: Some(MailSettings { to, from, transport }) })
    }
}

/// Reads how mail is sent. An SMTP address is checked even if there are no recipients, so that a malformed address is
/// found before recipients are added.
fn transport(
    variable: impl Fn(&'static str) -> Option<String>,
    smtp: Option<&Secret>,
) -> Result<MailTransport, SettingsError> {
    let (name, url) = match smtp {
        Some(secret) => (SMTP_SECRET, Some(secret.reveal().trim().to_owned())),
        None => (SMTP_URL, variable(SMTP_URL)),
    };
    match url {
        None => Ok(MailTransport::Ses),
        Some(url) if is_smtp(&url) => Ok(MailTransport::Smtp(url)),
        Some(_) => Err(SettingsError::Malformed {
            name,
            expected: "an address such as smtps://user:password@host or smtp://user:password@host:587?tls=required",
        }),
    }
}

/// Returns whether this is an SMTP address. An address whose password could be sent unencrypted does not count.
fn is_smtp(url: &str) -> bool {
    let is_safe = url.starts_with("smtps://") || url.ends_with("?tls=required") || !url.contains('@');
    is_safe && AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(to: &str, from: &str, smtp_url: &str) -> Result<ReportSettings, SettingsError> {
        ReportSettings::read(|name| {
            let value = match name {
                "REPORT_TO" => to,
                "REPORT_FROM" => from,
                "SMTP_URL" => smtp_url,
                _ => "",
            };
            Some(value.to_owned()).filter(|value| !value.is_empty())
        })
    }

    fn transport(smtp_url: &str) -> Option<MailTransport> {
        read("a@example.com", "b@example.com", smtp_url).ok()?.mail.map(|mail| mail.transport)
    }

    #[test]
    fn without_recipients_no_other_variable_is_required() {
        assert_eq!(read("", "nonsense", "smtps://u:p@host").unwrap(), ReportSettings { mail: None });
    }

    #[test]
    fn a_report_can_have_several_recipients() {
        let mail = read("ann@example.com, Bob <bob@example.com>", "s@example.com", "").unwrap().mail.unwrap();
        assert_eq!(mail.to.iter().count(), 2);
        assert_eq!(mail.transport, MailTransport::Ses);
    }

    #[test]
    fn the_error_names_the_variable_that_is_missing_or_malformed() {
        for (to, from, url, name) in [
            ("ann", "s@example.com", "", "REPORT_TO"),
            ("ann@example.com", "", "", "REPORT_FROM"),
            ("ann@example.com", "sluice", "", "REPORT_FROM"),
            ("ann@example.com", "s@example.com", "http://host", "SMTP_URL"),
            ("", "", "http://host", "SMTP_URL"),
        ] {
            let error = read(to, from, url).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn the_address_of_the_mail_server_can_be_in_a_secret() {
        let read = |secret: &str| {
            let variable = |name: &'static str| match name {
                "REPORT_TO" => Some("a@example.com".to_owned()),
                "REPORT_FROM" => Some("b@example.com".to_owned()),
                "SMTP_URL" => Some("smtp://127.0.0.1:25".to_owned()),
                _ => None,
            };
            ReportSettings::read_with_secret(variable, Some(&Secret::new(secret.to_owned())))
        };
        let url = "smtps://u:p@host";
        let mail = read("smtps://u:p@host\n").unwrap().mail.unwrap();
        assert_eq!(mail.transport, MailTransport::Smtp(url.to_owned()));
        let error = read("smtp://u:hunter2@host").unwrap_err().to_string();
        assert!(error.starts_with("SMTP_SECRET_ARN is malformed") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_password_requires_an_encrypted_connection() {
        let smtp = |url: &str| Some(MailTransport::Smtp(url.to_owned()));
        for url in ["smtps://u:p@host", "smtp://u:p@host:587?tls=required", "smtp://127.0.0.1:2525"] {
            assert_eq!(transport(url), smtp(url));
        }
        for url in ["smtp://u:p@host", "smtp://u:p@host?tls=opportunistic"] {
            assert_eq!(transport(url), None);
        }
    }
}
