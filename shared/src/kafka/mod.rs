//! Kafka: how it is reached, the producer, the topics.
//!
//! [`KafkaSource`] is what variables say; what AWS adds to it makes [`KafkaSettings`], from which clients are made.
//! [`Context`] is what every client has beside them: tokens, and what the brokers refused.

mod admin;
mod connection;
mod context;
mod producer;
mod source;
mod token;
pub mod topics;

pub use connection::ProducerError;
pub use context::Context;
pub use producer::{Acknowledged, Outgoing, Producer, RecordHeader, SEND_TIMEOUT, SendError};
pub use source::KafkaSource;
pub use token::{BearerToken, IamTokens, Sign, TokenError};

use rdkafka::ClientConfig;

use crate::aws::Secret;
use crate::pem::Pem;

/// How Kafka is reached.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// How we are known there.
    pub access: Access,
}

/// How brokers know us, and we them. Whatever is encrypted is verified: the broker's certificate and its name.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anybody may connect, unencrypted.
    Plaintext,
    /// Anybody may connect, over TLS.
    Tls {
        /// Who has to have signed the broker's certificate.
        ca: Pem,
    },
    /// By a client's certificate.
    Certificate {
        /// Who has to have signed the broker's certificate; without it, one of the machine's authorities.
        ca: Option<Pem>,
        /// Ours, and those between it and its authority.
        certificate: Pem,
        /// Its key.
        key: Pem,
    },
    /// By a name and a password, over TLS (SASL, SCRAM-SHA-512).
    Scram {
        /// As above.
        ca: Option<Pem>,
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// By tokens, over TLS (SASL, OAUTHBEARER), as Amazon MSK has it for IAM.
    Iam {
        /// As above.
        ca: Option<Pem>,
        /// The tokens.
        tokens: IamTokens,
    },
}

impl KafkaSettings {
    /// A cluster that anybody may connect to.
    pub fn plaintext(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), access: Access::Plaintext }
    }

    /// What every client of ours has in common. A dead broker is noticed within seconds, as a function that was
    /// frozen for an hour finds its connections cut; idle ones are closed before load balancers do it.
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
            .set("allow.auto.create.topics", "false")
            // The first metadata answer comes over a connection that is already there (8 ms instead of 55).
            .set("enable.sparse.connections", "false");
        self.access.set(&mut config);
        config
    }

    /// What a client of these settings has beside them.
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
        // An OpenSSL that is built into the binary does not know where this machine's authorities are.
        None => config.set("ssl.ca.location", "probe"),
    };
}
