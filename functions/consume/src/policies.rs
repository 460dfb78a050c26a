//! The topics' clean-up policies, looked up in Kafka when a record is missing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shared::kafka::reader::{ReadError, Reader};

/// For each topic, whether it is compacted, and when Kafka was asked.
#[derive(Debug, Default)]
pub(crate) struct Policies(Mutex<HashMap<String, (bool, Instant)>>);

/// The time for which a topic's policy is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

impl Policies {
    /// Returns whether a topic is compacted, or `None` if the cluster does not allow reading the topic's settings.
    pub(crate) async fn is_compacted(&self, reader: &dyn Reader, topic: &str) -> Result<Option<bool>, ReadError> {
        let policies = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = policies().get(topic).filter(|(_, at)| at.elapsed() < REMEMBERED).map(|(policy, _)| *policy);
        if remembered.is_some() {
            return Ok(remembered);
        }
        match reader.is_compacted(topic).await {
            Ok(is_compacted) => {
                policies().insert(topic.to_owned(), (is_compacted, Instant::now()));
                Ok(Some(is_compacted))
            }
            Err(ReadError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
