//! A team's own stream needs one contract file and one migration, but no Rust code.

use serde_json::json;

use crate::support::{Function, records};

#[tokio::test]
async fn a_new_stream_needs_a_contract_and_a_migration_but_no_rust_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let contract = json!({
        "type": "object",
        "required": ["sku", "price"],
        "properties": {
            "sku": {"type": "string"}, "price": {"type": "number"}, "tags": {},
            "day": {"type": "string", "format": "date"}, "sold": {"type": "boolean"}, "stock": {"type": "integer"},
            "weight": {"type": "number"}, "shelf": {"type": "integer"}
        },
        "x-sluice": {
            "topic": "prices", "partitions": 2, "key": ["/sku"], "mode": "upsert", "table": "public.prices",
            "columns": {
                "sku": {"from": "/sku", "type": "text"}, "price": {"from": "/price", "type": "numeric"},
                "tags": {"from": "/tags", "type": "jsonb"}, "day": {"from": "/day", "type": "date"},
                "sold": {"from": "/sold", "type": "boolean"}, "stock": {"from": "/stock", "type": "integer"},
                "weight": {"from": "/weight", "type": "real"}, "shelf": {"from": "/shelf", "type": "smallint"},
                "event": {"from": "", "type": "jsonb"}
            }
        }
    });
    std::fs::write(folder.path().join("price.json"), contract.to_string()).expect("the contract is written");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    let migration =
        "create table public.prices (sku text primary key, price numeric, tags jsonb, day date, sold boolean,
                     stock integer, weight real, shelf smallint, event jsonb)";
    std::fs::write(folder.path().join("migrations/1000_prices.sql"), migration).expect("the migration is written");

    let function = Function::with_contracts(Some(folder.path())).await;
    let digits = "123456789012345678901234567890.12300";
    let exact: serde_json::Value = serde_json::from_str(digits).expect("a number");
    let summary = function
        .land(&records(
            "prices",
            [
                json!({"sku": "a", "price": 1, "tags": ["x"]}),
                json!({"sku": "b", "price": exact, "day": "2024-02-29", "sold": true, "stock": -7, "weight": 0.1, "shelf": 32767}),
                json!({"sku": "a", "price": -0.001, "tags": {"k": [null, 1.50]}}),
                json!({"sku": "c", "price": 1, "shelf": 32768}),
            ],
        ))
        .await;
    let letters = function.database.json("select \"offset\", reason from sluice.dead_letters").await;
    assert_eq!(letters, json!([{"offset": 3, "reason": "/shelf: must be an integer from -32768 to 32767"}]));
    assert_eq!((summary.written, summary.rejected), (3, 1));
    let rows = function
        .database
        .json("select sku, price::text, tags, day, sold, stock, weight, shelf, event -> 'sku' as event from public.prices order by sku")
        .await;
    assert_eq!(
        rows,
        json!([
            {"sku": "a", "price": "-0.001", "tags": {"k": [null, 1.50]}, "day": null, "sold": null, "stock": null,
             "weight": null, "shelf": null, "event": "a"},
            {"sku": "b", "price": digits, "tags": null, "day": "2024-02-29", "sold": true, "stock": -7, "weight": 0.1,
             "shelf": 32767, "event": "b"}
        ])
    );
}
