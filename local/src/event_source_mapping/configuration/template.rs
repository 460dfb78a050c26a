//! The template's event source mappings, property by property.

use std::path::Path;
use std::time::Duration;

use serde_norway::Value;

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
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigurationError::Unreadable { path: path.to_owned(), source })?;
    // `Value` keeps CloudFormation's tags (!Ref, !Sub, !If …) as they are.
    let template: Value =
        serde_norway::from_str(&text).map_err(|source| ConfigurationError::Yaml { path: path.to_owned(), source })?;
    let Some(Value::Mapping(resources)) = template.get("Resources") else {
        return Ok(Vec::new());
    };
    resources
        .iter()
        .filter_map(|(name, resource)| Some((name.as_str()?, resource)))
        .filter(|(_, resource)| is_kafka_mapping(resource))
        .map(|(name, resource)| {
            Resource {
                path,
                name,
                properties: resource.get("Properties").unwrap_or(&Value::Null),
                parameters: template.get("Parameters").unwrap_or(&Value::Null),
            }
            .mapping()
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
    parameters: &'a Value,
}

impl<'a> Resource<'a> {
    fn mapping(&self) -> Result<MappingConfiguration, ConfigurationError> {
        let topics = self.topics()?;
        let is_self_managed = self.properties.get("SelfManagedEventSource").is_some();
        let group_in =
            if is_self_managed { "SelfManagedKafkaEventSourceConfig" } else { "AmazonManagedKafkaEventSourceConfig" };
        let group = match self.properties.get(group_in).and_then(|config| config.get("ConsumerGroupId")) {
            Some(group) => self.text(group).ok_or_else(|| {
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
            Some(Value::Sequence(topics)) => topics.iter().map(|topic| self.text(topic)).collect(),
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
        self.number(value)
            .and_then(|size| usize::try_from(size).ok())
            .filter(|size| (1..=MOST_RECORDS).contains(size))
            .ok_or_else(|| self.unlike("BatchSize", "a number from 1 to 10000"))
    }

    fn window(&self) -> Result<Duration, ConfigurationError> {
        let Some(value) = self.properties.get("MaximumBatchingWindowInSeconds") else {
            return Ok(WINDOW);
        };
        self.number(value)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds <= LONGEST_WINDOW_SECONDS)
            .map(Duration::from_secs)
            .ok_or_else(|| self.unlike("MaximumBatchingWindowInSeconds", "a number from 0 to 300"))
    }

    pub(super) fn text(&self, value: &'a Value) -> Option<String> {
        self.resolved(value)?.as_str().map(str::to_owned)
    }

    /// CloudFormation takes numbers as text, too.
    pub(super) fn number(&self, value: &'a Value) -> Option<i64> {
        let value = self.resolved(value)?;
        value.as_i64().or_else(|| value.as_str()?.parse().ok())
    }

    /// And truth values.
    pub(super) fn truth(&self, value: &'a Value) -> Option<bool> {
        let value = self.resolved(value)?;
        value.as_bool().or_else(|| value.as_str()?.parse().ok())
    }

    /// A reference to a parameter stands for its default. What else CloudFormation computes is not known here.
    pub(super) fn resolved(&self, value: &'a Value) -> Option<&'a Value> {
        match value {
            Value::Tagged(tagged) if tagged.tag == "Ref" => self.parameters.get(tagged.value.as_str()?)?.get("Default"),
            Value::Tagged(_) => None,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Mapping(_) => Some(value),
        }
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
