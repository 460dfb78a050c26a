//! What becomes of a batch that fails.

use std::time::Duration;

use serde_norway::Value;

use super::ConfigurationError;
use super::resource::{Resource, number, text, truth};

/// What becomes of a batch that fails; by default it is delivered again until it succeeds, as in Lambda's on-demand
/// mode. <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailurePolicy {
    /// `MaximumRetryAttempts`: how often a batch is tried again that the function refuses; none is for ever.
    pub most_retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds`: how old a record may be that the function is given; none is any age.
    pub most_age: Option<Duration>,
    /// `BisectBatchOnFunctionError`: whether the halves of a batch that the function refuses are tried one by one.
    pub bisects: bool,
    /// `FunctionResponseTypes`, with `ReportBatchItemFailures`: whether the function answers which records failed.
    pub reports_items: bool,
    /// `DestinationConfig`: where records go that are given up.
    pub destination: Option<OnFailure>,
}

/// An on-failure destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A topic of the same cluster, in the template `kafka://TOPIC`.
    Topic(String),
    /// Something in AWS, under the name that the template gives it.
    Elsewhere(String),
}

/// With an on-failure destination, infinite retries become this many.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
const MOST_RETRIES_BEFORE_DESTINATION: u32 = 10;
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
const MOST_RETRIES: u32 = 10_000;
const AGE_SECONDS: std::ops::RangeInclusive<u64> = 60..=604_800;
/// Both properties' word for no limit.
const INFINITE: i64 = -1;
/// Only with pollers of one's own: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
const NEEDS_PROVISIONED_MODE: &str = "absent where ProvisionedPollerConfig is: only provisioned mode has it";

/// The policy of a mapping that reads these topics.
pub(super) fn read(mapping: &Resource<'_>, topics: &[String]) -> Result<FailurePolicy, ConfigurationError> {
    let is_provisioned = mapping.properties.get("ProvisionedPollerConfig").is_some();
    let of_provisioned_mode = |property: &str| match mapping.properties.get(property) {
        Some(_) if !is_provisioned => Err(mapping.unlike(property, NEEDS_PROVISIONED_MODE)),
        value => Ok(value),
    };
    let destination = destination(mapping, topics, is_provisioned)?;
    let most_retries = match of_provisioned_mode("MaximumRetryAttempts")? {
        None => None,
        Some(value) => match number(value) {
            Some(INFINITE) => None,
            number => Some(
                number
                    .and_then(|retries| u32::try_from(retries).ok())
                    .filter(|retries| *retries <= MOST_RETRIES)
                    .ok_or_else(|| mapping.unlike("MaximumRetryAttempts", "a number from 0 to 10000, or -1"))?,
            ),
        },
    };
    let most_age = match of_provisioned_mode("MaximumRecordAgeInSeconds")? {
        None => None,
        Some(value) => match number(value) {
            Some(INFINITE) => None,
            number => Some(
                number
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .filter(|seconds| AGE_SECONDS.contains(seconds))
                    .map(Duration::from_secs)
                    .ok_or_else(|| mapping.unlike("MaximumRecordAgeInSeconds", "a number from 60 to 604800, or -1"))?,
            ),
        },
    };
    let bisects = match of_provisioned_mode("BisectBatchOnFunctionError")? {
        None => false,
        Some(value) => truth(value).ok_or_else(|| mapping.unlike("BisectBatchOnFunctionError", "true or false"))?,
    };
    let reports_items = match of_provisioned_mode("FunctionResponseTypes")? {
        None => false,
        Some(Value::Sequence(types)) if types.is_empty() => false,
        Some(Value::Sequence(types)) if types.iter().all(|kind| kind.as_str() == Some("ReportBatchItemFailures")) => {
            true
        }
        Some(_) => return Err(mapping.unlike("FunctionResponseTypes", "[ReportBatchItemFailures]")),
    };
    let at_most = destination.is_some().then_some(MOST_RETRIES_BEFORE_DESTINATION);
    Ok(FailurePolicy { most_retries: most_retries.or(at_most), most_age, bisects, reports_items, destination })
}

