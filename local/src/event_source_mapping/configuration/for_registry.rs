//! Builds the mappings that read every topic of a registry.

use std::path::Path;

use shared::contract::Registry;

use super::resource::read;
use super::{ConfigurationError, MappingConfiguration};

/// Returns the template's mappings of the registry's topics. A topic without a mapping in the template gets a mapping
/// with Lambda's defaults.
///
/// # Errors
/// The template cannot be read, or a mapping in it is invalid.
pub fn for_registry(template: &Path, registry: &Registry) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let topics: Vec<&str> = registry.contracts().map(|contract| contract.topic.as_str()).collect();
    for_topics(template, &topics)
}

fn for_topics(template: &Path, topics: &[&str]) -> Result<Vec<MappingConfiguration>, ConfigurationError> {
    let mut mappings = read(template)?;
    // Skips topics that the registry does not contain, because every invocation with their records would fail.
    for mapping in &mut mappings {
        mapping.topics.retain(|topic| topics.contains(&topic.as_str()));
    }
    mappings.retain(|mapping| !mapping.topics.is_empty());
    for topic in topics {
        if !mappings.iter().any(|mapping| mapping.topics.iter().any(|named| named == topic)) {
            mappings.push(MappingConfiguration::for_topic(topic));
        }
    }
    Ok(mappings)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn mappings(template: &str, topics: &[&str]) -> Result<Vec<MappingConfiguration>, String> {
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), template).map_err(|error| error.to_string())?;
        for_topics(file.path(), topics)
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "template.yaml"))
    }

    #[test]
    fn lambdas_defaults_fill_in_what_the_template_does_not_configure() {
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
    fn every_built_in_stream_has_its_own_mapping_in_the_template() {
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
                ..MappingConfiguration::for_topic(&mapping.topics[0])
            };
            assert_eq!(mapping, expected, "only the batch size differs from Lambda's defaults");
        }
    }

    #[test]
    fn the_error_names_an_invalid_property_and_its_expected_value() {
        for (wrong, property) in [
            ("BatchSize: 10001", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !If [A, 1, 2]", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: !Ref ClusterArn", "BatchSize should be a number from 1 to 10000"),
            ("BatchSize: -1", "BatchSize should be a number from 1 to 10000"),
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

    #[test]
    fn a_property_that_would_change_delivery_is_refused_and_the_error_names_it() {
        for (set, property, instead) in [
            ("FilterCriteria: {}", "FilterCriteria", "every record is delivered"),
            ("MaximumRetryAttempts: 3", "MaximumRetryAttempts", "a failed batch is retried until it succeeds"),
            ("MaximumRecordAgeInSeconds: 60", "MaximumRecordAgeInSeconds", "records of any age are delivered"),
            ("BisectBatchOnFunctionError: true", "BisectBatchOnFunctionError", "a failed batch is retried as a whole"),
            (
                "FunctionResponseTypes: [ReportBatchItemFailures]",
                "FunctionResponseTypes",
                "a batch succeeds or fails as a whole",
            ),
            (
                "DestinationConfig: { OnFailure: { Destination: kafka://failures } }",
                "DestinationConfig",
                "the mapping never gives up on a batch",
            ),
        ] {
            let template = format!(
                "Resources:\n  M:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties:\n      Topics: [city]\n      {set}\n"
            );
            assert_eq!(
                mappings(&template, &["city"]),
                Err(format!(
                    "template.yaml: Resources/M/Properties/{property} is not supported on this machine: remove it. \
                     Without it, {instead}."
                ))
            );
        }
    }
}
