//! Tests replays through the whole gateway. A replay never overwrites the row of a later event that has the same key,
//! unless the replay is forced. A receipt names the last replay of its event.

use std::time::Duration;

use crate::support::gateway::{GatewayPlan, TestGateway, plan};
use crate::support::kafka::{Record, produce, settings};
use serde_json::{Value, json};
use sqlx::Executor as _;

/// PostgreSQL rejects an order while its number is in `public.blocked`.
const TABLES: &str = "
    create table public.orders (number text primary key, state text, revision bigint, pos bigint);
    create table public.blocked (number text primary key);
    create function public.refuse_blocked() returns trigger language plpgsql as $$
    begin
        if exists (select from public.blocked b where b.number = new.number) then
            raise exception 'blocked';
        end if;
        return new;
    end $$;
    create trigger refuse_blocked before insert or update on public.orders
        for each row execute function public.refuse_blocked()";

fn orders(mode: &str, version: Option<Value>) -> GatewayPlan {
    let mut contract = json!({
        "type": "object",
        "required": ["number"],
        "properties": {"number": {"type": "string"}},
        "x-sluice": {
            "topic": "orders", "partitions": 2, "key": ["/number"], "mode": mode, "table": "public.orders",
            "columns": {
                "number": {"from": "/number", "type": "text"}, "state": {"from": "/state", "type": "text"},
                "revision": {"from": "/revision", "type": "bigint"}, "pos": {"meta": "offset", "type": "bigint"}
            }
        }
    });
    if let Some(version) = version {
        contract["x-sluice"]["version"] = version;
    }
    plan().contract("order", contract).migration("1000_orders", TABLES)
}

struct Orders(TestGateway);

impl Orders {
    async fn start(plan: GatewayPlan) -> Self {
        Self(plan.start().await)
    }

    async fn block(&self, number: &str) {
        let insert = format!("insert into public.blocked values ('{number}')");
        self.0.database.pool.execute(insert.as_str()).await.unwrap();
    }

    async fn unblock(&self, number: &str) {
        let delete = format!("delete from public.blocked where number = '{number}'");
        self.0.database.pool.execute(delete.as_str()).await.unwrap();
    }

    /// Sends an order and waits for its outcome. Returns the receipt.
    async fn send(&self, event: &Value) -> Value {
        let (_, body) = self.0.post("/events/order", &[("prefer", "wait=20")], event.to_string()).await;
        body["receipts"][0].clone()
    }

    /// Sends an order that is rejected. Returns the receipt, and the id of the dead letter.
    async fn rejected(&self, event: &Value) -> (Value, i64) {
        let number = event["number"].as_str().unwrap();
        self.block(number).await;
        let receipt = self.send(event).await;
        assert_eq!(receipt["status"], "rejected", "{receipt}");
        self.unblock(number).await;
        let id = self.letter(&receipt).await;
        (receipt, id)
    }

    async fn letter(&self, receipt: &Value) -> i64 {
        sqlx::query_scalar(
            r#"select id from sluice.dead_letters where topic = $1 and "partition" = $2 and "offset" = $3"#,
        )
        .bind(receipt["topic"].as_str())
        .bind(i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap())
        .bind(receipt["offset"].as_i64())
        .fetch_one(&self.0.database.pool)
        .await
        .unwrap()
    }

    async fn replay(&self, id: i64, query: &str) -> (u16, Value) {
        self.0.post(&format!("/dead-letters/{id}/replay{query}"), &[("prefer", "wait=20")], "").await
    }

    async fn state(&self, number: &str) -> String {
        sqlx::query_scalar("select state from public.orders where number = $1")
            .bind(number)
            .fetch_one(&self.0.database.pool)
            .await
            .unwrap()
    }

    async fn look(&self, receipt: &Value) -> Value {
        self.0.get(receipt["href"].as_str().unwrap()).await.1
    }
}

fn order(number: &str, state: &str) -> Value {
    json!({"number": number, "state": state})
}

