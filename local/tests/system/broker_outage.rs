//! Tests the event source mapping while its broker is killed and restarted, and when its topic is recreated.

use std::sync::Arc;
use std::time::Duration;

use crate::support::kafka::{Record, committed, create_topic, delete_topic, produce, settings, topic_name};
use crate::support::recorder::{PATIENCE, Recorder, first_seen, offsets};
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::event_source_mapping::function::Function;
use local::servers::{DataFolder, Kafka};
use shared::kafka::KafkaSettings;

fn mapping(topic: &str) -> MappingConfiguration {
    MappingConfiguration { window: Duration::from_millis(20), ..MappingConfiguration::for_topic(topic) }
}

fn start(topic: &str, kafka: &KafkaSettings, recorder: &Arc<Recorder>) -> EventSourceMapping {
    let function: Arc<dyn Function> = Arc::clone(recorder) as _;
    EventSourceMapping::start(mapping(topic), kafka, function).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_resumes_when_a_killed_broker_is_back_and_a_mapping_can_be_stopped_while_the_broker_is_gone() {
    let data = DataFolder::temporary().unwrap();
    let mut kafka = Kafka::start(&data).await.unwrap();
    let settings = KafkaSettings::plaintext(kafka.bootstrap_servers());
    let topic = topic_name("outage");
    create_topic(&settings, &topic, 1).await;
    let recorder = Recorder::new();
    let mapping = start(&topic, &settings, &recorder);
    produce(&settings, &topic, &[Record::with_value("before")]).await;
    recorder.has_seen(1).await;

    for round in 1..=2 {
        kafka.kill9().await;
        kafka.restart().await.unwrap();
        produce(&settings, &topic, &[Record::with_value(format!("after {round}"))]).await;
        recorder.has_seen(1 + round).await;
    }
    assert_eq!(first_seen(&[&recorder]).into_values().collect::<Vec<_>>(), [[0, 1, 2]]);

    kafka.kill9().await;
    tokio::time::timeout(PATIENCE, mapping.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_is_delivered_from_its_first_record() {
    let topic = topic_name("recreated");
    create_topic(&settings(), &topic, 1).await;
    let recorder = Recorder::new();
    let mapping = start(&topic, &settings(), &recorder);
    produce(&settings(), &topic, &[Record::with_value("a"), Record::with_value("b"), Record::with_value("c")]).await;
    recorder.has_seen(3).await;

    delete_topic(&settings(), &topic).await;
    create_again(&topic).await;
    produce(&settings(), &topic, &[Record::with_value("d")]).await;
    recorder.has_seen(4).await;
    mapping.stop().await;

    let last = recorder.log.borrow().last().map(offsets);
    assert_eq!(last, Some(vec![0]));
    assert_eq!(committed(&settings(), &format!("sluice-{topic}"), &topic, 1).await, [Some(1)]);
}

/// Creates a topic that was just deleted. Waits first, because the broker acknowledges a deletion before the topic is
/// gone.
async fn create_again(topic: &str) {
    let deleted = async {
        while !crate::support::kafka::partitions(&settings(), topic).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, deleted).await.unwrap();
    create_topic(&settings(), topic, 1).await;
}
