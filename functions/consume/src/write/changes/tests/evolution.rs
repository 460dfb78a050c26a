//! Tests which tables and columns are created.

use serde_json::json;

use super::*;

#[tokio::test]
async fn tables_and_columns_are_created_with_the_types_that_the_changes_give() {
    let database = TestDatabase::create().await;
    let sets = [
        format_1("t", Some(&[("Id", "INT", json!(1))]), None),
        format_2("t", Some(&[("Id", "int4", json!(2)), ("n", "numeric(12,3)", json!(1.5))]), None),
        format_2("t", Some(&[("n", "decimal(12,3)", json!(2.5)), ("v", "varchar(30)", json!("x"))]), None),
        json!({"change": []}),
        json!({"change": [{"kind": "message", "content": "x"}]}),
        json!({"action": "B"}),
        json!({"action": "C"}),
        format_2("t", None, Some(&[("Id", "integer", json!(1)), ("new", "text", json!(null))])),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(
        database
            .json(
                "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
                 where attrelid = 'landing.t'::regclass and attnum > 0 order by attnum"
            )
            .await,
        json!([{"name": "Id", "type": "integer"}, {"name": "n", "type": "numeric(12,3)"},
               {"name": "v", "type": "character varying(30)"}, {"name": "new", "type": "text"}])
    );
    assert_eq!(database.count("select count(*) from landing.t").await, 2);
    let other = format_2("t", Some(&[("v", "varchar(31)", json!("x"))]), None);
    let applied = try_apply(&database, &rules(), &[other]).await.expect("planned");
    assert_eq!(applied.rejected[0].1.code, "type_mismatch");
    assert!(applied.rejected[0].1.reason.contains("character varying(30)"), "{}", applied.rejected[0].1.reason);
}

#[tokio::test]
async fn a_table_without_columns_takes_rows() {
    let database = TestDatabase::create().await;
    let insert = format_2("t", Some(&[]), None);
    assert_eq!(apply(&database, &[insert.clone(), insert]).await, 0);
    assert_eq!(database.count("select count(*) from landing.t").await, 2);
}

#[tokio::test]
async fn tables_of_a_rejected_set_are_created_again_by_the_next_set() {
    let database = TestDatabase::create().await;
    let good = format_2("t", Some(&[("a", "integer", json!(1))]), None);
    let guilty = format_2("t", Some(&[("a", "integer", json!("x"))]), None);
    let mut connection = database.pool.acquire().await.expect("connected");
    let mut transaction = connection.begin().await.expect("begun");
    for (sets, right) in
        [(vec![&good, &guilty], false), (vec![&good], true), (vec![&guilty], false), (vec![&good], true)]
    {
        let mut savepoint = transaction.begin().await.expect("a savepoint");
        let applied = write(&mut savepoint, &rules(), &sets).await;
        assert_eq!(applied.is_ok(), right);
        if right {
            savepoint.commit().await.expect("released");
        } else {
            savepoint.rollback().await.expect("rolled back");
        }
    }
    transaction.commit().await.expect("committed");
    assert_eq!(database.count("select count(*) from landing.t").await, 2);
}

#[tokio::test]
async fn concurrent_transactions_that_create_the_same_tables_wait_for_each_other() {
    let database = TestDatabase::create().await;
    let write_all = async |n: i64| {
        for table in 0..5 {
            let column = format!("own{n}");
            let cells = [("a", "integer", json!(n)), (column.as_str(), "integer", json!(n))];
            let table = format!("t{table}");
            let insert = format_2(&table, Some(&cells), None);
            let update = format_2(&table, Some(&cells), Some(&cells[..1]));
            assert_eq!(apply(&database, &[insert, update]).await, 0);
        }
    };
    tokio::join!(write_all(1), write_all(2), write_all(3), write_all(4));
    for table in 0..5 {
        assert_eq!(database.count(&format!("select count(*) from landing.t{table}")).await, 4);
    }
    assert_eq!(database.count("select count(*) from pg_indexes where schemaname = 'landing'").await, 5);
}

async fn indexes(database: &TestDatabase) -> Vec<String> {
    let query = "select indexdef from pg_indexes where schemaname = 'landing' order by indexname";
    let definitions: Vec<String> = sqlx::query_scalar(query).fetch_all(&database.pool).await.expect("read");
    let columns = |definition: String| definition.split_once("USING ").map(|(_, columns)| columns.to_owned());
    definitions.into_iter().filter_map(columns).collect()
}

#[tokio::test]
async fn a_key_by_which_rows_are_looked_up_gets_at_most_one_index() {
    let database = TestDatabase::create().await;
    let long = "x".repeat(100_000);
    let row: &[Cell<'_>] = &[
        ("a", "integer", json!(1)),
        ("T \"x", "text", json!(long)),
        ("v", "varchar(900)", json!("v")),
        ("n", "numeric", json!(1)),
        ("j", "jsonb", json!("{}")),
    ];
    let key =
        |names: &[&str]| -> Vec<Cell<'_>> { row.iter().filter(|cell| names.contains(&cell.0)).cloned().collect() };
    for (table, names, expected) in [
        ("t1", &["a"][..], &["btree (a)"][..]),
        ("t2", &["T \"x"], &[r#"btree ("left"("T ""x", 128))"#]),
        ("t3", &["a", "v", "j"], &[r#"btree (a, "left"((v)::text, 128))"#]),
        ("t4", &["n"], &["hash (n)"]),
        ("t5", &["j"], &[]),
        ("t6", &["a", "T \"x", "v", "n", "j"], &[]),
    ] {
        let database = TestDatabase::create().await;
        let key = key(names);
        for _ in 0..2 {
            let sets = [format_2(table, Some(row), None), format_2(table, Some(row), Some(&key))];
            assert_eq!(apply(&database, &sets).await, 0, "{table}");
            assert_eq!(apply(&database, &[format_1(table, None, Some(&key))]).await, 0, "{table}");
        }
        assert_eq!(indexes(&database).await, expected, "{table}");
    }
    // No index is added if the key already has one.
    sql(&database, "create table landing.t (a int primary key, b int)").await;
    let key = [("a", "integer", json!(1))];
    apply(&database, &[format_2("t", None, Some(&key))]).await;
    assert_eq!(indexes(&database).await, ["btree (a)"]);
}

#[tokio::test]
async fn an_operators_own_table_is_written_with_its_types_and_defaults() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create type landing.mood as enum ('a', 'B c'); create domain public.three as varchar(3); create domain public.short as public.three not null;
         create table landing.t (id bigint generated always as identity, m landing.mood, s public.short,
                                 loaded_at timestamptz not null default now());",
    )
    .await;
    let row =
        |id: i64, mood: &str| [("id", "bigint", json!(id)), ("m", "mood", json!(mood)), ("s", "short", json!("abc"))];
    let key = |id: i64| [("id", "bigint", json!(id))];
    let sets = [
        format_1("t", Some(&row(7, "B c")), None),
        format_2("t", Some(&row(8, "a")), None),
        format_1("t", Some(&row(7, "a")), Some(&key(7))),
        format_1("t", None, Some(&row(8, "a"))),
    ];
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(
        database.json("select id, m, s, loaded_at <= now() as loaded from landing.t").await,
        json!([{"id": 7, "m": "a", "s": "abc", "loaded": true}])
    );
    let unknown = format_1("t", Some(&[("m", "nobodys_mood", json!("a"))]), None);
    let applied = try_apply(&database, &rules(), &[unknown]).await.expect("planned");
    assert_eq!(applied.rejected[0].1.code, "unknown_type");
    // A new table may use the type that was created for the first table.
    assert_eq!(apply(&database, &[format_1("u", Some(&[("m", "public.mood[]", json!("{a,B c}"))]), None)]).await, 0);
    assert_eq!(database.json("select m::text from landing.u").await, json!([{"m": r#"{a,"B c"}"#}]));
}

#[tokio::test]
async fn changes_are_written_to_a_table_that_another_role_owns() {
    let database = TestDatabase::create().await;
    let mut connection = database.pool.acquire().await.expect("connected");
    // The transaction is never committed. After a commit, the role would remain in all databases of the server.
    let mut transaction = connection.begin().await.expect("begun");
    sqlx::raw_sql(
        "create table landing.t (a int, b int);
         create role writer_of_changes;
         grant usage, create on schema landing to writer_of_changes;
         grant select, insert, update, delete on landing.t to writer_of_changes;
         set local role writer_of_changes",
    )
    .execute(&mut *transaction)
    .await
    .expect("prepared");
    let key = [("a", "integer", json!(1))];
    let sets = [format_2("t", Some(&row([Some(1), Some(1)])), None), format_2("t", None, Some(&key))];
    let applied = write(&mut transaction, &rules(), &sets.iter().collect::<Vec<_>>()).await.expect("written");
    assert_eq!((applied.rejected.len(), applied.skipped_rows), (0, 0));
}
