//! Compares contracts with their tables. Each difference is reported as one line. A table that matches its contract has
//! no differences.

use std::sync::Arc;

use serde_json::{Value, json};
use shared::contract::{Contract, Registry};
use shared::drift;
use sqlx::Executor as _;
use testing::TestDatabase;

fn contract(mode: &str, more: Value) -> Value {
    let mut contract = json!({
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {"type": "integer"}, "name": {"type": "string"}, "note": {"type": ["string", "null"]}
        },
        "x-sluice": {
            "topic": "orders", "partitions": 1, "key": ["/id"], "mode": mode, "table": "public.orders",
            "columns": {
                "id": {"from": "/id", "type": "bigint"}, "name": {"from": "/name", "type": "text"},
                "note": {"from": "/note", "type": "text"}
            }
        }
    });
    if let (Some(block), Value::Object(more)) = (contract["x-sluice"].as_object_mut(), more) {
        block.extend(more);
    }
    contract
}

/// Creates a table with this SQL, and returns the table's differences from the contract, one per line.
async fn lines(contract: &Value, sql: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("order.json"), contract.to_string()).expect("the contract is written");
    let registry = Registry::load(Some(folder.path())).expect("the contract is right");
    let database = TestDatabase::create().await;
    let mut connection = database.pool.acquire().await.expect("a connection");
    (*connection).execute(sql).await.expect(sql);
    let contracts: Vec<Arc<Contract>> = registry.contracts().cloned().collect();
    let differences = drift::compare(&mut connection, &contracts).await.expect("the catalogue answers");
    differences.iter().map(ToString::to_string).collect()
}

const FITTING: &str = "create table public.orders (id bigint primary key, name text not null, note text,
    at timestamptz not null default now(), number bigint generated always as identity)";

#[tokio::test]
async fn the_shipped_tables_fit_their_contracts() {
    let database = TestDatabase::create().await;
    let registry = Registry::load(None).expect("the contracts are right");
    let contracts: Vec<Arc<Contract>> = registry.contracts().cloned().collect();
    let mut connection = database.pool.acquire().await.expect("a connection");
    assert_eq!(drift::compare(&mut connection, &contracts).await.expect("the catalogue answers"), []);
}

