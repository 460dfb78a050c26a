//! The gateway behind the browser: two streams whose tables reject some events, and the changes that an operator makes
//! in the database.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::support::gateway::{GatewayPlan, TestGateway, plan};
use super::support::kafka::{Record, produce, settings};

const TABLES: &str = "
    create table public.payments (
        id       text primary key,
        customer text,
        currency text constraint currency_is_known check (currency in ('EUR', 'USD')),
        amount   numeric
    );
    create table public.orders (
        number text primary key,
        state  text constraint state_is_known check (state in ('open', 'paid'))
    )";

/// A gateway with the streams `payment`, which appends, and `order`, which keeps the newest event of each order number.
pub(super) struct World(pub(super) TestGateway);

fn with_streams() -> GatewayPlan {
    let payment = json!({
        "title": "Payment",
        "description": "A customer has paid. Amounts are exact.",
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "customer", "currency", "amount"],
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "customer": {"type": "string"},
            "currency": {"type": "string", "minLength": 3, "maxLength": 3},
            "amount": {"type": "number", "exclusiveMinimum": 0}
        },
        "examples": [{"id": "p-1", "customer": "c-1", "currency": "EUR", "amount": 19.90}],
        "x-sluice": {
            "topic": "payments", "partitions": 2, "key": ["/customer"], "mode": "append", "table": "public.payments",
            "columns": {
                "id": {"from": "/id", "type": "text"}, "customer": {"from": "/customer", "type": "text"},
                "currency": {"from": "/currency", "type": "text"}, "amount": {"from": "/amount", "type": "numeric"}
            }
        }
    });
    let order = json!({
        "type": "object",
        "required": ["number"],
        "properties": {"number": {"type": "string"}},
        "x-sluice": {
            "topic": "orders", "partitions": 1, "key": ["/number"], "mode": "upsert", "table": "public.orders",
            "columns": {"number": {"from": "/number", "type": "text"}, "state": {"from": "/state", "type": "text"}}
        }
    });
    plan().contract("payment", payment).contract("order", order).migration("1000_shop", TABLES)
}

impl World {
    pub(super) async fn start() -> Self {
        Self(with_streams().start().await)
    }

    pub(super) async fn execute(&self, sql: &str) {
        self.0.database.pool.execute(sql).await.unwrap();
    }

    /// Makes the table of payments accept only these currencies.
    pub(super) async fn accept_currencies(&self, currencies: &str) {
        let check = format!("check (currency in ({currencies})) not valid");
        self.execute("alter table public.payments drop constraint currency_is_known").await;
        self.execute(&format!("alter table public.payments add constraint currency_is_known {check}")).await;
    }

    /// Sends payments in a currency, and waits for the outcome of each. Returns the receipts.
    pub(super) async fn pay(&self, prefix: &str, count: u32, currency: &str) -> Vec<Value> {
        let payment = |number| {
            let (id, customer) = (format!("{prefix}-{number}"), format!("{prefix}-customer"));
            json!({"id": id, "customer": customer, "currency": currency, "amount": 10 + number})
        };
        let batch: Vec<Value> = (1..=count).map(payment).collect();
        self.send("payment", &json!(batch)).await
    }

    /// Sends events, and waits for the outcome of each. Returns the receipts.
    pub(super) async fn send(&self, stream: &str, events: &Value) -> Vec<Value> {
        let path = format!("/events/{stream}");
        let (status, body) = self.0.post(&path, &[("prefer", "wait=20")], events.to_string()).await;
        assert!([200, 422].contains(&status), "{status} {body}");
        let receipts = body["receipts"].as_array().unwrap().clone();
        // The request stops waiting at the first rejected event, although other events may not have been applied yet.
        self.until("all events are applied", async || self.unapplied(stream, &receipts).await == 0).await;
        receipts
    }

    /// Counts the events that have not been applied yet.
    async fn unapplied(&self, stream: &str, receipts: &[Value]) -> i64 {
        const COUNT: &str = r#"
            select count(*) from jsonb_array_elements($1) r
            where not exists (
                select from sluice.watermarks w
                where w.topic = $2 and w."partition" = (r ->> 'partition')::integer
                  and w.next_offset > (r ->> 'offset')::bigint)"#;
        let count = sqlx::query_scalar(COUNT).bind(json!(receipts)).bind(self.0.topic(stream));
        count.fetch_one(&self.0.database.pool).await.unwrap()
    }

    /// Produces a payment that breaks its contract. Its long names and values are hard to lay out on a page.
    pub(super) async fn produce_what_breaks_its_contract(&self) {
        let long = "unbreakable-".repeat(30);
        let payment =
            json!({"id": 7, "customer": long, "currency": "EUR", "amount": 1, "note": "ünïcode ⚙ 漢字 ".repeat(40)});
        let headers = vec![(long.clone(), Some(long.clone().into_bytes())), ("traceparent".to_owned(), None)];
        let record = Record { headers, key: Some(long.into_bytes()), ..Record::with_value(payment.to_string()) };
        let before = self.open_letters().await;
        produce(&settings(), self.0.topic("payment"), &[record]).await;
        self.until("the payment is rejected", async || self.open_letters().await > before).await;
    }

    pub(super) async fn open_letters(&self) -> i64 {
        self.0.database.count("select count(*) from sluice.dead_letters where status = 'open'").await
    }

    /// Returns the id of the last dead letter.
    pub(super) async fn last_letter(&self) -> i64 {
        self.0.database.count("select max(id) from sluice.dead_letters").await
    }

    /// Waits until a condition holds.
    pub(super) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !condition().await {
            assert!(begun.elapsed() < Duration::from_secs(20), "not yet: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Returns a receipt as `TOPIC/PARTITION/OFFSET`.
pub(super) fn place(receipt: &Value) -> String {
    receipt["href"].as_str().unwrap().trim_start_matches("/receipts/").to_owned()
}
