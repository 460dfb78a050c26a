//! How many partitions a topic has, as the cluster says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::contract::Contract;
use shared::kafka::Producer;

/// How long an answer counts, and how long at least before the cluster is asked again about a partition that a
/// topic did not have.
const FRESH: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long the cluster has to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of topics.
#[derive(Debug, Default)]
pub(crate) struct Partitions(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    count: i32,
    at: Instant,
}

impl Partitions {
    /// Whether the contract's topic has this partition. While the cluster does not answer, what it said last counts,
    /// and before that the contract's number.
    pub(crate) async fn has(&self, producer: &Producer, contract: &Contract, partition: i32) -> bool {
        let known = self.known(&contract.topic);
        if let Some(Known { count, at }) = known {
            let age = at.elapsed();
            if age < ASK_AGAIN || (age < FRESH && partition < count) {
                return partition < count;
            }
        }
        let (producer, topic) = (producer.clone(), contract.topic.clone());
        let answered = tokio::task::spawn_blocking(move || producer.partitions(&topic, PATIENCE)).await;
        let count = match (answered, known) {
            (Ok(Some(count)), _) => count,
            (_, Some(Known { count, .. })) => count,
            (_, None) => contract.partitions,
        };
        self.note(&contract.topic, Known { count, at: Instant::now() });
        partition < count
    }

    fn known(&self, topic: &str) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    fn note(&self, topic: &str, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), known);
    }
}
