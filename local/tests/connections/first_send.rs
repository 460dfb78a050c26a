//! Measures the first send of a connected producer.

use std::time::{Duration, Instant};

use shared::kafka::{Outgoing, Producer};

use crate::support::kafka::{create_topic, settings, topic_name};

/// The time limit for a first send. It is shorter than the 500 ms after which librdkafka requests its producer id
/// again.
const AT_MOST: Duration = Duration::from_millis(450);
/// The number of producers. If `connect` requested the metadata only once, about every twelfth producer would request
/// its id 500 ms late, and the first send of that producer would wait for the id. Sixty producers are enough to notice
/// this.
const PRODUCERS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_send_of_a_connected_producer_does_not_wait_for_librdkafkas_second_id_request() {
    let topic = topic_name("first-send");
    create_topic(&settings(), &topic, 1).await;
    // A new cluster takes a while to assign its first producer id, so this send is not measured.
    first_send(&topic).await;
    let mut sends = Vec::new();
    for _ in 0..PRODUCERS {
        sends.push(first_send(&topic).await);
    }
    assert!(sends.iter().all(|took| *took < AT_MOST), "{sends:?}");
}

/// Connects a new producer. Returns the duration of the producer's first send.
async fn first_send(topic: &str) -> Duration {
    let producer = Producer::new(&settings()).unwrap();
    producer.connect(Duration::from_secs(10)).await.unwrap();
    let started = Instant::now();
    let record = Outgoing { topic, key: None, value: Some(b"{}"), headers: &[] };
    let answers = producer.send(&[record]).await;
    let took = started.elapsed();
    assert!(answers[0].is_ok(), "{answers:?}");
    took
}
