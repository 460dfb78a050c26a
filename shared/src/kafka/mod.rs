//! Kafka: settings, the producer, the reader, the topics.
//!
//! [`KafkaSource`] reads environment variables. If these name resources at AWS, [`KafkaSource::look_up`] looks the
//! resources up. The result is [`KafkaSettings`], from which clients are created. [`Context`] supplies every client's
//! tokens, and notes which connections were refused.

mod admin;
mod connection;
mod context;
mod producer;
pub mod reader;
mod settings_origin;
mod source;
mod token;
pub mod topics;

pub use connection::{ProducerError, SEND_TIMEOUT};
pub use context::Context;
pub use producer::{Acknowledged, Outgoing, Producer, RecordHeader, SendError};
pub use source::KafkaSource;
pub use token::IamTokens;

use rdkafka::ClientConfig;

use crate::aws::Secret;
use crate::network::pem::Pem;
use crate::network::resolve::resolves;

/// How to reach Kafka.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// One or more `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Encryption and authentication.
    pub access: Access,
}

/// How client and broker authenticate each other. Encrypted connections verify the broker's certificate and name.
#[derive(Debug, Clone)]
pub enum Access {
    /// No authentication, unencrypted.
    Plaintext,
    /// No client authentication, over TLS.
    Tls {
        /// The authorities that may have signed the broker's certificate.
        ca: Pem,
    },
    /// A client certificate.
    Certificate {
        /// The authorities that may have signed the broker's certificate. Defaults to those that the machine trusts.
        ca: Option<Pem>,
        /// The client's certificate, followed by intermediate ones.
        certificate: Pem,
        /// The private key of the certificate.
        key: Pem,
    },
    /// User name and password over TLS (SASL, SCRAM-SHA-512).
    Scram {
        /// The authorities that may have signed the broker's certificate. Defaults to those that the machine trusts.
        ca: Option<Pem>,
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Tokens over TLS (SASL, OAUTHBEARER), as Amazon MSK uses them for IAM.
    Iam {
        /// The authorities that may have signed the broker's certificate. Defaults to those that the machine trusts.
        ca: Option<Pem>,
        /// The tokens.
        tokens: IamTokens,
    },
}

impl KafkaSettings {
    /// Settings for a cluster without encryption and authentication.
    pub fn plaintext(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), access: Access::Plaintext }
    }

    /// Returns the bootstrap servers if none of their host names resolves. A client would then retry forever.
    pub async fn unresolved_servers(&self) -> Option<&str> {
        for server in self.bootstrap_servers.split(',') {
            let (host, port) = server.trim().rsplit_once(':').unwrap_or((server, ""));
            if resolves(host, port.parse().unwrap_or_default()).await {
                return None;
            }
        }
        Some(&self.bootstrap_servers)
    }

    /// Returns the configuration that all clients share. With this configuration, a client notices a dead connection
    /// within seconds. A function that was frozen for an hour depends on this, because all of its connections have been
    /// cut. The client also closes idle connections before load balancers do.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "sluice")
            .set("socket.timeout.ms", "5000")
            .set("socket.connection.setup.timeout.ms", "3000")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("connections.max.idle.ms", "180000")
            .set("allow.auto.create.topics", "false");
        match self.access {
            // With IAM, each Amazon MSK broker accepts 100 new connections a second, and a small broker only 4. So a
            // client connects only to the brokers that it needs (librdkafka's default), and reconnects only after a
            // second.
            // <https://docs.aws.amazon.com/msk/latest/developerguide/limits.html>
            Access::Iam { .. } => {
                config.set("reconnect.backoff.ms", "1000").set("reconnect.backoff.max.ms", "1000");
            }
            // The client connects to all brokers at the start, so that the first metadata response takes 8 ms instead
            // of 55 ms.
            Access::Plaintext | Access::Tls { .. } | Access::Certificate { .. } | Access::Scram { .. } => {
                config.set("enable.sparse.connections", "false");
            }
        }
        self.access.set(&mut config);
        config
    }

    /// Creates the context for a client with these settings.
    pub fn context(&self) -> Context {
        Context::new(match &self.access {
            Access::Iam { tokens, .. } => Some(tokens.clone()),
            Access::Plaintext | Access::Tls { .. } | Access::Certificate { .. } | Access::Scram { .. } => None,
        })
    }
}

impl Access {
    fn set(&self, config: &mut ClientConfig) {
        match self {
            Self::Plaintext => {}
            Self::Tls { ca } => tls(config, "ssl", Some(ca)),
            Self::Certificate { ca, certificate, key } => {
                tls(config, "ssl", ca.as_ref());
                config.set("ssl.certificate.pem", certificate.text()).set("ssl.key.pem", key.text());
            }
            Self::Scram { ca, username, password } => {
                tls(config, "sasl_ssl", ca.as_ref());
                config
                    .set("sasl.mechanisms", "SCRAM-SHA-512")
                    .set("sasl.username", username)
                    .set("sasl.password", password.reveal());
            }
            Self::Iam { ca, .. } => {
                tls(config, "sasl_ssl", ca.as_ref());
                config.set("sasl.mechanisms", "OAUTHBEARER");
            }
        }
    }
}

fn tls(config: &mut ClientConfig, protocol: &str, ca: Option<&Pem>) {
    config
        .set("security.protocol", protocol)
        .set("enable.ssl.certificate.verification", "true")
        .set("ssl.endpoint.identification.algorithm", "https");
    match ca {
        Some(ca) => config.set("ssl.ca.pem", ca.text()),
        // The OpenSSL that is built into the binary does not know where this machine keeps its CA certificates, so
        // librdkafka searches for them.
        None => config.set("ssl.ca.location", "probe"),
    };
}
