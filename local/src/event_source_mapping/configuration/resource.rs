//! Reads the template's event source mappings, property by property.

use std::path::Path;
use std::time::Duration;

use serde_norway::Value;

use crate::template::Template;

use super::order;
use super::{BATCH_SIZE, ConfigurationError, MappingConfiguration, WINDOW};

/// Lambda's maximum batch size. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const MOST_RECORDS: usize = 10_000;
/// Lambda's maximum batching window.
const LONGEST_WINDOW_SECONDS: u64 = 300;

/// Properties that change which records reach the function. The text beside each says how a mapping without it behaves.
///
/// `template.yaml` sets none of them. `consume` itself writes bad records to the database as dead letters, so a bad
/// record does not make its batch fail. A failed batch is therefore always worth retrying. A retry limit would drop
/// good records while the database is down.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("BisectBatchOnFunctionError", "a failed batch is retried as a whole"),
    ("DestinationConfig", "the mapping never gives up on a batch"),
    ("FilterCriteria", "every record is delivered"),
    ("FunctionResponseTypes", "a batch succeeds or fails as a whole"),
    ("MaximumRecordAgeInSeconds", "records of any age are delivered"),
    ("MaximumRetryAttempts", "a failed batch is retried until it succeeds"),
];

/// Returns the template's mappings that read Kafka.
///
/// # Errors
/// The template cannot be read, or a mapping in it is invalid.
pub fn read(path: &Path) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let template = Template::read(path)?;
    order::refuse_unordered(&template)?;
    template
        .resources()
        .filter(|(_, resource)| is_kafka_mapping(resource))
        .map(|(name, resource)| {
            let properties = resource.get("Properties").unwrap_or(&Value::Null);
            Resource { path, name, properties }.mapping()
        })
        .collect()
}

fn is_kafka_mapping(resource: &Value) -> bool {
    let of_type = resource.get("Type").and_then(Value::as_str);
    let properties = resource.get("Properties");
    of_type == Some("AWS::Lambda::EventSourceMapping")
        && properties.is_some_and(|properties| properties.get("Topics").is_some())
}

/// One mapping of the template.
struct Resource<'a> {
    path: &'a Path,
    name: &'a str,
    properties: &'a Value,
}

impl Resource<'_> {
    fn mapping(&self) -> Result<MappingConfiguration, ConfigurationError> {
        let topics = self.topics()?;
        let is_self_managed = self.properties.get("SelfManagedEventSource").is_some();
        let group_in =
            if is_self_managed { "SelfManagedKafkaEventSourceConfig" } else { "AmazonManagedKafkaEventSourceConfig" };
        let group = match self.properties.get(group_in).and_then(|config| config.get("ConsumerGroupId")) {
            Some(group) => text(group).ok_or_else(|| {
                self.unlike(&format!("{group_in}/ConsumerGroupId"), "a text, or a parameter with a default")
            })?,
            None => format!("sluice-{}", topics.join("-")),
        };
        if let Some((property, without)) = UNSUPPORTED.into_iter().find(|(name, _)| self.properties.get(name).is_some())
        {
            let (path, resource) = (self.path.to_owned(), self.name.to_owned());
            return Err(ConfigurationError::Unsupported { path, resource, property, without });
        }
        Ok(MappingConfiguration {
            topics,
            group,
            batch_size: self.batch_size()?,
            window: self.window()?,
            is_self_managed,
        })
    }

    fn topics(&self) -> Result<Vec<String>, ConfigurationError> {
        let topics: Option<Vec<String>> = match self.properties.get("Topics") {
            Some(Value::Sequence(topics)) => topics.iter().map(text).collect(),
            _ => None,
        };
        topics
            .filter(|topics| !topics.is_empty())
            .ok_or_else(|| self.unlike("Topics", "a list of names, or of parameters with a default"))
    }

    fn batch_size(&self) -> Result<usize, ConfigurationError> {
        let Some(value) = self.properties.get("BatchSize") else {
            return Ok(BATCH_SIZE);
        };
        number(value)
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| (1..=MOST_RECORDS).contains(size))
            .ok_or_else(|| self.unlike("BatchSize", "a number from 1 to 10000"))
    }

    fn window(&self) -> Result<Duration, ConfigurationError> {
        let Some(value) = self.properties.get("MaximumBatchingWindowInSeconds") else {
            return Ok(WINDOW);
        };
        number(value)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds <= LONGEST_WINDOW_SECONDS)
            .map(Duration::from_secs)
            .ok_or_else(|| self.unlike("MaximumBatchingWindowInSeconds", "a number from 0 to 300"))
    }

    fn unlike(&self, property: &str, expected: &'static str) -> ConfigurationError {
        ConfigurationError::Property {
            path: self.path.to_owned(),
            resource: self.name.to_owned(),
            property: property.to_owned(),
            expected,
        }
    }
}

/// Returns a value's text. `None` if only AWS can evaluate the value.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Returns a value's number. CloudFormation also accepts numbers as text.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
