//! What a function's first request waits for.

use std::time::{Duration, Instant};

use shared::kafka::{Outgoing, Producer};

use crate::support::kafka::{create_topic, settings, topic_name};

/// Shorter than librdkafka's 500 ms before it asks for its producer's id again.
const AT_MOST: Duration = Duration::from_millis(450);
/// Enough of them: one in twelve would wait.
const PRODUCERS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_send_of_a_connected_producer_does_not_wait_until_librdkafka_asks_again_for_its_id() {
    let topic = topic_name("first-send");
    create_topic(&settings(), &topic, 1).await;
    // A new cluster takes its time for the first id that it gives.
    first_send(&topic).await;
    let mut sends = Vec::new();
    for _ in 0..PRODUCERS {
        sends.push(first_send(&topic).await);
    }
    assert!(sends.iter().all(|took| *took < AT_MOST), "{sends:?}");
}

/// How long a new producer's first send takes, once it is connected.
async fn first_send(topic: &str) -> Duration {
    let producer = Producer::new(&settings()).unwrap();
    producer.connect(Duration::from_secs(10)).await.unwrap();
    let begun = Instant::now();
    let record = Outgoing { topic, key: None, value: Some(b"{}"), headers: &[] };
    let answers = producer.send(&[record]).await;
    let took = begun.elapsed();
    assert!(answers[0].is_ok(), "{answers:?}");
    took
}
