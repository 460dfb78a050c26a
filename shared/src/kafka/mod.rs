//! Kafka: how it is reached, the producer, the topics.

mod producer;
pub mod topics;

pub use producer::{Acknowledged, Outgoing, Producer, RecordHeader, SEND_TIMEOUT, SendError};

use rdkafka::ClientConfig;

/// How Kafka is reached.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `KAFKA_BOOTSTRAP_SERVERS`: `host:port`, several separated by commas.
    pub bootstrap_servers: String,
}

impl KafkaSettings {
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
        config
    }
}
