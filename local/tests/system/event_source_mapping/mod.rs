//! Tests the event source mapping against a real Kafka, with a function that records its invocations.

mod batches;
mod failures;
mod members;
mod over_http;

use std::sync::Arc;
use std::time::Duration;

use crate::support::kafka::{Record, create_topic, produce, settings, topic_name};
use crate::support::recorder::Recorder;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::Function;

const LONG_WINDOW: Duration = Duration::from_secs(300);

fn mapping(topic: &str, batch_size: usize, window: Duration) -> MappingConfiguration {
    MappingConfiguration { batch_size, window, ..MappingConfiguration::for_topic(topic) }
}

fn start(configuration: &MappingConfiguration, function: &Arc<Recorder>) -> EventSourceMapping {
    let function: Arc<dyn Function> = Arc::clone(function) as _;
    EventSourceMapping::start(configuration.clone(), &settings(), function).unwrap()
}

async fn topic_with(partitions: i32, records: &[Record]) -> String {
    let topic = topic_name("mapping");
    create_topic(&settings(), &topic, partitions).await;
    produce(&settings(), &topic, records).await;
    topic
}

fn numbered(count: usize) -> Vec<Record> {
    (0..count).map(|number| Record::with_value(number.to_string())).collect()
}
