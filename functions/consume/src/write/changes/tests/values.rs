//! Tests that values arrive unchanged.

use serde_json::json;

use super::*;

/// Returns values of all types. Each entry is the type, the value as wal2json writes it, and the value as PostgreSQL
/// prints it.
fn examples() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("bigint", "9007199254740993", "9007199254740993"),
        (
            "numeric",
            "123456789012345678901234567890.123456789012345678901234567890",
            "123456789012345678901234567890.123456789012345678901234567890",
        ),
        ("numeric(12,3)", "1.500", "1.500"),
        ("double precision", "1.7976931348623157e+308", "1.7976931348623157e+308"),
        ("double precision", "0.1", "0.1"),
        ("real", "1e-45", "1e-45"),
        ("boolean", "true", "true"),
        ("boolean", "false", "false"),
        ("bytea", r#""00deadff""#, r"\x00deadff"),
        ("bytea", r#""""#, r"\x"),
        ("bytea", r#""\\x0102""#, r"\x0102"),
        ("bytea[]", r#""{\"\\\\x00ff\"}""#, r#"{"\\x00ff"}"#),
        ("jsonb", r#""{\"b\": 1.10, \"a\": [null]}""#, r#"{"a": [null], "b": 1.10}"#),
        ("json", r#""{\"b\":1.10,  \"a\":2}""#, r#"{"b":1.10,  "a":2}"#),
        ("timestamp(3) with time zone", r#""2019-12-31 22:00:00.123+00""#, "2019-12-31 22:00:00.123+00"),
        ("timestamp without time zone", r#""infinity""#, "infinity"),
        ("date", r#""0044-03-15 BC""#, "0044-03-15 BC"),
        ("interval day to second(2)", r#""1 day 02:03:04.55""#, "1 day 02:03:04.55"),
        ("integer[]", r#""{1,NULL,3}""#, "{1,NULL,3}"),
        ("_int4", r#""{{1,2},{3,4}}""#, "{{1,2},{3,4}}"),
        ("character varying(3)[]", r#""{abc,\"d e\"}""#, r#"{abc,"d e"}"#),
        ("character(5)", r#""ab   ""#, "ab"),
        ("character varying(30)", r#""ab  ""#, "ab  "),
        ("char", r#""z""#, "z"),
        ("bit(3)", r#""101""#, "101"),
        ("bit varying(9)", r#""10101""#, "10101"),
        ("uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("xml", r#""<a/>""#, "<a/>"),
        ("point", r#""(1,2.5)""#, "(1,2.5)"),
        ("int4range", r#""[1,5)""#, "[1,5)"),
        ("tsvector", r#""'a':1 'b':2""#, "'a':1 'b':2"),
        ("regclass", r#""pg_class""#, "pg_class"),
        ("text", r#""\u00e9 ' \" \\ \n {}""#, "é ' \" \\ \n {}"),
        ("text", r#""""#, ""),
    ]
}

#[tokio::test]
async fn values_of_every_type_arrive_unchanged_and_identify_their_row() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        let examples = examples();
        let names: Vec<String> = (0..examples.len()).map(|n| format!("c{n}")).collect();
        let cells: Vec<Cell<'_>> = names
            .iter()
            .zip(&examples)
            .map(|(name, (ty, value, _))| (name.as_str(), *ty, serde_json::from_str(value).expect("JSON")))
            .collect();
        let nulls: Vec<Cell<'_>> = cells.iter().map(|(name, ty, _)| (*name, *ty, json!(null))).collect();
        let change = |new, old| both("t", new, old)[format].clone();
        assert_eq!(apply(&database, &[change(Some(&cells), None), change(Some(&nulls), None)]).await, 0);
        for (name, (ty, _, printed)) in names.iter().zip(&examples) {
            let query = format!("select {name}::text as v from landing.t where {name} is not null");
            assert_eq!(database.json(&query).await, json!([{ "v": printed }]), "{ty}");
        }
        let mut changed = cells.clone();
        changed[0].2 = json!(5);
        assert_eq!(apply(&database, &[change(Some(&changed), Some(&cells))]).await, 0);
        assert_eq!(apply(&database, &[change(None, Some(&changed))]).await, 0);
        assert_eq!(database.count("select count(*) from landing.t").await, 1);
    }
}

#[tokio::test]
async fn a_row_is_found_by_a_key_of_any_type() {
    let database = TestDatabase::create().await;
    for (n, (ty, value, _)) in examples().into_iter().enumerate() {
        let table = format!("t{n}");
        let key: &[Cell<'_>] = &[("k", ty, serde_json::from_str(value).expect("JSON"))];
        let row: &[Cell<'_>] = &[key[0].clone(), ("v", "integer", json!(1))];
        let updated: &[Cell<'_>] = &[key[0].clone(), ("v", "integer", json!(2))];
        let [insert, _] = both(&table, Some(row), None);
        let sets = [insert, format_1(&table, Some(updated), Some(key)), format_2(&table, Some(updated), Some(key))];
        assert_eq!(apply(&database, &sets).await, 0, "{ty}");
        assert_eq!(apply(&database, &[format_2(&table, Some(updated), Some(key))]).await, 0, "{ty}");
        assert_eq!(database.count(&format!("select v::bigint from landing.{table}")).await, 2, "{ty}");
        assert_eq!(apply(&database, &[format_1(&table, None, Some(key))]).await, 0, "{ty}");
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_refused_and_not_cut() {
    let database = TestDatabase::create().await;
    for (ty, value, code) in [
        ("varchar(3)", json!("abcd"), "22001"),
        ("character(3)", json!("abcd"), "22001"),
        ("bit(3)", json!("1"), "22026"),
        ("smallint", json!(40000), "22003"),
        ("integer", json!("x"), "22P02"),
        ("numeric(3,1)", json!(123456), "22003"),
        ("timestamp", json!("2020-13-01"), "22008"),
        ("bytea", json!("abc"), "22023"),
        ("varchar(0)", json!("abc"), "22023"),
        ("jsonb", json!("{"), "22P02"),
    ] {
        let set = format_2("t", Some(&[("a", ty, value)]), None);
        let Err(Failure::Sql(error)) = try_apply(&database, &rules(), &[set]).await else { panic!("{ty}") };
        assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some(code), "{ty}");
    }
    assert_eq!(database.count("select count(*) from pg_tables where schemaname = 'landing'").await, 0);
}

#[tokio::test]
async fn an_invalid_value_is_at_fault_even_if_postgresql_reports_a_syntax_error_or_a_missing_table() {
    let database = TestDatabase::create().await;
    for (ty, value) in [("tsquery", "a b"), ("jsonpath", "$$"), ("regclass", "nowhere"), ("regtype", "a b c")] {
        let set = format_2("t", Some(&[("a", ty, json!(value))]), None);
        let failure = try_apply(&database, &rules(), &[set]).await.expect_err(ty);
        assert!(matches!(failure, Failure::Value(_)), "{ty}: {failure:?}");
    }
}
