//! The template's event source mappings, property by property.

use std::path::Path;
use std::time::Duration;

use serde_norway::Value;

use crate::template::Template;

use super::failures;
use super::{BATCH_SIZE, ConfigurationError, MappingConfiguration, WINDOW};

/// Lambda takes no more. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const MOST_RECORDS: usize = 10_000;
/// Lambda waits no longer.
const LONGEST_WINDOW_SECONDS: u64 = 300;

/// The mappings that the template names.
///
/// # Errors
/// The template cannot be read, or a mapping in it is not as it should be.
pub fn read(path: &Path) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let template = Template::read(path)?;
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
pub(super) struct Resource<'a> {
    path: &'a Path,
    name: &'a str,
    pub(super) properties: &'a Value,
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
        if self.properties.get("FilterCriteria").is_some() {
            return Err(self.unlike("FilterCriteria", "absent, as nothing is filtered on this machine"));
        }
        Ok(MappingConfiguration {
            on_error: failures::read(self, &topics)?,
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

    pub(super) fn unlike(&self, property: &str, expected: &'static str) -> ConfigurationError {
        ConfigurationError::Property {
            path: self.path.to_owned(),
            resource: self.name.to_owned(),
            property: property.to_owned(),
            expected,
        }
    }
}

/// A text; none if it is known in AWS only.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// CloudFormation takes numbers as text, too.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// And truth values.
pub(super) fn truth(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}
