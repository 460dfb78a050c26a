//! The brokers of an Amazon MSK cluster.

use aws_sdk_kafka::Client;
use aws_sdk_kafka::config::Builder;

use super::super::{Listener, LookUpError, Service};
use super::{Aws, region_of};

impl Aws {
    /// Returns the brokers of the cluster that `MSK_CLUSTER_ARN` names, in the form of `KAFKA_BOOTSTRAP_SERVERS`.
    /// Returns the brokers' addresses inside the VPC if there are any, and otherwise their public addresses
    /// (<https://docs.aws.amazon.com/msk/latest/developerguide/msk-get-bootstrap-brokers.html>).
    ///
    /// # Errors
    /// MSK does not answer, MSK refuses, or the cluster has no such listener.
    pub async fn brokers(&self, cluster_arn: &str, listener: Listener) -> Result<String, LookUpError> {
        const VARIABLE: &str = "MSK_CLUSTER_ARN";
        let config = Builder::from(self.config().await).region(region_of(cluster_arn)).build();
        let question = Client::from_conf(config).get_bootstrap_brokers().cluster_arn(cluster_arn);
        let answer = question.send().await.map_err(|error| LookUpError::from_sdk(VARIABLE, Service::Msk, &error))?;
        let (brokers, expected) = match listener {
            Listener::Plaintext => (
                answer.bootstrap_broker_string(),
                "a cluster with plaintext connections, because KAFKA_AUTH is none and KAFKA_SSL_CA is not set",
            ),
            Listener::Tls => (
                answer.bootstrap_broker_string_tls().or(answer.bootstrap_broker_string_public_tls()),
                "a cluster with TLS connections, because of KAFKA_AUTH=tls or KAFKA_SSL_CA",
            ),
            Listener::Scram => (
                answer.bootstrap_broker_string_sasl_scram().or(answer.bootstrap_broker_string_public_sasl_scram()),
                "a cluster with SASL/SCRAM, because KAFKA_AUTH is scram",
            ),
            Listener::Iam => (
                answer.bootstrap_broker_string_sasl_iam().or(answer.bootstrap_broker_string_public_sasl_iam()),
                "a cluster with IAM access control, because KAFKA_AUTH is iam",
            ),
        };
        brokers
            .filter(|brokers| !brokers.is_empty())
            .map(str::to_owned)
            .ok_or(LookUpError::Unfit { variable: VARIABLE, expected })
    }
}
