//! Tests columns whose values PostgreSQL generates.

use serde_json::json;

use super::*;

const R3: &str = "create table landing.r3 (serial int generated always as identity, code text primary key, name text)";

fn r3(serial: i64, code: &'static str, name: &'static str) -> [Cell<'static>; 3] {
    [("serial", "integer", json!(serial)), ("code", "text", json!(code)), ("name", "text", json!(name))]
}

#[tokio::test]
async fn an_update_leaves_an_identity_column_outside_the_key_as_it_is() {
    for (format, definition) in [(0, R3), (1, R3)] {
        let database = TestDatabase::create().await;
        sql(&database, definition).await;
        let change = |new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>| both("r3", new, old)[format].clone();
        let key = |code: &'static str| [("code", "text", json!(code))];
        let sets = [
            change(Some(&r3(7, "a", "x")), None),
            change(Some(&r3(9, "b", "x")), None),
            change(Some(&r3(7, "a", "y")), Some(&key("a"))),
            change(Some(&r3(9, "c", "z")), Some(&key("b"))),
        ];
        assert_eq!(apply(&database, &sets).await, 0);
        assert_eq!(
            database.json("select * from landing.r3 order by serial").await,
            json!([{"serial": 7, "code": "a", "name": "y"}, {"serial": 9, "code": "c", "name": "z"}])
        );
    }
}

#[tokio::test]
async fn an_identity_column_keeps_its_value_whether_an_index_or_the_whole_row_identifies_the_row() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create table landing.r3 (serial int generated always as identity primary key, code text not null, name text);
         create unique index by_code on landing.r3 (code);
         alter table landing.r3 replica identity using index by_code",
    )
    .await;
    let sets = [
        format_2("r3", Some(&r3(7, "a", "x")), None),
        format_2("r3", Some(&r3(7, "a", "y")), Some(&[("code", "text", json!("a"))])),
        format_1("r3", Some(&r3(7, "a", "z")), Some(&r3(7, "a", "y"))),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.json("select * from landing.r3").await, json!([{"serial": 7, "code": "a", "name": "z"}]));
}

#[tokio::test]
async fn an_identity_value_that_the_source_changed_is_changed_in_the_landing_table() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        sql(&database, &format!("{R3}; create table landing.key (id bigint generated always as identity, a int)"))
            .await;
        let change =
            |table: &str, new: &[Cell<'_>], old: &[Cell<'_>]| both(table, Some(new), Some(old))[format].clone();
        let code = |code: &'static str| [("code", "text", json!(code))];
        let id = |id: i64| [("id", "bigint", json!(id))];
        let sets = [
            format_2("r3", Some(&r3(1, "a", "x")), None),
            format_2("r3", Some(&r3(2, "b", "x")), None),
            format_2("key", Some(&[("id", "bigint", json!(1)), ("a", "integer", json!(1))]), None),
            // The source has executed `set serial = default`, alone or together with another change.
            change("r3", &r3(3, "a", "x"), &code("a")),
            change("r3", &r3(4, "b", "y"), &code("b")),
            change("r3", &r3(4, "b", "z"), &code("b")),
            change("r3", &[("serial", "integer", json!(5))], &code("a")),
            change("key", &id(2), &id(1)),
            change("key", &[("id", "bigint", json!(3)), ("a", "integer", json!(2))], &id(2)),
        ];
        assert_eq!(apply(&database, &sets).await, 0);
        assert_eq!(
            database.json("select * from landing.r3 order by code").await,
            json!([{"serial": 5, "code": "a", "name": "x"}, {"serial": 4, "code": "b", "name": "z"}])
        );
        assert_eq!(database.json("select * from landing.key").await, json!([{"id": 3, "a": 2}]));
        let always =
            "select count(*) from pg_attribute where attidentity = 'a' and attrelid::regclass::text ~ 'landing'";
        assert_eq!(database.count(always).await, 2);
    }
}

