//! A change set lands whole or not at all, and an invalid change set affects no other.

use serde_json::{Value, json};

use crate::own_stream::replay;
use crate::support::{Function, Record, record, records};

/// Returns a change set that inserts three rows and deletes two of them. The deletes identify their rows by columns `a`
/// and `c`. `last_type` is the type that the last delete states for column `c`.
fn three_inserts_and_two_deletes(last_type: &str) -> Value {
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
async fn three_inserts_and_two_deletes_leave_one_row_but_none_if_one_type_is_wrong() {
    for (document, outcome, rows) in [
        (
            three_inserts_and_two_deletes("TEXT"),
            "written",
            json!([{"a": 2, "b": "Backup and Restore", "c": "2018-03-27 11:58:28.988414"}]),
        ),
        (three_inserts_and_two_deletes("TIMESTAMP"), "rejected: type_mismatch", json!([])),
    ] {
        let function = Function::new().await;
        let created = "create table landing.mytable (a integer, b text, c text)";
        sqlx::raw_sql(created).execute(&function.database.pool).await.expect("the table is created");
        function.land(&records("changes", [document])).await;
        assert_eq!(function.outcomes("changes", 0..1).await, [outcome]);
        assert_eq!(function.database.json("select * from landing.mytable").await, rows);
    }
}

#[tokio::test]
async fn invalid_change_sets_become_dead_letters_and_the_change_sets_around_them_land() {
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

#[tokio::test]
async fn truncates_of_one_transaction_land_together_although_other_change_sets_are_rejected() {
    let function = Function::new().await;
    let tables = "create table landing.orders (id int primary key);
        create table landing.items (id int primary key, order_id int references landing.orders);
        create table landing.parts (item_id int references landing.items on delete restrict);
        create table landing.kept (id int primary key);
        create table public.refers (id int references landing.kept);
        insert into landing.kept values (1); insert into public.refers values (1)";
    sqlx::raw_sql(tables).execute(&function.database.pool).await.expect("the tables are created");
    let insert = |table: &str, columns: Value| {
        let columns: Vec<Value> = columns
            .as_object()
            .expect("columns")
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({"action": "I", "table": table, "columns": columns})
    };
    let truncate = |table: &str| json!({"action": "T", "schema": "public", "table": table});
    let begin = || json!({"action": "B"});
    let commit = || json!({"action": "C"});
    let sets = [
        insert("orders", json!({"id": 1})),
        insert("items", json!({"id": 1, "order_id": 1})),
        insert("orders", json!({"id": "x"})),
        insert("parts", json!({"item_id": 1})),
        begin(),
        truncate("orders"),
        truncate("items"),
        truncate("parts"),
        commit(),
        insert("items", json!({"id": 1, "order_id": 1})),
        insert("orders", json!({"id": 2})),
        begin(),
        // A row of `public.refers` refers to `kept`, so `kept` cannot be emptied. `orders` does not depend on `kept`.
        truncate("kept"),
        truncate("orders"),
        commit(),
        insert("orders", json!({"id": 3})),
    ];
    let expected = [
        "written",
        "written",
        "rejected: 22P02",
        "written",
        "written",
        "written",
        "written",
        "written",
        "written",
        "rejected: 23503",
        "written",
        "written",
        "rejected: 23503",
        "written",
        "written",
        "written",
    ];
    function.land(&records("changes", sets)).await;
    assert_eq!(function.outcomes("changes", 0..16).await, expected);
    let counts = "select (select json_agg(id) from landing.orders)::text as orders,
        (select count(*) from landing.items) as items, (select count(*) from landing.parts) as parts,
        (select count(*) from landing.kept) as kept";
    assert_eq!(function.database.json(counts).await, json!([{"orders": "[3]", "items": 0, "parts": 0, "kept": 1}]));
}

#[tokio::test]
async fn truncates_of_one_transaction_that_arrive_in_two_batches_block_nothing_and_land_when_replayed() {
    const ORDERS: [[&str; 3]; 6] = [
        ["orders", "items", "parts"],
        ["orders", "parts", "items"],
        ["items", "orders", "parts"],
        ["items", "parts", "orders"],
        ["parts", "orders", "items"],
        ["parts", "items", "orders"],
    ];
    const ROWS: &str = "insert into landing.orders values (1); insert into landing.items values (1, 1);
        insert into landing.parts values (1)";
    const COUNT: &str = "select (select count(*) from landing.orders) + (select count(*) from landing.items)
        + (select count(*) from landing.parts)";
    let (mut offset, mut rejected) = (0, 0);
    for timing in ["", "deferrable initially deferred"] {
        let function = Function::new().await;
        let tables = format!(
            "create table landing.orders (id int primary key);
             create table landing.items (id int primary key, order_id int references landing.orders {timing});
             create table landing.parts (item_id int references landing.items {timing})"
        );
        sqlx::raw_sql(&tables).execute(&function.database.pool).await.expect("the tables are created");
        for (order, first_batch) in ORDERS.iter().flat_map(|order| [(order, 1), (order, 2)]) {
            sqlx::raw_sql(ROWS).execute(&function.database.pool).await.expect("the tables are filled");
            let truncates: Vec<Record> = order
                .iter()
                .zip(offset..)
                .map(|(table, offset)| record("changes", offset, &json!({"action": "T", "table": table, "xid": 7})))
                .collect();
            offset += 3;
            let (first, second) = truncates.split_at(first_batch);
            function.land(first).await;
            function.land(second).await;

            let case = format!("{order:?}, {first_batch} in the first batch, {timing}");
            let outcomes = function.outcomes("changes", offset - 3..offset).await;
            let allowed = |outcome: &String| outcome == "written" || outcome == "rejected: 23503";
            assert!(outcomes.iter().all(allowed), "{case}: {outcomes:?}");
            // The rejected truncates are replayed, each table before the tables to which it refers.
            for table in ["parts", "items", "orders"] {
                let index = order.iter().position(|name| *name == table).expect("each table is truncated");
                if outcomes[index] != "written" {
                    function.land(&[replay(&truncates[index], &truncates[index], offset)]).await;
                    assert_eq!(function.outcomes("changes", offset..offset + 1).await, ["written"], "{case}");
                    (offset, rejected) = (offset + 1, rejected + 1);
                }
            }
            assert_eq!(function.database.count(COUNT).await, 0, "{case}");
        }
        if timing.is_empty() {
            let reasons = "select distinct reason from sluice.dead_letters order by reason";
            let reason = |constraint: &str, table: &str| {
                json!({"reason": format!("foreign key {constraint} of table landing.{table} rejects the change: other rows \
                    still refer to the row; if one statement of the source truncated several tables, replay this after \
                    the other tables are empty")})
            };
            let expected = [reason("items_order_id_fkey", "items"), reason("parts_item_id_fkey", "parts")];
            assert_eq!(function.database.json(reasons).await, json!(expected));
        }
        offset = 0;
    }
    assert!(rejected > 0, "at least one truncate is rejected because its transaction is in two batches");
}

#[tokio::test]
async fn a_landing_table_in_a_publication_blocks_no_batch() {
    let function = Function::new().await;
    let cell = |name: &str, value: Value| json!({"name": name, "type": "text", "value": value});
    let insert = json!({"action": "I", "table": "r9", "columns": [cell("id", json!("1")), cell("a", json!("x"))]});
    let key = json!([cell("id", json!("1"))]);
    let update =
        |table: &str| json!({"action": "U", "table": table, "columns": [cell("a", json!("y"))], "identity": key});
    function.land(&records("changes", [insert])).await;
    let published = "create publication everything for all tables;
        create table landing.listed (id text, a text); create publication listed for table landing.listed (id)";
    sqlx::raw_sql(published).execute(&function.database.pool).await.expect("the publications are created");
    let all = records("changes", [json!({}), update("r9"), update("listed"), json!({"action": "T", "table": "r9"})]);
    function.land(&all[1..]).await;
    assert_eq!(function.outcomes("changes", 1..4).await, ["written", "rejected: no_replica_identity", "written"]);
}
