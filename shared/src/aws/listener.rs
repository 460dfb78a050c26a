//! The listeners of an Amazon MSK cluster.

/// A cluster's listener. Each listener has its own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Plaintext without authentication.
    Plaintext,
    /// TLS, with or without a client certificate.
    Tls,
    /// SASL/SCRAM over TLS.
    Scram,
    /// IAM over TLS.
    Iam,
}
