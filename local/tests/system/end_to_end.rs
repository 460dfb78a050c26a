//! Tests the path from HTTP to the table for the GeoNames data, for change sets, and for a new stream, which needs only
//! a contract and a migration.

use std::collections::BTreeMap;

use crate::support::database::TestDatabase;
use crate::support::gateway::plan;
use crate::support::geonames::GeoNames;
use crate::support::kafka::{set_back, settings};
use serde_json::{Value, json};

/// Returns the rows of the tables into which the GeoNames data lands, and the rows of five of the ledger's tables. Each
/// table's rows are one text.
async fn everything(database: &TestDatabase) -> BTreeMap<&'static str, String> {
    const TABLES: [&str; 8] = [
        "public.continents",
        "public.countries",
        "public.cities",
        "sluice.watermarks",
        "sluice.dead_letters",
        "sluice.waiting",
        "sluice.duplicates",
        "sluice.event_ids",
    ];
    let mut rows = BTreeMap::new();
    for table in TABLES {
        let select = format!("select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from {table} t");
        rows.insert(table, sqlx::query_scalar(&select).fetch_one(&database.pool).await.unwrap());
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn the_geonames_data_lands_completely_with_children_sent_first_and_a_redelivery_then_changes_nothing() {
    let mut gateway = plan().start().await;
    let geonames = GeoNames::read();
    geonames.load(&gateway.http, &gateway.url, &gateway.registry).await;
    geonames.has_landed(&gateway.database).await;

    let before = everything(&gateway.database).await;
    gateway.stop_consuming().await;
    for stream in geonames.streams() {
        let contract = gateway.registry.stream(stream).unwrap();
        set_back(&settings(), &gateway.group(stream), &contract.topic, contract.partitions).await;
    }
    gateway.consume();
    geonames.is_committed(&gateway.registry).await;
    assert!(everything(&gateway.database).await == before, "a redelivery from the start changes no table");
}

/// Returns a change set that inserts three rows, with this type for column `b`, and deletes two of these rows.
fn three_inserts_and_two_deletes(type_of_b: &str) -> Value {
    let insert = |a: i64, b: &str| {
        json!({"kind": "insert", "schema": "public", "table": "mytable", "columnnames": ["a", "b", "c"],
               "columntypes": ["INTEGER", type_of_b, "TEXT"], "columnvalues": [a, b, format!("2018-03-27 11:58:28.98841{a}")]})
    };
    let delete = |a: i64| {
        json!({"kind": "delete", "schema": "public", "table": "mytable", "oldkeys": {
            "keynames": ["a", "c"], "keytypes": ["INTEGER", "TEXT"],
            "keyvalues": [a, format!("2018-03-27 11:58:28.98841{a}")]}})
    };
    let mut change = vec![insert(1, "Backup and Restore"), insert(2, "Tuning"), insert(3, "Replication")];
    change.extend([delete(1), delete(3)]);
    json!({ "change": change })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_set_reproduces_its_source_but_changes_nothing_if_it_has_a_wrong_type() {
    let gateway = plan().start().await;
    let (status, body) = gateway
        .post("/events/changes", &[("prefer", "wait=20")], three_inserts_and_two_deletes("TEXT").to_string())
        .await;
    assert_eq!(status, 200, "{body}");
    let rows = gateway.database.json("select * from landing.mytable").await;
    assert_eq!(rows, json!([{"a": 2, "b": "Tuning", "c": "2018-03-27 11:58:28.988412"}]));

    // One change of the set has a wrong type for column `a`. In the second round, the table does not exist.
    for prepare in ["truncate landing.mytable", "drop table landing.mytable"] {
        sqlx::query(prepare).execute(&gateway.database.pool).await.unwrap();
        let mut set = three_inserts_and_two_deletes("TEXT");
        set["change"][2]["columntypes"][0] = json!("TEXT");
        let (status, body) = gateway.post("/events/changes", &[("prefer", "wait=20")], set.to_string()).await;
        assert_eq!((status, &body["receipts"][0]["status"]), (422, &json!("rejected")), "{body}");
        let rows = "select case when to_regclass('landing.mytable') is null then 0
                    else (xpath('/row/n/text()', query_to_xml('select count(*) as n from landing.mytable', true, true, '')))[1]::text::bigint end";
        assert_eq!(gateway.database.count(rows).await, 0);
    }
    let letters = gateway.database.json("select error_code from sluice.dead_letters").await;
    assert_eq!(letters, json!([{"error_code": "type_mismatch"}, {"error_code": "type_mismatch"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_and_a_migration_are_enough_for_a_new_stream_to_work_from_http_to_its_table() {
    let contract = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["number", "total"],
        "properties": {"number": {"type": "string", "minLength": 1}, "total": {"type": "number"}},
        "x-sluice": {
            "topic": "orders", "partitions": 2, "key": ["/number"], "mode": "upsert", "table": "public.orders",
            "columns": {"number": {"from": "/number", "type": "text"}, "total": {"from": "/total", "type": "numeric"}}
        }
    });
    let table = "create table public.orders (number text primary key, total numeric not null)";
    let gateway = plan().contract("order", contract).migration("1000_orders", table).start().await;
    let events =
        r#"[{"number":"a","total":1.10},{"number":"b","total":12345678901234567890.5},{"number":"a","total":2.00}]"#;
    let (status, body) = gateway.post("/events/order", &[("prefer", "wait=20")], events).await;
    assert_eq!(status, 200, "{body}");
    let rows = gateway.database.json("select number, total::text from public.orders order by number").await;
    assert_eq!(rows, json!([{"number": "a", "total": "2.00"}, {"number": "b", "total": "12345678901234567890.5"}]));
    let (status, body) = gateway.post("/events/order", &[], r#"{"number":"","total":"1"}"#).await;
    assert_eq!((status, body["errors"].as_array().map(Vec::len)), (422, Some(2)), "{body}");
    let (_, openapi) = gateway.get("/openapi.json").await;
    assert!(openapi.to_string().contains("/events/order"), "the stream is documented");
}
