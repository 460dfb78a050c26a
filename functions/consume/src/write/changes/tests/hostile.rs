//! Tests names and types that are meant to do harm, or that only look harmful.

use serde_json::json;

use super::*;

#[tokio::test]
async fn any_name_that_postgresql_takes_is_written_as_it_is() {
    let database = TestDatabase::create().await;
    let long = "é".repeat(31) + "x";
    let names = [
        "Odd \"t",
        "a b",
        "SELECT",
        "Ünïcode",
        "x.y",
        "'; drop table landing.t; --",
        "$1",
        "\\",
        "t",
        "x",
        "v",
        "%I",
        &long,
    ];
    for table in names {
        let columns: Vec<Cell<'_>> = names.iter().map(|name| (*name, "integer", json!(1))).collect();
        let changed: Vec<Cell<'_>> = names.iter().map(|name| (*name, "integer", json!(2))).collect();
        let key = &columns[..1];
        let sets = [
            format_1(table, Some(&columns), None),
            format_2(table, Some(&columns), None),
            format_1(table, None, Some(key)),
            format_2(table, Some(&changed), Some(key)),
        ];
        assert_eq!(apply(&database, &sets).await, 0, "{table}");
        let quoted = shared::contract::quoted(table);
        assert_eq!(database.count(&format!("select {quoted}::bigint from landing.{quoted}")).await, 2, "{table}");
    }
    assert_eq!(
        database.count("select count(*) from pg_tables where schemaname = 'landing'").await,
        i64::try_from(names.len()).expect("few")
    );
}

#[tokio::test]
async fn an_unknown_type_is_refused_before_postgresql_sees_it() {
    let database = TestDatabase::create().await;
    sql(&database, "create type landing.row_type as (a int)").await;
    for ty in [
        "integer; drop schema landing cascade; --",
        "integer) ; select pg_sleep(10); --",
        "int default 1",
        "int4(3)",
        "text collate \"C\"",
        "serial",
        "nothing",
        "anyelement",
        "record",
        "trigger",
        "unknown",
        "void",
        "row_type",
        "landing.row_type[]",
        "int(",
        "numeric(1,2,3)",
        "\"interval\"('day')",
        "\"varchar\"(30)",
        "mood('a')",
        "\"",
        "setof int",
        "pg_class",
    ] {
        let set = format_2("t", Some(&[("a", ty, json!("x"))]), None);
        let applied = try_apply(&database, &rules(), &[set]).await.expect(ty);
        assert_eq!(applied.rejected.len(), 1, "{ty}");
        assert_eq!(applied.rejected[0].1.code, "unknown_type", "{ty}");
    }
    assert_eq!(database.count("select count(*) from pg_tables where schemaname = 'landing'").await, 0);
}

#[tokio::test]
async fn views_and_sequences_are_not_written() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create view landing.v as select 1 as a; create sequence landing.s; create type landing.e as enum ('a');
         create materialized view landing.m as select 1 as a; create table landing.t (a int);
         create index i on landing.t (a);",
    )
    .await;
    let insert = |table: &str| format_2(table, Some(&[("a", "integer", json!(1))]), None);
    for table in ["v", "s", "e", "m", "i"] {
        let applied = try_apply(&database, &rules(), &[insert(table), insert("t")]).await.expect(table);
        assert_eq!(applied.rejected[0].1.code, "not_a_table", "{table}");
    }
    // A table may have the name of an array type.
    apply(&database, &[insert("_e"), insert("_t")]).await;
}

#[tokio::test]
async fn a_set_with_many_columns_is_applied_and_a_set_that_would_give_a_table_too_many_columns_fails() {
    let database = TestDatabase::create().await;
    let names: Vec<String> = (0..1_700).map(|n| format!("c{n}")).collect();
    let cells: Vec<Cell<'_>> = names.iter().map(|name| (name.as_str(), "smallint", json!(1))).collect();
    let (some, rest) = (&cells[..1_590], &cells[1_590..]);
    assert_eq!(apply(&database, &[format_1("t", Some(some), None), format_2("t", Some(some), Some(some))]).await, 0);
    let failure = try_apply(&database, &rules(), &[format_1("t", Some(rest), None)]).await.expect_err("too many");
    let Failure::Sql(sqlx::Error::Database(error)) = failure else { panic!("{failure:?}") };
    assert_eq!(error.code().as_deref(), Some("54011"));
}
