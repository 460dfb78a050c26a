//! Which topics are read in what batches: `template.yaml` says it, for Lambda and for this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_norway::Value;
use shared::contract::Registry;

/// Lambda's default. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const BATCH_SIZE: usize = 100;
/// Lambda's default for Kafka.
const WINDOW: Duration = Duration::from_millis(500);
/// Lambda takes no more.
const MOST_RECORDS: usize = 10_000;
/// Lambda waits no longer.
const LONGEST_WINDOW_SECONDS: u64 = 300;

/// One event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingConfiguration {
    /// The topics that it reads.
    pub topics: Vec<String>,
    /// Its consumer group.
    pub group: String,
    /// How many records a batch has at most.
    pub batch_size: usize,
    /// How long after its first record a batch is closed at the latest.
    pub window: Duration,
    /// Whether the events say that they come from a cluster other than Amazon MSK.
    pub is_self_managed: bool,
}

impl MappingConfiguration {
    /// Lambda's defaults for a topic, in the group `sluice-<topic>`.
    pub fn of_topic(topic: &str) -> Self {
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
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not YAML.
    #[error("{}: {source}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_norway::Error,
    },
    /// A mapping is not as it should be.
    #[error("{}: Resources/{resource}/Properties/{property} should be {expected}", .path.display())]
    Property {
        /// The file.
        path: PathBuf,
        /// The mapping's name.
        resource: String,
        /// Its property.
        property: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The project's own `template.yaml`.
pub fn template_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")
}

/// The template's mappings, and one with Lambda's defaults for each topic of the registry that it does not name.
///
/// # Errors
/// The template cannot be read, or a mapping in it is not as it should be.
pub fn of_registry(template: &Path, registry: &Registry) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let topics: Vec<&str> = registry.contracts().map(|contract| contract.topic.as_str()).collect();
    of_topics(template, &topics)
}

fn of_topics(template: &Path, topics: &[&str]) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let mut mappings = read(template)?;
    // A topic that the registry does not have would fail every invocation.
    for mapping in &mut mappings {
        mapping.topics.retain(|topic| topics.contains(&topic.as_str()));
    }
    mappings.retain(|mapping| !mapping.topics.is_empty());
    for topic in topics {
        if !mappings.iter().any(|mapping| mapping.topics.iter().any(|named| named == topic)) {
            mappings.push(MappingConfiguration::of_topic(topic));
        }
    }
    Ok(mappings)
}

/// The mappings that the template names.
fn read(path: &Path) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
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
struct Resource<'a> {
    path: &'a Path,
    name: &'a str,
    properties: &'a Value,
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
            .filter(|seconds| *seconds <= LONGEST_WINDOW_SECONDS)
            .map(Duration::from_secs)
            .ok_or_else(|| self.unlike("MaximumBatchingWindowInSeconds", "a number from 0 to 300"))
    }

    fn text(&self, value: &'a Value) -> Option<String> {
        self.resolved(value)?.as_str().map(str::to_owned)
    }

    /// CloudFormation takes numbers as text, too.
    fn number(&self, value: &'a Value) -> Option<u64> {
        let value = self.resolved(value)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// A reference to a parameter stands for its default. What else CloudFormation computes is not known here.
    fn resolved(&self, value: &'a Value) -> Option<&'a Value> {
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

    fn unlike(&self, property: &str, expected: &'static str) -> ConfigurationError {
        ConfigurationError::Property {
            path: self.path.to_owned(),
            resource: self.name.to_owned(),
            property: property.to_owned(),
            expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  CityBatch: { Type: Number, Default: 5000 }
  ClusterArn: { Type: String }
Conditions:
  Closed: !Not [!Equals [!Ref ClusterArn, ""]]
Resources:
  ConsumeFunction:
    Type: AWS::Serverless::Function
    Properties:
      Environment: { Variables: { A: !If [Closed, !Sub "${ClusterArn}/x", !GetAtt Some.Arn] } }
  CityMapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref ConsumeFunction
      EventSourceArn: !Ref ClusterArn
      Topics: [city]
      BatchSize: !Ref CityBatch
      MaximumBatchingWindowInSeconds: 2
      StartingPosition: TRIM_HORIZON
      AmazonManagedKafkaEventSourceConfig: { ConsumerGroupId: sluice-cities }
  OtherMapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      Topics: [country, gone]
      SelfManagedEventSource: {}
  QueueMapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { EventSourceArn: !GetAtt Queue.Arn }
"#;

    fn mappings(template: &str, topics: &[&str]) -> Result<Vec<MappingConfiguration>, String> {
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), template).map_err(|error| error.to_string())?;
        of_topics(file.path(), topics)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "template.yaml"))
    }

    #[test]
    fn the_template_says_topics_batches_windows_and_groups_and_the_rest_is_lambdas_defaults() {
        let mappings = mappings(TEMPLATE, &["city", "country", "routes"]);
        assert_eq!(
            mappings,
            Ok(vec![
                MappingConfiguration {
                    topics: vec!["city".to_owned()],
                    group: "sluice-cities".to_owned(),
                    batch_size: 5_000,
                    window: Duration::from_secs(2),
                    is_self_managed: false,
                },
                MappingConfiguration {
                    topics: vec!["country".to_owned()],
                    group: "sluice-country-gone".to_owned(),
                    batch_size: 100,
                    window: Duration::from_millis(500),
                    is_self_managed: true,
                },
                MappingConfiguration {
                    topics: vec!["routes".to_owned()],
                    group: "sluice-routes".to_owned(),
                    batch_size: 100,
                    window: Duration::from_millis(500),
                    is_self_managed: false,
                },
            ])
        );
    }

    #[test]
    fn a_wrong_property_is_named_with_what_it_should_hold() {
        for (wrong, property) in [
            ("BatchSize: 10001", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !If [A, 1, 2]", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !Ref ClusterArn", "BatchSize should be a number from 1 to 10000"),
            ("MaximumBatchingWindowInSeconds: 301", "MaximumBatchingWindowInSeconds should be a number from 0 to 300"),
        ] {
            let template = format!(
                "Resources:\n  M:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties:\n      Topics: [city]\n      {wrong}\n"
            );
            assert_eq!(
                mappings(&template, &["city"]),
                Err(format!("template.yaml: Resources/M/Properties/{property}"))
            );
        }
    }
}