#[tokio::test]
async fn a_fitting_table_has_no_difference_in_any_mode() {
    for contract in [
        contract("append", json!({})),
        contract("append", json!({"dedupe": "/id"})),
        contract("upsert", json!({})),
        contract("entity", json!({})),
        contract("upsert", json!({"key": ["/name", "/id"]})),
    ] {
        let sql = format!("{FITTING}; create unique index on public.orders (id, name)");
        assert_eq!(lines(&contract, &sql).await, Vec::<String>::new());
    }
    let partitioned = "create table public.orders (id bigint primary key, name text, note text) partition by hash (id)";
    assert_eq!(lines(&contract("upsert", json!({})), partitioned).await, Vec::<String>::new());
    let deferrable = "create table public.orders (id bigint unique deferrable, name text, note text)";
    assert_eq!(lines(&contract("entity", json!({})), deferrable).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_the_schema_does_not_require_needs_a_nullable_column_only_if_events_without_a_key_can_land() {
    let optional = |mode: &str, key: &str| {
        let mut contract = contract(mode, json!({"key": [key]}));
        contract["required"] = json!(["name"]);
        contract["properties"]["place"] = json!({"type": "object", "properties": {"code": {"type": "integer"}}});
        let columns = &mut contract["x-sluice"]["columns"];
        columns["place"] = json!({"from": "/place", "type": "jsonb"});
        columns["code"] = json!({"from": "/place/code", "type": "bigint"});
        contract
    };
    let line = |column: &str| {
        format!(
            "stream order: table public.orders, column {column}: expected a nullable column, because the contract lets \
             the value be missing or null, found not null"
        )
    };
    let by_id = "create table public.orders (id bigint primary key, name text, note text, place jsonb, code bigint)";
    assert_eq!(lines(&optional("upsert", "/id"), by_id).await, Vec::<String>::new());
    for mode in ["append", "entity"] {
        assert_eq!(lines(&optional(mode, "/id"), by_id).await, [line("id")], "{mode}");
    }
    // An event that can land has `/place/code`, and therefore also `/place`. It may lack `/id`, which is not part of
    // this key.
    let by_code = "create table public.orders (id bigint not null, name text, note text, place jsonb not null,
        code bigint primary key)";
    assert_eq!(lines(&optional("upsert", "/place/code"), by_code).await, [line("id")]);
}

#[tokio::test]
async fn each_difference_is_one_line_with_the_expected_and_the_actual_state_of_the_table() {
    let (append, dedupe) = (contract("append", json!({})), contract("append", json!({"dedupe": "/id"})));
    let (upsert, entity) = (contract("upsert", json!({})), contract("entity", json!({})));
    let elsewhere = contract("append", json!({"table": "shop.orders"}));
    let key = "expected a unique index on (id), which \"key\" relies on";
    for (contract, sql, expected) in [
        (&append, "select 1", ": expected a table, found no such table".to_owned()),
        (&elsewhere, "select 1", ": expected a schema shop, found no such schema".to_owned()),
        (
            &append,
            "create table public.orders (id bigint, name text)",
            ", column note: expected text, found no such column".to_owned(),
        ),
        (
            &append,
            "create table public.orders (id bigint, name varchar(20), note text)",
            ", column name: expected text, found character varying(20)".to_owned(),
        ),
        (
            &append,
            "create table public.orders (id bigint, name text, note text, sum numeric not null)",
            ", column sum: expected a default or a nullable column, because the contract does not fill it, \
             found not null without a default"
                .to_owned(),
        ),
        (
            &append,
            "create table public.orders (id bigint, name text, note text not null default '')",
            ", column note: expected a nullable column, because the contract lets the value be missing or null, \
             found not null"
                .to_owned(),
        ),
        (
            &append,
            "create table public.orders (id bigint generated always as identity, name text, note text)",
            ", column id: expected a column that can be written, found generated always".to_owned(),
        ),
        (
            &dedupe,
            "create table public.orders (id bigint, name text, note text); create index on public.orders (id)",
            ", column id: expected a unique index on (id), which \"dedupe\" relies on, found none".to_owned(),
        ),
        (
            &upsert,
            "create table public.orders (id bigint, name text, note text, unique (id, name))",
            format!(", column id: {key}, found none"),
        ),
        (
            &upsert,
            "create table public.orders (id bigint, name text, note text);
             create unique index on public.orders (id) where name <> ''",
            format!(", column id: {key}, found only a partial one"),
        ),
        (
            &upsert,
            "create table public.orders (id bigint, name text, note text);
             create unique index on public.orders (id, lower(name))",
            format!(", column id: {key}, found only one with expressions"),
        ),
        (
            &upsert,
            "create table public.orders (id bigint unique deferrable, name text, note text)",
            format!(", column id: {key}, found only a deferrable one, which ON CONFLICT cannot use"),
        ),
        (
            &entity,
            "create table public.orders (id bigint, name text, note text)",
            format!(", column id: {key}, found none"),
        ),
    ] {
        let table = contract["x-sluice"]["table"].as_str().unwrap_or_default();
        assert_eq!(lines(contract, sql).await, [format!("stream order: table {table}{expected}")], "{sql}");
    }
}

#[tokio::test]
async fn all_missing_privileges_on_a_table_are_reported_in_one_line() {
    let sql = format!(
        "{FITTING};
         do $$ begin create role reader_of_orders; exception when duplicate_object or unique_violation then null; end $$;
         grant select on public.orders to reader_of_orders; set role reader_of_orders"
    );
    // The stream `login` is built in, so it is compared, too.
    let expected = [
        "stream login: table sluice.login_attempts: expected the privilege to use its schema, found no privilege usage on \
         schema sluice",
        "stream order: table public.orders: expected the privileges select, insert, update, found no insert, no update",
    ];
    assert_eq!(lines(&contract("upsert", json!({})), &sql).await, expected);
}

#[tokio::test]
async fn a_stream_of_change_sets_always_needs_its_schema_and_needs_its_tables_unless_it_may_create_them() {
    let contract = |more: Value| {
        let mut block = json!({"topic": "changes", "partitions": 1, "mode": "changes", "schema": "shop"});
        if let (Some(block), Value::Object(more)) = (block.as_object_mut(), more) {
            block.extend(more);
        }
        json!({"type": "object", "x-sluice": block})
    };
    let evolving = contract(json!({"tables": ["*"], "evolve": true}));
    let fixed = contract(json!({"tables": ["a", "b"]}));
    assert_eq!(
        lines(&evolving, "select 1").await,
        ["stream order: table shop: expected a schema shop, found no such schema"]
    );
    assert_eq!(lines(&evolving, "create schema shop").await, Vec::<String>::new());
    assert_eq!(
        lines(&fixed, "create schema shop; create table shop.a ()").await,
        ["stream order: table shop.b: expected a table, found no such table"]
    );
}
