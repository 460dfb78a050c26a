//! Tests how missing records are found: by the next batch, or by a comparison of the watermarks with Kafka. Records are
//! missing after a restore, after a consumer group was moved, or after retention removed records.

use serde_json::json;

use super::positions::{ROWS, Receipt, Sender, once_each};
use crate::support::gateway::{TestGateway, plan};
use crate::support::kafka::{delete_records, move_group, settings};

/// Moves the consumer group of `route` past the last of these events, as `kafka-consumer-groups.sh` does.
async fn move_past(gateway: &TestGateway, receipts: &[Receipt]) {
    let last = receipts.last().unwrap();
    move_group(&settings(), &gateway.group("route"), gateway.topic("route"), &[(last.partition, last.offset + 1)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_is_enough_to_land_the_records_that_a_restored_database_lacks() {
    let mut gateway = plan().start().await;
    let sender = Sender::for_gateway(&gateway);
    let mut receipts = sender.write(1..=1).await;
    gateway.database.back_up().await.unwrap();
    receipts.extend(sender.write(2..=4).await);
    gateway.stop_consuming().await;
    gateway.database.restore().await.unwrap();
    assert_eq!(sender.statuses(&receipts).await, ["written", "pending", "pending", "pending"]);

    gateway.consume();
    gateway.compare().await;

    assert_eq!(sender.statuses(&receipts).await, ["written"; 4]);
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=4));
    gateway.compare().await;
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=4), "another comparison changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_lands_every_record_if_the_database_is_restored_to_its_state_before_the_first_event() {
    let mut gateway = plan().start().await;
    let sender = Sender::for_gateway(&gateway);
    gateway.database.back_up().await.unwrap();
    let receipts = sender.write(1..=3).await;
    gateway.stop_consuming().await;
    gateway.database.restore().await.unwrap();
    assert_eq!(sender.statuses(&receipts).await, ["pending"; 3]);

    gateway.compare().await;

    assert_eq!(sender.statuses(&receipts).await, ["written"; 3]);
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_batch_after_a_group_was_moved_forward_also_lands_the_skipped_records() {
    let mut gateway = plan().without_consuming().start().await;
    let sender = Sender::for_gateway(&gateway);
    let mut receipts = Vec::new();
    for number in 1..=3 {
        receipts.push(sender.send(number, "wait=0").await.1);
    }
    move_past(&gateway, &receipts).await;
    gateway.consume();

    receipts.extend(sender.write(4..=4).await);

    assert_eq!(sender.statuses(&receipts).await, ["written"; 4]);
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_lands_the_records_that_were_skipped_when_a_group_was_moved_forward() {
    let mut gateway = plan().start().await;
    let sender = Sender::for_gateway(&gateway);
    let mut receipts = sender.write(1..=1).await;
    gateway.stop_consuming().await;
    for number in 2..=4 {
        receipts.push(sender.send(number, "wait=0").await.1);
    }
    move_past(&gateway, &receipts).await;
    gateway.consume();

    gateway.compare().await;

    assert_eq!(sender.statuses(&receipts).await, ["written"; 4]);
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_moved_back_lands_nothing_twice() {
    let mut gateway = plan().start().await;
    let sender = Sender::for_gateway(&gateway);
    let mut receipts = sender.write(1..=3).await;
    gateway.stop_consuming().await;
    move_group(&settings(), &gateway.group("route"), gateway.topic("route"), &[(receipts[0].partition, 0)]).await;
    gateway.consume();
    gateway.compare().await;

    receipts.extend(sender.write(4..=4).await);

    assert_eq!(sender.statuses(&receipts).await, ["written"; 4]);
    assert_eq!(gateway.database.json(ROWS).await, once_each(1..=4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_loses_the_records_that_retention_has_removed_and_gets_the_others() {
    for is_compared in [true, false] {
        let mut gateway = plan().start().await;
        let sender = Sender::for_gateway(&gateway);
        let mut receipts = sender.write(1..=1).await;
        gateway.database.back_up().await.unwrap();
        receipts.extend(sender.write(2..=5).await);
        gateway.stop_consuming().await;
        gateway.database.restore().await.unwrap();
        // Of the missing events, Kafka still has only the last two.
        let (partition, kept) = (receipts[3].partition, receipts[3].offset);
        delete_records(&settings(), gateway.topic("route"), partition, kept).await;
        gateway.consume();

        if is_compared {
            gateway.compare().await;
        } else {
            sender.write(6..=6).await;
        }

        assert_eq!(sender.statuses(&receipts).await, ["written", "lost", "lost", "written", "written"]);
        let numbers = [1, 4, 5].into_iter().chain((!is_compared).then_some(6));
        assert_eq!(gateway.database.json(ROWS).await, once_each(numbers));
        let gaps = r#"select topic, "partition", first_offset, last_offset, cause from sluice.gaps"#;
        let gap = json!({"topic": gateway.topic("route"), "partition": partition,
            "first_offset": receipts[1].offset, "last_offset": receipts[2].offset, "cause": "retention"});
        assert_eq!(gateway.database.json(gaps).await, json!([gap]));
    }
}