fn destination(
    mapping: &Resource<'_>,
    topics: &[String],
    is_provisioned: bool,
) -> Result<Option<OnFailure>, ConfigurationError> {
    const PROPERTY: &str = "DestinationConfig/OnFailure/Destination";
    let configured = mapping.properties.get("DestinationConfig").and_then(|config| config.get("OnFailure"));
    let Some(destination) = configured.map(|on_failure| on_failure.get("Destination").unwrap_or(&Value::Null)) else {
        return Ok(None);
    };
    let Some(name) = text(destination) else {
        // A resource of the template or a parameter: its name is known in AWS only.
        return match destination {
            Value::Tagged(tagged) => Ok(Some(OnFailure::Elsewhere(tagged.value.as_str().unwrap_or("it").to_owned()))),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Mapping(_) => Err(mapping.unlike(PROPERTY, "an ARN, or kafka:// and a topic")),
        };
    };
    match name.strip_prefix("kafka://") {
        None => Ok(Some(OnFailure::Elsewhere(name))),
        Some(_) if !is_provisioned => Err(mapping.unlike(PROPERTY, NEEDS_PROVISIONED_MODE)),
        // What fails again would come back for ever.
        Some(topic) if topics.iter().any(|source| source == topic) => {
            Err(mapping.unlike(PROPERTY, "another topic than those that the mapping reads"))
        }
        Some("") => Err(mapping.unlike(PROPERTY, "an ARN, or kafka:// and a topic")),
        Some(topic) => Ok(Some(OnFailure::Topic(topic.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::mappings;
    use super::*;

    /// The policy of a mapping with these properties.
    fn policy(properties: &[&str]) -> Result<FailurePolicy, String> {
        let properties: String = properties.iter().map(|property| format!("      {property}\n")).collect();
        let template = format!(
            "Resources:\n  M:\n    Type: AWS::Lambda::EventSourceMapping\n    Properties:\n      Topics: [city]\n{properties}"
        );
        let mapping = mappings(&template, &["city"])?.pop();
        Ok(mapping.map(|mapping| mapping.on_error).unwrap_or_default())
    }

    const PROVISIONED: &str = "ProvisionedPollerConfig: { MinimumPollers: 1 }";

    #[test]
    fn without_a_word_a_batch_is_tried_for_ever() {
        assert_eq!(policy(&[]), Ok(FailurePolicy::default()));
        let infinite = ["MaximumRetryAttempts: -1", "MaximumRecordAgeInSeconds: -1", PROVISIONED];
        assert_eq!(policy(&infinite), Ok(FailurePolicy::default()));
    }

    #[test]
    fn the_template_says_how_often_how_old_in_what_parts_and_where_to() {
        let properties = [
            PROVISIONED,
            "MaximumRetryAttempts: 3",
            "MaximumRecordAgeInSeconds: '60'",
            "BisectBatchOnFunctionError: true",
            "FunctionResponseTypes: [ReportBatchItemFailures]",
            "DestinationConfig: { OnFailure: { Destination: kafka://city-failures } }",
        ];
        assert_eq!(
            policy(&properties),
            Ok(FailurePolicy {
                most_retries: Some(3),
                most_age: Some(Duration::from_secs(60)),
                bisects: true,
                reports_items: true,
                destination: Some(OnFailure::Topic("city-failures".to_owned())),
            })
        );
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
    #[test]
    fn infinite_retries_and_a_destination_become_ten_retries() {
        for (destination, on_failure) in [
            ("kafka://failures", OnFailure::Topic("failures".to_owned())),
            ("arn:aws:sqs:a:1:q", OnFailure::Elsewhere("arn:aws:sqs:a:1:q".to_owned())),
            ("!GetAtt Queue.Arn", OnFailure::Elsewhere("Queue.Arn".to_owned())),
        ] {
            let destination = format!("DestinationConfig: {{ OnFailure: {{ Destination: {destination} }} }}");
            for retries in ["MaximumRetryAttempts: -1", "Enabled: true"] {
                let policy = policy(&[PROVISIONED, retries, &destination]).unwrap_or_default();
                assert_eq!((policy.most_retries, policy.destination), (Some(10), Some(on_failure.clone())));
            }
        }
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
    #[test]
    fn what_only_provisioned_mode_has_is_refused_without_it() {
        for (property, value) in [
            ("MaximumRetryAttempts", "3"),
            ("MaximumRecordAgeInSeconds", "60"),
            ("BisectBatchOnFunctionError", "true"),
            ("FunctionResponseTypes", "[ReportBatchItemFailures]"),
        ] {
            let refused =
                format!("template.yaml: Resources/M/Properties/{property} should be {NEEDS_PROVISIONED_MODE}");
            assert_eq!(policy(&[&format!("{property}: {value}")]), Err(refused));
        }
        let kafka = policy(&["DestinationConfig: { OnFailure: { Destination: kafka://failures } }"]);
        assert!(kafka.is_err_and(|error| error.ends_with(NEEDS_PROVISIONED_MODE)));
    }

    #[test]
    fn a_wrong_property_is_named_with_what_it_should_hold() {
        for (wrong, expected) in [
            ("MaximumRetryAttempts: 10001", "MaximumRetryAttempts should be a number from 0 to 10000, or -1"),
            ("MaximumRecordAgeInSeconds: 59", "MaximumRecordAgeInSeconds should be a number from 60 to 604800, or -1"),
            ("BisectBatchOnFunctionError: perhaps", "BisectBatchOnFunctionError should be true or false"),
            ("FunctionResponseTypes: [All]", "FunctionResponseTypes should be [ReportBatchItemFailures]"),
            (
                "DestinationConfig: { OnFailure: { Destination: kafka://city } }",
                "DestinationConfig/OnFailure/Destination should be another topic than those that the mapping reads",
            ),
            (
                "DestinationConfig: { OnFailure: {} }",
                "DestinationConfig/OnFailure/Destination should be an ARN, or kafka:// and a topic",
            ),
        ] {
            let refused = format!("template.yaml: Resources/M/Properties/{expected}");
            assert_eq!(policy(&[PROVISIONED, wrong]), Err(refused));
        }
    }
}
