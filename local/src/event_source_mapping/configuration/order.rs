//! Checks that the template's mappings deliver each partition's records in order.

use super::ConfigurationError;
use crate::template::Template;

/// The property of a mapping that selects how Lambda reads Kafka.
/// <https://docs.aws.amazon.com/lambda/latest/dg/polling-kafka-queue.html>
const CONSUMPTION_MODE: &str = "ConsumptionMode";
/// The only value of the property that keeps records in order.
const ORDERED: &str = "Stream";

/// Rejects a template in which a mapping reads its topics in `Queue` mode. In this mode, several pollers share a
/// partition, and its records arrive in any order. Once `consume` has applied a record, the partition's watermark says
/// that all earlier records have been applied, too. `consume` would therefore drop an earlier record that arrives
/// later.
///
/// # Errors
/// `ConsumptionMode` is set anywhere, under any condition, to something other than the text `Stream`.
pub(super) fn refuse_unordered(template: &Template) -> Result<(), ConfigurationError> {
    match template.written(CONSUMPTION_MODE).into_iter().find(|(_, mode)| mode.as_str() != Some(ORDERED)) {
        None => Ok(()),
        Some((property, _)) => Err(ConfigurationError::Unordered { path: template.path.clone(), property }),
    }
}

#[cfg(test)]
mod tests {
    use serde_norway::Value;

    use super::super::read;
    use crate::template::{Template, own_path};

    /// Reads the project's own template with one text replaced. Returns the number of mappings.
    fn read_with(text: &str, other: &str) -> Result<usize, String> {
        let template = std::fs::read_to_string(own_path()).map_err(|error| error.to_string())?;
        assert!(template.contains(text), "{text}");
        let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        std::fs::write(file.path(), template.replace(text, other)).map_err(|error| error.to_string())?;
        let mappings = read(file.path());
        mappings
            .map(|mappings| mappings.len())
            .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "template.yaml"))
    }

    #[test]
    fn every_mapping_of_the_template_delivers_each_partition_in_order_from_its_start() {
        let template = Template::read(&own_path()).unwrap();
        let is_mapping = |resource: &Value| resource["Type"].as_str() == Some("AWS::Lambda::EventSourceMapping");
        let mappings: Vec<&Value> = template.resources().map(|(_, r)| r).filter(|r| is_mapping(r)).collect();
        assert!(mappings.len() >= 7, "{}", mappings.len());
        assert!(template.written("ConsumptionMode").iter().all(|(_, mode)| mode.as_str() == Some("Stream")));
        // Lambda accepts no `StartingPosition` in Queue mode, so this property, too, shows that no mapping is in Queue
        // mode.
        assert!(
            mappings.iter().all(|mapping| mapping["Properties"]["StartingPosition"].as_str() == Some("TRIM_HORIZON"))
        );
    }

    #[test]
    fn a_mapping_in_queue_mode_is_refused_even_under_a_condition() {
        let template = std::fs::read_to_string(own_path()).unwrap();
        let groups: Vec<&str> = template
            .lines()
            .filter_map(|line| line.split_once("{ ConsumerGroupId: "))
            .map(|(_, group)| group.trim_end_matches(" }"))
            .collect();
        assert!(groups.len() >= 7, "{groups:?}");
        for group in groups {
            let (text, queue) = (
                format!("ConsumerGroupId: {group} }}"),
                format!("ConsumerGroupId: {group}, ConsumptionMode: Queue }}"),
            );
            let refused = read_with(&text, &queue).unwrap_err();
            assert!(
                refused.starts_with("template.yaml: Resources/") && refused.contains("Mapping/Properties/"),
                "{refused}"
            );
            assert!(refused.contains("ConsumptionMode should be Stream"), "{refused}");
        }
        // Here, the mode is set under a condition that the parameters' defaults do not meet. A deployment may set the
        // parameters to other values.
        for mode in ["Queue", "!Ref LogLevel", "!If [IsMsk, Stream, Queue]", "queue"] {
            let config = format!("!If [IsSelfManaged, {{ ConsumptionMode: {mode} }}, !Ref AWS::NoValue]");
            let refused = read_with(
                "SelfManagedKafkaEventSourceConfig: !If [IsSelfManaged, *sluice-city, !Ref AWS::NoValue]",
                &format!("SelfManagedKafkaEventSourceConfig: {config}"),
            );
            assert_eq!(
                refused,
                Err("template.yaml: Resources/CityMapping/Properties/SelfManagedKafkaEventSourceConfig/ConsumptionMode should \
                     be Stream, or absent: in Queue mode a partition's records arrive out of order, and consume would drop \
                     those that come late"
                    .to_owned()),
                "{mode}"
            );
        }
    }

    #[test]
    fn an_explicitly_ordered_mapping_is_accepted() {
        let read =
            read_with("{ ConsumerGroupId: sluice-city }", "{ ConsumerGroupId: sluice-city, ConsumptionMode: Stream }");
        assert_eq!(read, read_with("sluice-city", "sluice-city"));
    }
}
