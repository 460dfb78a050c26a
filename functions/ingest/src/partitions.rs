//! Caches each topic's number of partitions, as the cluster last reported it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::contract::Contract;
use shared::kafka::Producer;

/// How long an answer from the cluster is cached.
const CACHED_FOR: Duration = Duration::from_secs(60);
/// How long the cached count may be used to reject a partition. This time is shorter than [`CACHED_FOR`], so that a new
/// partition is soon accepted.
const QUERY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The time limit for the cluster's answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The partition counts of the topics that were queried.
#[derive(Debug, Default)]
pub(crate) struct Partitions(Mutex<HashMap<String, PartitionCount>>);

#[derive(Debug, Clone, Copy)]
struct PartitionCount {
    count: i32,
    at: Instant,
}

impl Partitions {
    /// Returns whether the contract's topic has this partition. If the cluster does not answer, uses its last answer,
    /// or the contract's number of partitions if there was none.
    pub(crate) async fn has(&self, producer: &Producer, contract: &Contract, partition: i32) -> bool {
        let cached = self.cached(&contract.topic);
        if let Some(PartitionCount { count, at }) = cached {
            let age = at.elapsed();
            if age < QUERY_AGAIN_AFTER || (age < CACHED_FOR && partition < count) {
                return partition < count;
            }
        }
        let (producer, topic) = (producer.clone(), contract.topic.clone());
        let answered = tokio::task::spawn_blocking(move || producer.partitions(&topic, TIMEOUT)).await;
        let count = match (answered, cached) {
            (Ok(Some(count)), _) => count,
            (_, Some(PartitionCount { count, .. })) => count,
            (_, None) => contract.partitions,
        };
        self.note(&contract.topic, PartitionCount { count, at: Instant::now() });
        partition < count
    }

    fn cached(&self, topic: &str) -> Option<PartitionCount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied()
    }

    fn note(&self, topic: &str, known: PartitionCount) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), known);
    }
}
