//! The rows that a dry run shows are the rows that land.

use serde_json::{Value, json};
use shared::contract::{Registry, Unsent};

use crate::support::{Function, records};

const TYPES: [(&str, &str); 13] = [
    ("boolean", "boolean"),
    ("smallint", "integer"),
    ("integer", "integer"),
    ("bigint", "integer"),
    ("real", "number"),
    ("double precision", "number"),
    ("numeric", "number"),
    ("text", "string"),
    ("uuid", "string"),
    ("date", "string"),
    ("timestamp", "string"),
    ("timestamptz", "number"),
    ("jsonb", "object"),
];

fn contract() -> (Value, String) {
    let name = |index: usize| format!("c{index:02}");
    let types = || TYPES.iter().enumerate();
    let properties: Value = types().map(|(index, (_, ty))| (name(index), json!({"type": [ty, "null"]}))).collect();
    let columns: Value =
        types().map(|(index, (ty, _))| (name(index), json!({"from": format!("/c{index:02}"), "type": ty}))).collect();
    let contract = json!({
        "type": "object", "properties": properties,
        "x-sluice": {"topic": "all", "partitions": 1, "mode": "append", "table": "public.every_type", "columns": columns}
    });
    let columns: Vec<String> = types().map(|(index, (ty, _))| format!("{} {ty}", name(index))).collect();
    (contract, format!("create table public.every_type ({})", columns.join(", ")))
}

fn events() -> Vec<Value> {
    let text = r#"[
        {"c00": true, "c01": -32768, "c02": 7E+3, "c03": 9223372036854775807, "c04": 0.1, "c05": 0.1, "c06": 1.50,
         "c07": "a\"\\\u00e9\ud83d\ude00", "c08": "67E5504410B1426F9247BB680E5FE0C8", "c09": "2024-02-29",
         "c10": "2019-05-07 19:54:13.563", "c11": 1557258853.563, "c12": {"b": [1e3, 1.50, -0.0], "a": {"x": null}}},
        {},
        {"c00": false, "c01": 5.0, "c02": -1, "c03": -9223372036854775808, "c04": -3.4e38, "c05": 1.7976931348623157e308,
         "c06": -0.0010, "c07": "", "c08": "00000000-0000-0000-0000-000000000000", "c09": "0001-01-01",
         "c10": "9999-12-31T23:59:59.999999", "c11": 0.000001, "c12": {}},
        {"c04": 1e-45, "c05": 5e-324, "c06": 123456789012345678901234567890.12300, "c10": "0001-01-01T00:00:00",
         "c11": -1},
        {"c04": 123456789, "c05": 1e15, "c06": 10000.00, "c11": 253402300800},
        {"c04": 1e20, "c05": 123456789012345680, "c06": 1e20, "c11": -62135596801.5},
        {"c05": -0.0, "c06": 0.00, "c09": "9999-12-31", "c11": 1e12}
    ]"#;
    serde_json::from_str(text).expect("the events are JSON")
}

/// Returns a value's canonical text. PostgreSQL writes some numbers in another way, such as `1e+15`, but the canonical
/// texts are the same.
fn normal(value: &Value) -> String {
    shared::contract::canonical::text(value)
}

#[tokio::test]
async fn the_rows_that_a_dry_run_shows_are_the_rows_that_land() {
    let folder = tempfile::tempdir().expect("a folder");
    let (contract, table) = contract();
    std::fs::write(folder.path().join("every-type.json"), contract.to_string()).expect("the contract is written");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    std::fs::write(folder.path().join("migrations/1000_types.sql"), table).expect("the migration is written");
    let function = Function::with_contracts(Some(folder.path())).await;
    let registry = Registry::load(Some(folder.path())).expect("the contracts are right");
    let contract = registry.stream("every-type").expect("the stream");

    let unsent = Unsent { topic: "all", user: "ann", traceparent: None };
    let mut shown = Vec::new();
    for event in events() {
        let mut row = Vec::new();
        contract.check(event.to_string().as_bytes(), &event, None, &mut row).expect("the event is valid");
        shown.push(Value::Object(contract.landing().expect("a table").show(&row, &unsent)));
    }
    let summary = function.land(&records("all", events())).await;
    assert_eq!(summary.written, shown.len());
    // `ctid` gives the order in which the rows were inserted.
    let text: Vec<String> = sqlx::query_scalar("select row_to_json(t)::text from public.every_type t order by ctid")
        .fetch_all(&function.database.pool)
        .await
        .expect("the rows are read");
    assert_eq!(text.len(), shown.len());
    for (stored, shown) in text.iter().zip(&shown) {
        let stored: Value = serde_json::from_str(stored).expect("JSON");
        assert_eq!(normal(&stored), normal(shown));
    }
}
