//! Change sets: each lands whole or not at all, and a wrong one harms no other.

use serde_json::{Value, json};

use crate::support::{Function, records};

/// The example of a gatekeeper: three rows come, two go by part of their values. `last_type` is the last key's type.
fn gatekeeper(last_type: &str) -> Value {
    let insert = |a: i32| {
        json!({"kind": "insert", "schema": "public", "table": "mytable", "columnnames": ["a", "b", "c"],
               "columntypes": ["INTEGER", "TEXT", "TEXT"],
               "columnvalues": [a, "Backup and Restore", "2018-03-27 11:58:28.988414"]})
    };
    let delete = |a: i32, ty: &str| {
        json!({"kind": "delete", "schema": "public", "table": "mytable", "oldkeys": {"keynames": ["a", "c"],
               "keytypes": ["INTEGER", ty], "keyvalues": [a, "2018-03-27 11:58:28.988414"]}})
    };
    json!({"change": [insert(1), insert(2), insert(3), delete(1, "TEXT"), delete(3, last_type)]})
}

#[tokio::test]
async fn the_gatekeepers_document_leaves_one_row_and_with_one_wrong_type_none() {
    for (document, outcome, rows) in [
        (
            gatekeeper("TEXT"),
            "written",
            json!([{"a": 2, "b": "Backup and Restore", "c": "2018-03-27 11:58:28.988414"}]),
        ),
        (gatekeeper("TIMESTAMP"), "rejected: type_mismatch", json!([])),
    ] {
        let function = Function::new().await;
        let created = "create table landing.mytable (a integer, b text, c text)";
        sqlx::raw_sql(created).execute(&function.database.pool).await.expect("created");
        function.land(&records("changes", [document])).await;
        assert_eq!(function.outcomes("changes", 0..1).await, [outcome]);
        assert_eq!(function.database.json("select * from landing.mytable").await, rows);
    }
}

#[tokio::test]
async fn wrong_sets_are_dead_letters_and_those_around_them_land() {
    let function = Function::new().await;
    let insert = |table: &str, ty: &str, value: Value| json!({"action": "I", "table": table, "columns": [{"name": "a", "type": ty, "value": value}]});
    let other_schema = json!({"action": "T", "schema": "sluice", "table": "watermarks"});
    let summary = function
        .land(&records(
            "changes",
            [
                insert("t", "integer", json!(1)),
                insert("t", "integer", json!("x")),
                insert("t", "text", json!(2)),
                other_schema,
                insert("t\"; drop table t; --", "integer", json!(1)),
                insert("q", "tsquery", json!("not a query")),
                insert("t", "integer", json!(99_999_999_999_i64)),
                insert("q", "tsquery", json!("'a' & 'b'")),
                insert("t", "integer", json!(3)),
                json!({"action": "D", "table": "t", "identity": [{"name": "a", "type": "int", "value": 4}]}),
            ],
        ))
        .await;
    assert_eq!(
        function.outcomes("changes", 0..10).await,
        [
            "written",
            "rejected: 22P02",
            "rejected: type_mismatch",
            "rejected: schema_not_allowed",
            "written",
            "rejected: 42601",
            "rejected: 22003",
            "written",
            "written",
            "written",
        ]
    );
    assert_eq!((summary.rejected, summary.skipped_rows), (5, 1));
    assert_eq!(function.database.json("select a from landing.t order by a").await, json!([{"a": 1}, {"a": 3}]));
    assert_eq!(function.database.count("select count(*) from landing.q").await, 1);
}