#[tokio::test]
async fn a_changed_identity_value_is_refused_if_evolve_is_off() {
    let database = TestDatabase::create().await;
    sql(&database, R3).await;
    apply(&database, &[format_2("r3", Some(&r3(1, "a", "x")), None)]).await;
    let update = |serial| format_2("r3", Some(&r3(serial, "a", "y")), Some(&[("code", "text", json!("a"))]));
    let fixed = Changes { evolve: false, ..rules() };
    let failure = try_apply(&database, &fixed, &[update(2)]).await.expect_err("refused");
    let Failure::Refused(rejection) = failure else { panic!("{failure:?}") };
    assert_eq!(rejection.code, "not_writable");
    assert!(rejection.reason.contains("\"r3\""), "{}", rejection.reason);
    let applied = try_apply(&database, &fixed, &[update(1)]).await.expect("applied");
    assert_eq!((applied.rejected, applied.skipped_rows), (vec![], 0));
    assert_eq!(database.json("select serial, name from landing.r3").await, json!([{"serial": 1, "name": "y"}]));
}

fn r4(id: i64, name: &'static str, upper: Value) -> [Cell<'static>; 3] {
    [("id", "integer", json!(id)), ("name", "text", json!(name)), ("upper_name", "text", upper)]
}

#[tokio::test]
async fn a_generated_column_is_left_to_postgresql() {
    for format in 0..2 {
        for key in [1, 3] {
            let database = TestDatabase::create().await;
            sql(
                &database,
                "create table landing.r4 (id int primary key, name text,
                                          upper_name text generated always as (upper(name)) stored)",
            )
            .await;
            let change = |new: Option<&[Cell<'_>]>, old: Option<&[Cell<'_>]>| both("r4", new, old)[format].clone();
            let (ann, bob) = (r4(1, "ann", json!("ANN")), r4(1, "bob", json!("BOB")));
            assert_eq!(apply(&database, &[change(Some(&ann), None)]).await, 0);
            assert_eq!(apply(&database, &[change(Some(&bob), Some(&ann[..key]))]).await, 0);
            assert_eq!(
                database.json("select * from landing.r4").await,
                json!([{"id": 1, "name": "bob", "upper_name": "BOB"}])
            );
            assert_eq!(apply(&database, &[change(None, Some(&bob[..key]))]).await, 0);
            assert_eq!(database.count("select count(*) from landing.r4").await, 0);
        }
    }
}

#[tokio::test]
async fn generated_columns_decide_between_several_matching_rows_but_are_ignored_if_only_one_row_matches() {
    for format in 0..2 {
        let database = TestDatabase::create().await;
        sql(
            &database,
            "create table landing.t (a int, b int, sum int generated always as (a + b) stored);
             insert into landing.t values (1, 1), (1, 2), (2, 5)",
        )
        .await;
        let delete = |a: i64, sum: Value| {
            both("t", None, Some(&[("a", "integer", json!(a)), ("sum", "integer", sum)]))[format].clone()
        };
        // `delete(1, 3)`: two rows have this `a`, so the sum decides between them. `delete(2, 99)`: only one row has
        // this `a`, so it is deleted although its sum differs, because the source may compute the sum differently.
        assert_eq!(apply(&database, &[delete(1, json!(3)), delete(2, json!(99))]).await, 0);
        assert_eq!(database.json("select a, b from landing.t").await, json!([{"a": 1, "b": 1}]));
        sql(&database, "insert into landing.t values (1, 2)").await;
        // Two rows have this `a`, and neither has this sum, so no row is deleted.
        assert_eq!(apply(&database, &[delete(1, json!(99))]).await, 1);
    }
}

#[tokio::test]
async fn a_generated_column_can_be_the_key() {
    let database = TestDatabase::create().await;
    sql(&database, "create table landing.t (a int, g int generated always as (a * 10) stored unique, b int)").await;
    let row =
        |a: i64, b: i64| [("a", "integer", json!(a)), ("g", "integer", json!(a * 10)), ("b", "integer", json!(b))];
    let key = |g: i64| [("g", "integer", json!(g))];
    // The second update finds the row by the key that the first update has given it.
    let sets = [
        format_2("t", Some(&row(1, 0)), None),
        format_2("t", Some(&row(2, 1)), Some(&key(10))),
        format_2("t", Some(&row(3, 2)), Some(&key(20))),
        format_1("t", Some(&row(3, 3)), Some(&key(30))),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.json("select * from landing.t").await, json!([{"a": 3, "g": 30, "b": 3}]));
    assert_eq!(apply(&database, &[format_2("t", None, Some(&key(30)))]).await, 0);
}
