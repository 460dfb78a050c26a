//! How to reach Kafka: settings from environment variables. If the settings name resources at AWS, the resources are
//! looked up.

use crate::aws::{Aws, Listener, LookUpError, Secret, is_arn};
use crate::network::pem::{Kind, Pem};
use crate::process::clock::Clock;
use crate::process::settings::SettingsError;

use super::token::IamTokens;
use super::{Access, KafkaSettings};

/// Brokers and authentication, before anything is looked up.
#[derive(Debug, Clone)]
pub struct KafkaSource {
    brokers: Brokers,
    access: AccessSource,
}

#[derive(Debug, Clone)]
enum Brokers {
    /// `KAFKA_BOOTSTRAP_SERVERS`. If `MSK_CLUSTER_ARN` is set, too, the ARN only names the region that tokens are
    /// signed for, and MSK's API is not called. A call would need a network route, and MSK throttles calls if many
    /// functions start at once.
    Servers { servers: String, cluster: Option<String> },
    /// `MSK_CLUSTER_ARN`.
    MskCluster(String),
}

#[derive(Debug, Clone)]
enum AccessSource {
    Known(Access),
    /// A SCRAM user whose name and password are in a secret.
    ScramSecret {
        ca: Option<Pem>,
        arn: String,
    },
    /// A client whose certificate and key are in a secret of the form that event source mappings use.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-cluster-auth.html>
    CertificateSecret {
        ca: Option<Pem>,
        arn: String,
    },
    Iam {
        ca: Option<Pem>,
    },
}

const SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";
const CLUSTER: &str = "MSK_CLUSTER_ARN";
const SECRET: &str = "KAFKA_SECRET_ARN";

impl KafkaSource {
    /// Reads the settings through `variable`. The brokers come from `KAFKA_BOOTSTRAP_SERVERS` or, if that is not set,
    /// from `MSK_CLUSTER_ARN`. The authentication comes from `KAFKA_AUTH` and the variables that its value requires.
    ///
    /// # Errors
    /// The first variable that is missing or malformed.
    pub fn read(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, SettingsError> {
        Ok(Self { brokers: brokers(&variable)?, access: access(&variable)? })
    }

    /// Looks up the AWS resources that the settings name.
    ///
    /// # Errors
    /// AWS does not answer, or a resource is unsuitable.
    pub async fn look_up(&self, aws: &Aws) -> Result<KafkaSettings, LookUpError> {
        let (bootstrap_servers, access) =
            futures::try_join!(self.look_up_brokers(aws), self.access.look_up(aws, self))?;
        Ok(KafkaSettings { bootstrap_servers, access })
    }

    async fn look_up_brokers(&self, aws: &Aws) -> Result<String, LookUpError> {
        match &self.brokers {
            Brokers::Servers { servers, .. } => Ok(servers.clone()),
            Brokers::MskCluster(arn) => aws.brokers(arn, self.access.listener()).await,
        }
    }
}

impl AccessSource {
    fn listener(&self) -> Listener {
        match self {
            Self::Known(Access::Plaintext) => Listener::Plaintext,
            Self::Known(Access::Tls { .. } | Access::Certificate { .. }) | Self::CertificateSecret { .. } => {
                Listener::Tls
            }
            Self::Known(Access::Scram { .. }) | Self::ScramSecret { .. } => Listener::Scram,
            Self::Known(Access::Iam { .. }) | Self::Iam { .. } => Listener::Iam,
        }
    }

