//! The brokers of an Amazon MSK cluster.

use aws_sdk_kafka::Client;
use aws_sdk_kafka::config::Builder;

use super::{Aws, LookUpError, Service, region_of};

/// Which of a cluster's listeners is meant: each has a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// TLS, with or without a client's certificate.
    Tls,
    /// SASL/SCRAM over TLS.
    Scram,
    /// IAM over TLS.
    Iam,
}

impl Aws {
    /// The brokers of the cluster that `MSK_CLUSTER_ARN` names, as `KAFKA_BOOTSTRAP_SERVERS` would have them. Those
    /// within the VPC where there are any, else the public ones
    /// (<https://docs.aws.amazon.com/msk/latest/developerguide/msk-get-bootstrap-brokers.html>).
    ///
    /// # Errors
    /// MSK does not answer, refuses, or the cluster has no such listener.
    pub async fn brokers(&self, cluster_arn: &str, listener: Listener) -> Result<String, LookUpError> {
        const VARIABLE: &str = "MSK_CLUSTER_ARN";
        let config = Builder::from(self.config().await).region(region_of(cluster_arn)).build();
        let question = Client::from_conf(config).get_bootstrap_brokers().cluster_arn(cluster_arn);
        let answer = question.send().await.map_err(|error| LookUpError::of(VARIABLE, Service::Msk, &error))?;
        let (brokers, expected) = match listener {
            Listener::Plaintext => (
                answer.bootstrap_broker_string(),
                "a cluster that takes plaintext connections, as KAFKA_AUTH=none without KAFKA_SSL_CA asks for",
            ),
            Listener::Tls => (
                answer.bootstrap_broker_string_tls().or(answer.bootstrap_broker_string_public_tls()),
                "a cluster that takes TLS connections, as KAFKA_AUTH=tls or KAFKA_SSL_CA asks for",
            ),
            Listener::Scram => (
                answer.bootstrap_broker_string_sasl_scram().or(answer.bootstrap_broker_string_public_sasl_scram()),
                "a cluster with SASL/SCRAM, as KAFKA_AUTH=scram asks for",
            ),
            Listener::Iam => (
                answer.bootstrap_broker_string_sasl_iam().or(answer.bootstrap_broker_string_public_sasl_iam()),
                "a cluster with IAM access control, as KAFKA_AUTH=iam asks for",
            ),
        };
        brokers
            .filter(|brokers| !brokers.is_empty())
            .map(str::to_owned)
            .ok_or(LookUpError::Unfit { variable: VARIABLE, expected })
    }
}
