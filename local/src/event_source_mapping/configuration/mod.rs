//! Reads the mappings' topics and batch sizes from `template.yaml`, which configures Lambda and this machine alike.

mod for_registry;
mod order;
mod resource;

use std::path::PathBuf;
use std::time::Duration;

use crate::template::TemplateError;

pub use self::for_registry::for_registry;
pub use self::resource::read;

/// Lambda's default batch size. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const BATCH_SIZE: usize = 100;
/// Lambda's default batching window for Kafka.
const WINDOW: Duration = Duration::from_millis(500);

/// One event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingConfiguration {
    /// The topics that the mapping reads.
    pub topics: Vec<String>,
    /// The mapping's consumer group.
    pub group: String,
    /// The maximum number of records in a batch.
    pub batch_size: usize,
    /// The maximum time from a batch's first record until the batch is closed.
    pub window: Duration,
    /// Whether the events say that they come from a cluster other than Amazon MSK.
    pub is_self_managed: bool,
}

impl MappingConfiguration {
    /// Returns Lambda's defaults for a topic, with the group `sluice-<topic>`.
    pub fn for_topic(topic: &str) -> Self {
        Self {
            topics: vec![topic.to_owned()],
            group: format!("sluice-{topic}"),
            batch_size: BATCH_SIZE,
            window: WINDOW,
            is_self_managed: false,
        }
    }
}

/// Why the template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A mapping is invalid.
    #[error("{}: Resources/{resource}/Properties/{property} should be {expected}", .path.display())]
    Property {
        /// The file.
        path: PathBuf,
        /// The mapping's name.
        resource: String,
        /// The property.
        property: String,
        /// The property's expected value.
        expected: &'static str,
    },
    /// A mapping would read its topics out of order.
    #[error(
        "{}: {property} should be Stream, or absent: in Queue mode a partition's records arrive out of order, and consume \
         would drop those that come late", .path.display()
    )]
    Unordered {
        /// The file.
        path: PathBuf,
        /// The property's path in the file.
        property: String,
    },
    /// A mapping sets a property that this machine does not emulate.
    #[error(
        "{}: Resources/{resource}/Properties/{property} is not supported on this machine: remove it. Without it, {without}.",
        .path.display()
    )]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The mapping's name.
        resource: String,
        /// The property.
        property: &'static str,
        /// How the mapping behaves without the property.
        without: &'static str,
    },
}