    async fn look_up(&self, aws: &Aws, source: &KafkaSource) -> Result<Access, LookUpError> {
        match self {
            Self::Known(access) => Ok(access.clone()),
            Self::ScramSecret { ca, arn } => {
                let secret = aws.secret(SECRET, arn).await?;
                let mut members = secret.members().unwrap_or_default();
                match (members.remove("username"), members.remove("password")) {
                    (Some(username), Some(password)) => {
                        Ok(Access::Scram { ca: ca.clone(), username: username.reveal().to_owned(), password })
                    }
                    _ => Err(LookUpError::Unfit {
                        variable: SECRET,
                        expected: "a JSON object with username and password",
                    }),
                }
            }
            Self::CertificateSecret { ca, arn } => {
                const UNFIT: LookUpError = LookUpError::Unfit {
                    variable: SECRET,
                    expected: "a JSON object with certificate and privateKey in PEM",
                };
                let members = aws.secret(SECRET, arn).await?.members().unwrap_or_default();
                let member = |name, kind| {
                    let pem = members.get(name).ok_or(UNFIT)?;
                    Pem::read(SECRET, pem.reveal(), kind).map_err(|_unfit| UNFIT)
                };
                Ok(Access::Certificate {
                    ca: ca.clone(),
                    certificate: member("certificate", Kind::Certificates)?,
                    key: member("privateKey", Kind::PrivateKey)?,
                })
            }
            Self::Iam { ca } => {
                let cluster = match &source.brokers {
                    Brokers::MskCluster(arn) => Some(arn.as_str()),
                    Brokers::Servers { cluster, .. } => cluster.as_deref(),
                };
                let signer = aws.kafka_signer(cluster).await?;
                Ok(Access::Iam { ca: ca.clone(), tokens: IamTokens::new(signer, Clock::system()) })
            }
        }
    }
}

fn brokers(variable: impl Fn(&'static str) -> Option<String>) -> Result<Brokers, SettingsError> {
    const EXPECTED: &str = "broker addresses such as host1:9092,host2:9092";
    let expected = "the ARN of an Amazon MSK cluster, such as arn:aws:kafka:eu-central-1:123456789012:cluster/name/id";
    let cluster = variable(CLUSTER);
    if cluster.as_ref().is_some_and(|arn| !is_arn(arn, "kafka", "cluster/")) {
        return Err(SettingsError::Malformed { name: CLUSTER, expected });
    }
    match (variable(SERVERS), cluster) {
        (Some(servers), cluster) => {
            let is_address = |server: &str| {
                server.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            };
            let is_right = servers.split(',').all(|server| is_address(server.trim()));
            is_right
                .then_some(Brokers::Servers { servers, cluster })
                .ok_or(SettingsError::Malformed { name: SERVERS, expected: EXPECTED })
        }
        (None, Some(arn)) => Ok(Brokers::MskCluster(arn)),
        (None, None) => Err(SettingsError::Missing {
            name: SERVERS,
            expected: "broker addresses such as host1:9092,host2:9092, unless MSK_CLUSTER_ARN names a cluster",
        }),
    }
}

fn access(variable: impl Fn(&'static str) -> Option<String>) -> Result<AccessSource, SettingsError> {
    let pem = |name, kind| variable(name).map(|value| Pem::read(name, &value, kind)).transpose();
    let needed = |name, expected| variable(name).ok_or(SettingsError::Missing { name, expected });
    let secret = |expected| match variable(SECRET) {
        Some(arn) if !is_arn(&arn, "secretsmanager", "secret:") => {
            Err(SettingsError::Malformed { name: SECRET, expected })
        }
        arn => Ok(arn),
    };
    let ca = pem("KAFKA_SSL_CA", Kind::Certificates)?;
    match variable("KAFKA_AUTH").as_deref() {
        None | Some("none") => Ok(AccessSource::Known(match ca {
            Some(ca) => Access::Tls { ca },
            None => Access::Plaintext,
        })),
        Some("tls") => {
            if let Some(arn) = secret("the ARN of a secret with certificate and privateKey")? {
                return Ok(AccessSource::CertificateSecret { ca, arn });
            }
            let needed = |name, kind, expected| pem(name, kind)?.ok_or(SettingsError::Missing { name, expected });
            Ok(AccessSource::Known(Access::Certificate {
                ca,
                certificate: needed(
                    "KAFKA_SSL_CERT",
                    Kind::Certificates,
                    "the client's certificate for KAFKA_AUTH=tls, in PEM or as the path of a file, unless \
                     KAFKA_SECRET_ARN names a secret",
                )?,
                key: needed(
                    "KAFKA_SSL_KEY",
                    Kind::PrivateKey,
                    "the client's private key for KAFKA_AUTH=tls, in PEM or as the path of a file, unless \
                     KAFKA_SECRET_ARN names a secret",
                )?,
            }))
        }
        Some("scram") => match secret("the ARN of a secret with username and password")? {
            Some(arn) => Ok(AccessSource::ScramSecret { ca, arn }),
            None => Ok(AccessSource::Known(Access::Scram {
                ca,
                username: needed(
                    "KAFKA_SASL_USERNAME",
                    "the user name for KAFKA_AUTH=scram, unless KAFKA_SECRET_ARN names a secret",
                )?,
                password: Secret::new(needed(
                    "KAFKA_SASL_PASSWORD",
                    "the password for KAFKA_AUTH=scram, unless KAFKA_SECRET_ARN names a secret",
                )?),
            })),
        },
        Some("iam") => Ok(AccessSource::Iam { ca }),
        Some(_) => Err(SettingsError::Malformed { name: "KAFKA_AUTH", expected: "`none`, `tls`, `scram` or `iam`" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<KafkaSource, String> {
        KafkaSource::read(|name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    const BROKERS: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "b-1:9098,b-2:9098");
    const ARN: (&str, &str) = ("MSK_CLUSTER_ARN", "arn:aws:kafka:eu-central-1:123456789012:cluster/sluice/5f");

    #[test]
    fn errors_name_the_variable_and_its_expected_content_but_never_its_value() {
        let certificate = ("KAFKA_SSL_CERT", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
        for (variables, named) in [
            (vec![], "KAFKA_BOOTSTRAP_SERVERS is not set"),
            (vec![("KAFKA_BOOTSTRAP_SERVERS", "host")], "KAFKA_BOOTSTRAP_SERVERS is malformed"),
            (vec![("MSK_CLUSTER_ARN", "sluice")], "MSK_CLUSTER_ARN is malformed"),
            (
                vec![BROKERS, ("KAFKA_AUTH", "hunter2")],
                "KAFKA_AUTH is malformed: it should hold `none`, `tls`, `scram` or `iam`",
            ),
            (vec![BROKERS, ("KAFKA_SSL_CA", "hunter2")], "KAFKA_SSL_CA is malformed"),
            (vec![BROKERS, ("MSK_CLUSTER_ARN", "hunter2")], "MSK_CLUSTER_ARN is malformed"),
            (vec![BROKERS, ("KAFKA_AUTH", "tls")], "KAFKA_SSL_CERT is not set"),
            (vec![BROKERS, ("KAFKA_AUTH", "tls"), certificate], "KAFKA_SSL_KEY is not set"),
            (vec![BROKERS, ("KAFKA_AUTH", "tls"), certificate, ("KAFKA_SSL_KEY", "hunter2")], "KAFKA_SSL_KEY is malf"),
            (vec![BROKERS, ("KAFKA_AUTH", "tls"), ("KAFKA_SECRET_ARN", "hunter2")], "KAFKA_SECRET_ARN is malformed"),
            (vec![BROKERS, ("KAFKA_AUTH", "scram")], "KAFKA_SASL_USERNAME is not set"),
            (vec![BROKERS, ("KAFKA_AUTH", "scram"), ("KAFKA_SASL_USERNAME", "u")], "KAFKA_SASL_PASSWORD is not set"),
            (vec![BROKERS, ("KAFKA_AUTH", "scram"), ("KAFKA_SECRET_ARN", "hunter2")], "KAFKA_SECRET_ARN is malformed"),
        ] {
            let error = read(&variables).err().unwrap_or_default();
            assert!(error.starts_with(named), "{error}");
            assert!(error.contains("it should hold") && !error.contains("hunter2"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn each_authentication_method_has_its_own_listener() {
        let password = ("KAFKA_SASL_PASSWORD", "p");
        let authority = ("KAFKA_SSL_CA", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
        let secret = ("KAFKA_SECRET_ARN", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:kafka-AbCdEf");
        for (variables, listener) in [
            (vec![ARN], Listener::Plaintext),
            (vec![ARN, ("KAFKA_AUTH", "none")], Listener::Plaintext),
            (vec![ARN, authority], Listener::Tls),
            (vec![ARN, ("KAFKA_AUTH", "tls"), secret], Listener::Tls),
            (vec![ARN, ("KAFKA_AUTH", "scram"), secret], Listener::Scram),
            (vec![ARN, ("KAFKA_AUTH", "scram"), ("KAFKA_SASL_USERNAME", "u"), password], Listener::Scram),
            (vec![ARN, ("KAFKA_AUTH", "iam")], Listener::Iam),
        ] {
            assert_eq!(read(&variables).map(|source| source.access.listener()), Ok(listener), "{variables:?}");
        }
    }

    #[test]
    fn secrets_are_never_logged() {
        let password = ("KAFKA_SASL_PASSWORD", "hunter2");
        let source = read(&[BROKERS, ("KAFKA_AUTH", "scram"), ("KAFKA_SASL_USERNAME", "u"), password]);
        assert!(!format!("{source:?}").contains("hunter2"), "{source:?}");
    }
}
