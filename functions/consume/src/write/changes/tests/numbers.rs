//! Tests whole numbers in all notations.

use serde_json::json;

use super::*;

fn number(text: &str) -> Value {
    shared::contract::json::parse(text.as_bytes()).expect("a number")
}

#[tokio::test]
async fn an_integer_lands_no_matter_how_it_is_written() {
    for (ty, text, landed) in [
        ("bigint", "7E+3", "7000"),
        ("integer", "5.0", "5"),
        ("integer", "-0.0", "0"),
        ("smallint", "1e2", "100"),
        ("bigint", "9.223372036854775807E18", "9223372036854775807"),
        ("bigint", "-9223372036854775808.0", "-9223372036854775808"),
        ("oid", "4.294967295e9", "4294967295"),
        ("numeric(10,0)", "7E+3", "7000"),
        ("numeric", "7.50E+1", "75.0"),
        ("double precision", "7E+3", "7000"),
        ("text", "7E+3", "7E+3"),
    ] {
        for format in 0..2 {
            let database = TestDatabase::create().await;
            let [insert, update, delete] =
                [(Some(number("1")), None), (Some(number(text)), Some(number("1.0"))), (None, Some(number(text)))].map(
                    |(new, old)| {
                        let cell = |value: Value| [("a", ty, value)];
                        both(
                            "t",
                            new.map(cell).as_ref().map(<[_; 1]>::as_slice),
                            old.map(cell).as_ref().map(<[_; 1]>::as_slice),
                        )[format]
                            .clone()
                    },
                );
            let update = if ty == "text" { insert.clone() } else { update };
            assert_eq!(apply(&database, &[insert, update]).await, 0, "{ty} {text}");
            if ty != "text" {
                assert_eq!(database.json("select a::text from landing.t").await, json!([{"a": landed}]), "{ty} {text}");
                assert_eq!(apply(&database, &[delete]).await, 0, "{ty} {text}");
            }
        }
    }
}

#[tokio::test]
async fn integer_columns_and_domain_columns_of_an_existing_table_take_numbers_in_any_notation() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create domain landing.positive as int check (value > 0); create domain landing.small as landing.positive;
         create table landing.t (id landing.small primary key, a int, many int[])",
    )
    .await;
    let row = |id: &str, a: &str| [("id", number(id)), ("a", number(a)), ("many", json!("{1,2}"))];
    let change = |row: Option<[(&str, Value); 3]>, id: Option<&str>| {
        let columns = row.map(|row| row.map(|(name, value)| json!({"name": name, "value": value})));
        let identity = id.map(|id| [json!({"name": "id", "value": number(id)})]);
        let action = match (&columns, &identity) {
            (Some(_), None) => "I",
            (Some(_), Some(_)) => "U",
            (None, _) => "D",
        };
        json!({"action": action, "table": "t", "columns": columns, "identity": identity})
    };
    // Different notations of one number are the same key, even within one statement.
    let sets = [
        change(Some(row("5.0", "1")), None),
        change(Some(row("50e-1", "2.0")), Some("5")),
        change(Some(row("5", "3")), Some("0.5e1")),
        change(Some(row("7E+3", "4")), Some("5.0")),
        change(Some(row("7000", "5E0")), Some("7000")),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.json("select id, a from landing.t").await, json!([{"id": 7000, "a": 5}]));
    assert_eq!(apply(&database, &[change(None, Some("7.000E3"))]).await, 0);
}

#[tokio::test]
async fn a_fraction_or_a_number_out_of_range_is_a_fault_of_the_set() {
    let database = TestDatabase::create().await;
    sql(&database, "create table landing.t (small smallint, id bigint primary key)").await;
    let change = |format: usize, column: &'static str, value: &str| {
        let cell = [(column, if column == "id" { "bigint" } else { "smallint" }, number(value))];
        [both("t", Some(&cell), None)[format].clone(), both("t", None, Some(&cell))[format].clone()]
    };
    for format in 0..2 {
        for (column, value, code, reason) in [
            ("id", "5.5", "22P02", "is not a whole number"),
            ("id", "1e19", "22003", "is out of range"),
            ("small", "1e-400000", "22P02", "\"small\""),
        ] {
            for set in change(format, column, value) {
                let applied = try_apply(&database, &rules(), &[set]).await.expect("planned");
                assert_eq!(applied.rejected[0].1.code, code, "{value}");
                assert!(applied.rejected[0].1.reason.contains(reason), "{}", applied.rejected[0].1.reason);
                assert!(!applied.rejected[0].1.reason.contains(value), "{}", applied.rejected[0].1.reason);
            }
        }
        let [set, _] = change(format, "small", "4E+4");
        let Err(Failure::Sql(error)) = try_apply(&database, &rules(), &[set]).await else { panic!("out of range") };
        assert_eq!(error.as_database_error().and_then(|e| e.code()).as_deref(), Some("22003"));
    }
}
