//! Tests dead letters that a restored database shows as open although their replays are in Kafka: each letter is closed
//! again, and its event lands once.

use serde_json::json;
use sqlx::Executor as _;

use super::positions::{ROWS, Receipt, Sender, once_each};
use crate::support::gateway::{TestGateway, plan};

/// A gateway with one dead letter. The letter was replayed. Then the mapping was stopped, and the database was restored
/// to its state before the replay.
struct Restored {
    gateway: TestGateway,
    sender: Sender,
    /// The receipts of the event and of its replay.
    receipts: Vec<Receipt>,
    letter: i64,
}

impl Restored {
    async fn start() -> Self {
        let mut gateway = plan().start().await;
        let sender = Sender::for_gateway(&gateway);
        execute(&gateway, "alter table public.routes_table add constraint closed check (user_id <> 5)").await;
        let (_, event) = sender.send(1, "wait=20").await;
        assert_eq!(sender.status(&event).await, "rejected");
        let letter = gateway.database.count("select id from sluice.dead_letters").await;
        gateway.database.back_up().await.unwrap();

        open_table(&gateway).await;
        let (status, replay) = replay_letter(&gateway, letter, "wait=20").await;
        assert_eq!(status, 200);
        assert_eq!(sender.status(&replay).await, "written");
        gateway.stop_consuming().await;
        gateway.database.restore().await.unwrap();
        open_table(&gateway).await;
        assert_eq!(letters(&gateway).await, json!([{"status": "open", "replayed_offset": null}]));
        assert_eq!(sender.status(&replay).await, "pending");
        Self { gateway, sender, receipts: vec![event, replay], letter }
    }

    /// Asserts that the first replay has closed the letter, that the event is in its table once, and that the letter
    /// cannot be replayed again.
    async fn is_closed(&self) {
        let Self { gateway, receipts, letter, .. } = self;
        let first = &letters(gateway).await[0];
        assert_eq!(first, &json!({"status": "replayed", "replayed_offset": receipts[1].offset}));
        assert_eq!(gateway.database.json(ROWS).await, once_each([1]));
        let (_, body) = gateway.get(&receipts[0].href).await;
        assert_eq!(
            (&body["status"], &body["replayed_as"]["status"]),
            (&json!("rejected"), &json!("written")),
            "{body}"
        );
        let again = gateway.post(&format!("/dead-letters/{letter}/replay"), &[], "").await;
        assert_eq!(again.0, 409, "{}", again.1);
    }
}

async fn execute(gateway: &TestGateway, sql: &str) {
    gateway.database.pool.execute(sql).await.unwrap();
}

async fn open_table(gateway: &TestGateway) {
    execute(gateway, "alter table public.routes_table drop constraint closed").await;
}

async fn letters(gateway: &TestGateway) -> serde_json::Value {
    gateway.database.json("select status, replayed_offset from sluice.dead_letters order by id").await
}

/// Replays a letter. Returns the status and the replay's receipt.
async fn replay_letter(gateway: &TestGateway, letter: i64, prefer: &str) -> (u16, Receipt) {
    let (status, body) = gateway.post(&format!("/dead-letters/{letter}/replay"), &[("prefer", prefer)], "").await;
    let receipt = &body["receipts"][0];
    let href = receipt["href"].as_str().unwrap_or_else(|| panic!("{status} {body}")).to_owned();
    let partition = i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap();
    (status, Receipt { href, partition, offset: receipt["offset"].as_i64().unwrap() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_a_restore_reopens_is_closed_when_a_comparison_reads_its_replay() {
    let mut restored = Restored::start().await;
    restored.gateway.consume();
    restored.gateway.compare().await;

    assert_eq!(restored.sender.statuses(&restored.receipts).await, ["rejected", "written"]);
    restored.is_closed().await;
    restored.gateway.compare().await;
    restored.is_closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_of_a_reopened_dead_letter_lands_once_although_the_letter_is_immediately_replayed_again() {
    let mut restored = Restored::start().await;
    let (_, again) = replay_letter(&restored.gateway, restored.letter, "wait=0").await;
    assert!(again.offset > restored.receipts[1].offset);
    restored.receipts.push(again);
    // The mapping delivers the second replay. Before the second replay lands, `consume` reads the first replay from
    // Kafka.
    restored.gateway.consume();
    let (_, next) = restored.sender.send(2, "wait=20").await;
    restored.receipts.push(next);

    assert_eq!(restored.sender.statuses(&restored.receipts).await, ["rejected", "written", "duplicate", "written"]);
    assert_eq!(restored.gateway.database.json(ROWS).await, once_each([1, 2]));
    assert_eq!(letters(&restored.gateway).await[0]["status"], "replayed");
}
