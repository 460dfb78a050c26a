//! Which topics are read in what batches, and what becomes of those that fail: `template.yaml` says it, for Lambda and
//! for this machine.

mod failures;
mod resource;

use std::path::{Path, PathBuf};
use std::time::Duration;

use shared::contract::Registry;

use crate::template::TemplateError;

pub use self::failures::{FailurePolicy, OnFailure};
pub use self::resource::read;

/// Lambda's default. <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>
const BATCH_SIZE: usize = 100;
/// Lambda's default for Kafka.
const WINDOW: Duration = Duration::from_millis(500);

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
    /// What becomes of a batch that fails.
    pub on_error: FailurePolicy,
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
            on_error: FailurePolicy::default(),
        }
    }
}

/// Why the template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error(transparent)]
    Template(#[from] TemplateError),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template;

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

    pub(super) fn mappings(template: &str, topics: &[&str]) -> Result<Vec<MappingConfiguration>, String> {
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
                    on_error: FailurePolicy::default(),
                },
                MappingConfiguration {
                    topics: vec!["country".to_owned()],
                    group: "sluice-country-gone".to_owned(),
                    batch_size: 100,
                    window: Duration::from_millis(500),
                    is_self_managed: true,
                    on_error: FailurePolicy::default(),
                },
                MappingConfiguration {
                    topics: vec!["routes".to_owned()],
                    group: "sluice-routes".to_owned(),
                    batch_size: 100,
                    window: Duration::from_millis(500),
                    is_self_managed: false,
                    on_error: FailurePolicy::default(),
                },
            ])
        );
    }

    #[test]
    fn every_stream_that_ships_has_its_own_mapping_in_the_template() {
        let registry = Registry::load(None).unwrap();
        let mut topics: Vec<Vec<String>> = registry.contracts().map(|contract| vec![contract.topic.clone()]).collect();
        let mappings = read(&template::own_path()).unwrap();
        let mut mapped: Vec<Vec<String>> = mappings.iter().map(|mapping| mapping.topics.clone()).collect();
        topics.sort();
        mapped.sort();
        assert_eq!(mapped, topics);
        for mapping in mappings {
            let expected = MappingConfiguration {
                batch_size: 10_000,
                is_self_managed: mapping.is_self_managed,
                ..MappingConfiguration::of_topic(&mapping.topics[0])
            };
            assert_eq!(mapping, expected, "tried until it lands, in the topic's own group");
        }
    }

    #[test]
    fn a_wrong_property_is_named_with_what_it_should_hold() {
        for (wrong, property) in [
            ("BatchSize: 10001", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !If [A, 1, 2]", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !Ref ClusterArn", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: -1", "BatchSize should be a number from 1 to 10000"),
            ("FilterCriteria: {}", "FilterCriteria should be absent, as nothing is filtered on this machine"),
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
