//! Kafka listeners that require authentication, for tests. Clusters in production usually require authentication, too.

use super::{ServerError, port};

/// A certificate with its key, and the authority for clients' certificates. All three are in PEM format.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    /// The certificate, followed by any intermediate certificates.
    pub certificate: String,
    /// The certificate's key, in PKCS #8.
    pub key: String,
    /// The certificate of the authority that issues the clients' certificates.
    pub authority: String,
}

/// The methods by which a listener authenticates its clients. All of them use TLS.
#[derive(Debug, Clone)]
pub enum ListenerAccess {
    /// By a certificate.
    Certificate,
    /// By a name and a password (SCRAM-SHA-512).
    Scram {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// By unsigned tokens (OAUTHBEARER), which Kafka accepts for tests.
    UnsecuredTokens {
        /// The time within which a connection must present a new token (`connections.max.reauth.ms`).
        new_one_within_ms: u32,
    },
}

/// A listener on its own port, at `localhost`.
#[derive(Debug, Clone)]
pub(super) struct SecureListener {
    pub(super) port: u16,
    access: ListenerAccess,
    certificate: ServerCertificate,
}

/// Returns three texts for `server.properties`: what the listeners add to the settings `listeners` and
/// `advertised.listeners`, what they add to the setting `listener.security.protocol.map`, and further lines.
pub(super) fn lines(listeners: &[SecureListener]) -> [String; 3] {
    let of_each = |line: &dyn Fn(&SecureListener) -> String| listeners.iter().map(line).collect();
    [
        of_each(&|listener| format!(",{}://localhost:{}", listener.name(), listener.port)),
        of_each(&|listener| format!(",{}:{}", listener.name(), listener.protocol())),
        of_each(&SecureListener::properties),
    ]
}

impl SecureListener {
    pub(super) fn on_free_port(
        (access, certificate): (ListenerAccess, ServerCertificate),
    ) -> Result<Self, ServerError> {
        let port = port::free().ok_or(ServerError::NoFreePort { name: "Apache Kafka" })?;
        Ok(Self { port, access, certificate })
    }

    fn name(&self) -> &'static str {
        match self.access {
            ListenerAccess::Certificate => "CERTIFICATE",
            ListenerAccess::Scram { .. } => "SCRAM",
            ListenerAccess::UnsecuredTokens { .. } => "TOKENS",
        }
    }

    fn protocol(&self) -> &'static str {
        match self.access {
            ListenerAccess::Certificate => "SSL",
            ListenerAccess::Scram { .. } | ListenerAccess::UnsecuredTokens { .. } => "SASL_SSL",
        }
    }

    /// Returns the argument of `kafka-storage format --add-scram`.
    pub(super) fn scram_user(&self) -> Option<String> {
        match &self.access {
            ListenerAccess::Scram { username, password } => {
                Some(format!("SCRAM-SHA-512=[name={username},password={password}]"))
            }
            ListenerAccess::Certificate | ListenerAccess::UnsecuredTokens { .. } => None,
        }
    }

    /// Returns the listener's lines of `server.properties`.
    fn properties(&self) -> String {
        let ServerCertificate { certificate, key, authority } = &self.certificate;
        let mut properties = vec![
            ("ssl.keystore.type", "PEM".to_owned()),
            ("ssl.keystore.certificate.chain", on_one_line(certificate)),
            ("ssl.keystore.key", on_one_line(key)),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.certificates", on_one_line(authority)),
        ];
        match &self.access {
            ListenerAccess::Certificate => properties.push(("ssl.client.auth", "required".to_owned())),
            ListenerAccess::Scram { .. } => properties.extend([
                ("sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
                (
                    "scram-sha-512.sasl.jaas.config",
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
                ),
            ]),
            ListenerAccess::UnsecuredTokens { new_one_within_ms } => properties.extend([
                ("sasl.enabled.mechanisms", "OAUTHBEARER".to_owned()),
                (
                    "oauthbearer.sasl.jaas.config",
                    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                     unsecuredLoginStringClaim_sub=\"broker\";"
                        .to_owned(),
                ),
                ("oauthbearer.connections.max.reauth.ms", new_one_within_ms.to_string()),
            ]),
        }
        let name = self.name().to_ascii_lowercase();
        properties.into_iter().map(|(key, value)| format!("listener.name.{name}.{key}={value}\n")).collect()
    }
}

/// Puts a PEM text on one line: replaces each line end with the two characters `\n`, as Java's properties files
/// require.
fn on_one_line(pem: &str) -> String {
    pem.trim().replace("\r\n", "\n").replace('\n', "\\n")
}
