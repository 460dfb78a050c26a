//! Numbers in strings, which land in numeric columns if the contract's pattern allows only numbers.

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::{Function, record, records};

/// Creates a function with a stream `order`, whose `total` is a `numeric` and whose `quantity` is an `integer`.
async fn function() -> (Function, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let contract = json!({
        "type": "object",
        "properties": {
            "number": {"type": "integer"},
            "total": {"anyOf": [{"$ref": "#/$defs/money"}, {"type": ["number", "null"]}]},
            "quantity": {"type": "string", "pattern": "^-?[0-9]+$"}
        },
        "$defs": {"money": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}},
        "x-sluice": {
            "topic": "orders", "partitions": 1, "key": ["/number"], "mode": "upsert", "table": "public.orders",
            "columns": {
                "number": {"from": "/number", "type": "bigint"},
                "total": {"from": "/total", "type": "numeric"},
                "quantity": {"from": "/quantity", "type": "integer"}
            }
        }
    });
    std::fs::write(folder.path().join("order.json"), contract.to_string()).expect("the contract is written");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    let table = "create table public.orders (number bigint primary key, total numeric, quantity integer)";
    std::fs::write(folder.path().join("migrations/1000_orders.sql"), table).expect("the migration is written");
    (Function::with_contracts(Some(folder.path())).await, folder)
}

#[tokio::test]
async fn a_string_and_a_number_both_land_as_the_exact_amount() {
    let (function, _folder) = function().await;
    let totals = [json!("1.50"), json!("-0012.345"), json!("123456789012345678901234567890.10"), json!(7), json!(null)];
    let orders = totals.iter().zip(0..).map(|(total, number)| json!({"number": number, "total": total}));
    let orders: Vec<Value> = orders.chain([json!({"number": 5, "quantity": "-0042"})]).collect();
    function.land(&records("orders", orders)).await;
    let rows = function.database.json("select total::text, quantity from public.orders order by number").await;
    let row = |total: Option<&str>, quantity: Option<i32>| json!({"total": total, "quantity": quantity});
    let expected = [
        row(Some("1.50"), None),
        row(Some("-12.345"), None),
        row(Some("123456789012345678901234567890.10"), None),
        row(Some("7"), None),
        row(None, None),
        row(None, Some(-42)),
    ];
    assert_eq!(rows, json!(expected));
}

#[tokio::test]
async fn an_event_with_a_string_that_is_no_number_or_exceeds_its_column_is_rejected_and_the_others_land() {
    let (function, _folder) = function().await;
    let orders = [
        json!({"number": 1, "total": "1,50"}),
        json!({"number": 2, "quantity": "2147483648"}),
        json!({"number": 3, "quantity": "2147483647"}),
        json!({"number": 4, "quantity": 4}),
    ];
    function.land(&records("orders", orders)).await;
    let rejected = "rejected: contract_violation";
    assert_eq!(function.outcomes("orders", 0..4).await, [rejected, rejected, "written", rejected]);
    let reasons = function.database.json(r#"select reason from sluice.dead_letters where "offset" = 1"#).await;
    assert_eq!(reasons, json!([{"reason": "/quantity: must be an integer of 32 bits"}]));
    function.land(&[record("orders", 4, &json!({"number": 3, "total": "2"}))]).await;
    assert_eq!(function.outcomes("orders", 4..5).await, ["written"]);
}

#[tokio::test]
async fn an_amount_that_is_too_large_is_rejected_and_the_reason_gives_the_limits_of_the_column() {
    let (function, _folder) = function().await;
    let narrow = "alter table public.orders alter total type numeric(5,2)";
    function.database.pool.execute(narrow).await.expect("the column is changed");
    let totals = ["999.99", "1000.00", "999.994"];
    function.land(&records("orders", (0..).zip(totals).map(|(n, total)| json!({"number": n, "total": total})))).await;
    assert_eq!(function.outcomes("orders", 0..3).await, ["written", "rejected: 22003", "written"]);
    let reasons = function.database.json("select reason from sluice.dead_letters").await;
    assert_eq!(reasons, json!([{"reason": "a number is too large for a column of type numeric(5,2)"}]));
    let rows = function.database.json("select total::text from public.orders where number = 2").await;
    assert_eq!(rows, json!([{"total": "999.99"}]));
}

#[tokio::test]
async fn an_integer_with_a_fraction_of_zero_lands_if_it_is_within_the_limits_of_its_column() {
    let function = Function::new().await;
    let route = |user: &str| -> Value {
        let text = format!(r#"{{"userID":{user},"timestamp":1,"coordinates":[1,2]}}"#);
        serde_json::from_str(&text).expect("the text is JSON")
    };
    let fitting = ["9223372036854775806.0", "9223372036854775807.0", "-9223372036854775808.0", "7E+3"];
    let others = ["9223372036854775808.0", "9223372036854775806.5", "-9223372036854775809.0"];
    function.land(&records("routes", fitting.into_iter().chain(others).map(route))).await;
    let outcomes = function.outcomes("routes", 0..7).await;
    assert_eq!(outcomes[..4], ["written"; 4], "{outcomes:?}");
    assert!(outcomes[4..].iter().all(|outcome| outcome.starts_with("rejected")), "{outcomes:?}");
    let rows =
        function.database.json("select user_id::text from public.routes_table order by routes_table.user_id").await;
    let expected = ["-9223372036854775808", "7000", "9223372036854775806", "9223372036854775807"];
    assert_eq!(rows, json!(expected.map(|user| json!({"user_id": user}))));
}