fn update(number: &str, state: &str) -> Value {
    json!({"op": "update", "number": number, "state": state})
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_forced_replay_is_accepted_after_a_later_event_with_the_same_key_if_the_contract_has_no_version() {
    for mode in ["upsert", "entity"] {
        let orders = Orders::start(orders(mode, None)).await;
        orders.send(&json!({"op": "create", "number": "a", "state": "first"})).await;
        let (receipt, id) = orders.rejected(&update("a", "old")).await;
        assert_eq!(
            orders.send(&update("b", "another key")).await["status"],
            if mode == "upsert" { "written" } else { "rejected" }
        );
        assert_eq!(orders.send(&update("a", "new")).await["status"], "written");

        let (status, body) = orders.replay(id, "").await;
        assert_eq!((status, body["type"].as_str()), (409, Some("/problems/not-replayable")), "{body}");
        assert!(body["detail"].as_str().unwrap().starts_with("A later event with the same key"), "{body}");
        assert_eq!(orders.state("a").await, "new", "{mode}");
        assert_eq!(orders.look(&receipt).await.get("replayed_as"), None);

        for refused in ["?force=perhaps", "?forse=true"] {
            assert_eq!(orders.replay(id, refused).await.0, 400, "{refused}");
        }
        let (status, body) = orders.replay(id, "?force=true").await;
        assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("written")), "{body}");
        assert_eq!(orders.state("a").await, "old", "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_lands_if_all_later_events_with_its_key_were_rejected_or_are_replays_of_earlier_events() {
    let orders = Orders::start(orders("upsert", None)).await;
    let (_, first) = orders.rejected(&order("a", "1")).await;
    let (_, second) = orders.rejected(&order("a", "2")).await;
    let (_, third) = orders.rejected(&order("a", "3")).await;
    for (id, state) in [(first, "1"), (second, "2")] {
        assert_eq!(orders.replay(id, "").await.0, 200, "{state}");
        assert_eq!(orders.state("a").await, state);
    }
    assert_eq!(orders.replay(third, "").await.0, 200);

    let (_, older) = orders.rejected(&order("b", "1")).await;
    let (_, newer) = orders.rejected(&order("b", "2")).await;
    assert_eq!(orders.replay(newer, "").await.0, 200);
    assert_eq!(orders.replay(older, "").await.0, 409);
    assert_eq!(orders.state("b").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_event_with_the_same_key_prevents_a_replay_even_if_the_key_of_its_record_differs() {
    let orders = Orders::start(orders("upsert", None)).await;
    let (receipt, id) = orders.rejected(&order("a", "old")).await;
    let partition = 1 - i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap();
    let foreign = Record { key: Some(b"foreign".to_vec()), ..Record::with_value(order("a", "new").to_string()) };
    produce(&settings(), orders.0.topic("order"), &[foreign.in_partition(partition)]).await;
    assert_eq!(orders.replay(id, "").await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_with_a_version_is_accepted_but_never_overwrites_a_row_whose_version_is_higher() {
    for (mode, version) in [
        ("upsert", json!("/revision")),
        ("entity", json!("/revision")),
        ("upsert", json!({"meta": "offset"})),
        ("entity", json!({"meta": "offset"})),
    ] {
        let orders = Orders::start(orders(mode, Some(version.clone()))).await;
        orders.send(&json!({"op": "create", "number": "a", "state": "first", "revision": 1})).await;
        let (receipt, id) =
            orders.rejected(&json!({"op": "update", "number": "a", "state": "old", "revision": 2})).await;
        orders.send(&json!({"op": "update", "number": "a", "state": "new", "revision": 3})).await;
        let (status, body) = orders.replay(id, "").await;
        assert_eq!((status, &body["receipts"][0]["status"]), (200, &json!("superseded")), "{mode} {version} {body}");
        assert_eq!(orders.state("a").await, "new", "{mode} {version}");
        let followed = orders.look(&receipt).await;
        assert_eq!(followed["replayed_as"]["status"], "superseded", "{followed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_and_the_dead_letter_both_name_the_last_of_several_replays() {
    let orders = Orders::start(orders("upsert", None)).await;
    let (first, id) = orders.rejected(&order("a", "x")).await;
    orders.block("a").await;
    let (status, body) = orders.replay(id, "").await;
    assert_eq!((status, body["type"].as_str()), (422, Some("/problems/rejected")), "{body}");
    let second = body["receipts"][0].clone();
    assert_eq!(second["status"], "rejected");
    assert_eq!(orders.look(&first).await["replayed_as"], second);
    orders.unblock("a").await;

    let (status, body) = orders.replay(orders.letter(&second).await, "").await;
    assert_eq!(status, 200, "{body}");
    let third = body["receipts"][0].clone();
    for receipt in [&first, &second] {
        let found = orders.look(receipt).await;
        assert_eq!((&found["status"], &found["replayed_as"]), (&json!("rejected"), &third), "{found}");
        let (_, letter) = orders.0.get(&format!("/dead-letters/{}", orders.letter(receipt).await)).await;
        assert_eq!((&letter["status"], &letter["replayed_as"]), (&json!("replayed"), &third), "{letter}");
    }
    let (status, body) = orders.replay(id, "").await;
    assert_eq!(status, 409, "{body}");
    let (_, list) = orders.0.get("/dead-letters?status=replayed").await;
    assert_eq!(list["items"][0]["replayed_as"], third, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_replays_the_orders_that_a_trigger_refused_but_none_that_a_later_event_replaced() {
    let orders = Orders::start(orders("upsert", None)).await;
    let execute = async |sql: &str| orders.0.database.pool.execute(sql).await.unwrap();
    execute("insert into public.blocked select 'n' || i from generate_series(1, 200) i").await;
    let batch: Vec<Value> = (1..=200).map(|i| order(&format!("n{i}"), "old")).collect();
    let (status, body) = orders.0.post("/events/order", &[], json!(batch).to_string()).await;
    assert_eq!(status, 202, "{body}");
    let open = "select count(*) from sluice.dead_letters where status = 'open'";
    until("all orders are rejected", async || orders.0.database.count(open).await == 200).await;
    execute("delete from public.blocked").await;
    assert_eq!(orders.send(&order("n7", "new")).await["status"], "written");

    let groups = orders.0.get("/dead-letters/groups?stream=order").await.1;
    assert_eq!(json!([groups["items"][0]["count"], groups["items"][1]]), json!([200, null]), "{groups}");
    let (status, run) = orders.0.post("/dead-letters/replays", &[], r#"{"filter": {"stream": "order"}}"#).await;
    assert_eq!((status, &run["count"]), (202, &json!(200)), "{run}");
    let href = run["href"].as_str().unwrap();
    until("the run is done", async || orders.0.get(href).await.1["status"] == "done").await;
    let run = orders.0.get(href).await.1;
    assert_eq!(json!([run["replayed"], run["skipped"]]), json!([199, 1]), "{run}");
    assert_eq!(run["skip_reasons"], json!({"later_event": 1}));
    let landed = "select count(*) from public.orders where state = 'old'";
    until("the other orders land", async || orders.0.database.count(landed).await == 199).await;
    assert_eq!(orders.state("n7").await, "new");
    assert_eq!(orders.0.database.count(open).await, 1);
}

/// Waits until a condition holds.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), holds).await.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_event_sent_during_a_replay_always_wins() {
    let orders = Orders::start(orders("upsert", None)).await;
    let mut statuses = Vec::new();
    for round in 0..40 {
        let number = format!("n{round}");
        let (_, id) = orders.rejected(&order(&number, "old")).await;
        let newer = order(&number, "new");
        let (sent, (status, _)) = tokio::join!(orders.send(&newer), orders.replay(id, ""));
        assert_eq!(sent["status"], "written");
        assert!([200, 409, 422].contains(&status), "{status}");
        assert_eq!(orders.state(&number).await, "new", "round {round}: {status}");
        statuses.push(status);
    }
    eprintln!("outcomes of the replays: {statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_event_wins_when_two_dead_letters_are_replayed_concurrently() {
    let orders = Orders::start(orders("upsert", None)).await;
    for round in 0..20 {
        let number = format!("n{round}");
        let (_, older) = orders.rejected(&order(&number, "older")).await;
        let (_, newer) = orders.rejected(&order(&number, "newer")).await;
        let ((first, body), (second, _)) = tokio::join!(orders.replay(older, ""), orders.replay(newer, ""));
        assert_eq!(second, 200);
        assert_eq!(orders.state(&number).await, "newer", "round {round}: {first} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_cannot_forge_the_headers_of_a_replay() {
    let orders = Orders::start(orders("upsert", Some(json!({"meta": "offset"})))).await;
    let topic = orders.0.topic("order").to_owned();
    let forged = [
        ("prefer", "wait=20".to_owned()),
        ("sluice-replay", format!("{topic}/0/999999/1")),
        ("sluice-replay-of", format!("{topic}/0/999999/1")),
    ];
    let headers: Vec<(&str, &str)> = forged.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, body) = orders.0.post("/events/order", &headers, order("a", "x").to_string()).await;
    assert_eq!(status, 200, "{body}");
    let pos: i64 =
        sqlx::query_scalar("select pos from public.orders").fetch_one(&orders.0.database.pool).await.unwrap();
    assert_eq!(Some(pos), body["receipts"][0]["offset"].as_i64());
    // `sluice-replay` is not a valid name for an attribute of a CloudEvent. A valid attribute becomes a header that
    // begins with `ce_`.
    let event = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/test"), ("ce-type", "ordered")];
    assert_eq!(orders.0.post("/events/order", &event, order("b", "x").to_string()).await.0, 202);
    let forged = [&event[..], &[("ce-sluice-replay", &forged[1].1)]].concat();
    assert_eq!(orders.0.post("/events/order", &forged, order("b", "x").to_string()).await.0, 422);
}
