//! Certificates and keys in PEM, given as a path or as the text itself.

use std::fmt;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::process::settings::SettingsError;

/// The expected content of a PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One or more certificates.
    Certificates,
    /// A private key without a passphrase.
    PrivateKey,
}

/// A PEM's text. It may be a private key, so it is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(String);

impl Pem {
    /// Reads a variable that contains a PEM or the path of a file. In a PEM, the two characters `\n` may stand for a
    /// line break, so that the PEM fits on one line.
    ///
    /// # Errors
    /// The variable contains neither, or the PEM is not of this `kind`.
    pub fn read(name: &'static str, value: &str, kind: Kind) -> Result<Self, SettingsError> {
        let expected = match kind {
            Kind::Certificates => "certificates in PEM, or the path of a file with them",
            Kind::PrivateKey => "a private key in PEM without a passphrase, or the path of a file with it",
        };
        let malformed = SettingsError::Malformed { name, expected };
        let text = if value.trim_start().starts_with("-----BEGIN") {
            value.replace("\\n", "\n")
        } else {
            std::fs::read_to_string(value).map_err(|_unreadable| malformed.clone())?
        };
        if holds(&text, kind) { Ok(Self(text)) } else { Err(malformed) }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

fn holds(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Certificates => {
            let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            certificates.is_ok_and(|certificates| !certificates.is_empty())
        }
        Kind::PrivateKey => PrivateKeyDer::from_pem_slice(text.as_bytes()).is_ok(),
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(PEM)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "KAFKA_SSL_CA";

    // `Pem::read` checks only the base64; TLS checks the rest.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    fn read(value: &str, kind: Kind) -> Result<String, String> {
        Pem::read(NAME, value, kind).map(|pem| pem.text().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pem_may_be_text_on_one_or_several_lines_or_the_path_of_a_file() {
        let file = std::env::temp_dir().join(format!("pem-{}.pem", std::process::id()));
        std::fs::write(&file, CERTIFICATE).ok();
        let one_line = CERTIFICATE.replace('\n', "\\n");
        for value in [CERTIFICATE, &one_line, &file.to_string_lossy()] {
            assert_eq!(read(value, Kind::Certificates).as_deref(), Ok(CERTIFICATE), "{value}");
        }
        std::fs::remove_file(&file).ok();
    }

    #[test]
    fn errors_name_the_variable_but_never_its_content() {
        let expected = "KAFKA_SSL_CA is malformed: it should hold certificates in PEM, or the path of a file with them";
        for value in ["/not/there.pem", "-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----\nAAAA"] {
            assert_eq!(read(value, Kind::Certificates), Err(expected.to_owned()), "{value}");
        }
        assert!(read(CERTIFICATE, Kind::PrivateKey).is_err());
    }
}
