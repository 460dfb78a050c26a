//! Tests landing tables that the landing database itself publishes.

use serde_json::json;

use super::*;

const PUBLICATIONS: [&str; 3] = [
    "create publication everything for all tables",
    "create publication everything for tables in schema landing",
    "create publication everything for all tables with (publish = 'delete')",
];

fn cells(b: &'static str) -> [Cell<'static>; 2] {
    [("id", "integer", json!(1)), ("b", "text", json!(b))]
}

const CREATED: [&str; 8] = [
    // `evolve` creates the table.
    "",
    "create table landing.t (id int, b text)",
    "create table landing.t (id int primary key, b text)",
    "create table landing.t (id int primary key deferrable, b text)",
    "create table landing.t (id int primary key, b text); alter table landing.t replica identity nothing",
    "create table landing.t (id int not null, b text); create unique index i on landing.t (id);
     alter table landing.t replica identity using index i; drop index landing.i",
    "create table landing.t (id int, b text) partition by range (id);
     create table landing.t1 partition of landing.t for values from (0) to (9) partition by list (b);
     create table landing.t11 partition of landing.t1 default",
    "create table landing.t (id int, b json)",
];

#[tokio::test]
async fn a_published_table_takes_updates_and_deletes_no_matter_how_it_was_created() {
    for publication in PUBLICATIONS {
        let database = TestDatabase::create().await;
        for (created, published_first) in CREATED.into_iter().flat_map(|created| [(created, true), (created, false)]) {
            let ty = if created.contains("json") { "json" } else { "text" };
            let cells = |b: &str| [("id", "integer", json!(1)), ("b", ty, json!(format!("\"{b}\"")))];
            if published_first {
                sql(&database, publication).await;
            }
            sql(&database, created).await;
            apply(&database, &[format_2("t", Some(&cells("x")), None)]).await;
            if !published_first {
                sql(&database, publication).await;
            }
            for format in 0..2 {
                let change = |new: Option<&[Cell<'_>]>, old: &[Cell<'_>]| both("t", new, Some(old))[format].clone();
                assert_eq!(apply(&database, &[change(Some(&cells("y")), &cells("x")[..1])]).await, 0, "{created}");
                assert_eq!(apply(&database, &[change(Some(&cells("x")), &cells("y"))]).await, 0, "{created}");
            }
            assert_eq!(apply(&database, &[format_2("t", None, Some(&cells("x")[..1]))]).await, 0, "{created}");
            assert_eq!(database.count("select count(*) from landing.t").await, 0, "{created}");
            sql(&database, "drop table landing.t; drop publication everything").await;
        }
    }
}

#[tokio::test]
async fn a_table_created_by_evolve_can_be_changed_by_hand_after_it_is_published() {
    let database = TestDatabase::create().await;
    apply(&database, &[format_2("t", Some(&cells("x")), None)]).await;
    sql(&database, &format!("{}; update landing.t set b = 'y'; delete from landing.t", PUBLICATIONS[0])).await;
}

#[tokio::test]
async fn a_partition_that_is_published_through_its_root_is_updated() {
    let database = TestDatabase::create().await;
    sql(
        &database,
        "create table landing.t (id int, b text) partition by range (id);
         create table landing.t1 partition of landing.t default;
         create publication roots for table landing.t with (publish_via_partition_root = true)",
    )
    .await;
    for table in ["t", "t1"] {
        let sets = [
            format_2(table, Some(&cells("x")), None),
            format_2(table, Some(&cells("y")), Some(&cells("x")[..1])),
            format_2(table, None, Some(&cells("y"))),
        ];
        assert_eq!(apply(&database, &sets).await, 0, "{table}");
    }
}

#[tokio::test]
async fn only_updates_and_deletes_of_rows_that_a_publication_cannot_identify_are_rejected() {
    for publication in [
        // The table has no key, so only `replica identity full` could identify its rows. Even with `replica identity
        // full`, PostgreSQL refuses updates and deletes, because the publication has a column list.
        "create table landing.t (id int, b text); create publication listed for table landing.t (id)",
        // The publication's row filter uses a column outside the key.
        "create table landing.t (id int primary key, b text);
         create publication listed for table landing.t where (b <> '')",
    ] {
        let database = TestDatabase::create().await;
        sql(&database, publication).await;
        let insert = |table: &str| format_2(table, Some(&cells("x")), None);
        let update = |table: &str| format_2(table, Some(&cells("y")), Some(&cells("x")[..1]));
        assert_eq!(apply(&database, &[insert("t"), insert("u"), update("u")]).await, 0);
        for set in [update("t"), format_2("t", None, Some(&cells("x")[..1]))] {
            let rejection = match try_apply(&database, &rules(), &[set]).await {
                Ok(applied) => applied.rejected[0].1.clone(),
                Err(Failure::Refused(rejection)) => rejection,
                Err(other) => panic!("{other:?}"),
            };
            assert_eq!(rejection.code, "no_replica_identity");
            assert!(rejection.reason.contains("\"t\""), "{}", rejection.reason);
        }
        assert_eq!(database.count("select count(*) from landing.t").await, 1);
    }
}

#[tokio::test]
async fn inserts_but_no_updates_are_written_to_a_published_table_that_another_role_owns() {
    let database = TestDatabase::create().await;
    let mut connection = database.pool.acquire().await.expect("connected");
    // The transaction is never committed. After a commit, the role would remain in all databases of the server.
    let mut transaction = connection.begin().await.expect("begun");
    let prepared = format!(
        "{};
         create table landing.t (id int, b text);
         create role writer_of_published_changes;
         grant usage, create on schema landing to writer_of_published_changes;
         grant select, insert, update, delete on landing.t to writer_of_published_changes;
         set local role writer_of_published_changes",
        PUBLICATIONS[0]
    );
    sqlx::raw_sql(&prepared).execute(&mut *transaction).await.expect("prepared");
    let update = format_2("t", Some(&cells("y")), Some(&cells("x")[..1]));
    let sets = [format_2("t", Some(&cells("x")), None), update, format_2("t", Some(&cells("z")), None)];
    let applied = write(&mut transaction, &rules(), &sets.iter().collect::<Vec<_>>()).await.expect("written");
    assert_eq!(
        applied.rejected.iter().map(|(set, r)| (*set, r.code.as_str())).collect::<Vec<_>>(),
        [(1, "no_replica_identity")]
    );
}

#[tokio::test]
async fn a_delete_from_a_published_table_without_a_replica_identity_is_rejected_if_evolve_is_off() {
    let database = TestDatabase::create().await;
    sql(&database, &format!("{}; create table landing.t (id int, b text)", PUBLICATIONS[0])).await;
    let fixed = Changes { evolve: false, ..rules() };
    let sets = [format_2("t", Some(&cells("x")), None), format_2("t", None, Some(&cells("x")))];
    let applied = try_apply(&database, &fixed, &sets).await.expect("planned");
    assert_eq!(
        applied.rejected.iter().map(|(set, r)| (*set, r.code.as_str())).collect::<Vec<_>>(),
        [(1, "no_replica_identity")]
    );
}

#[tokio::test]
async fn a_truncate_that_is_executed_as_a_delete_statement_needs_a_replica_identity() {
    let database = TestDatabase::create().await;
    let tables = format!(
        "{}; create table landing.t (id int unique); create table public.refers (id int references landing.t (id))",
        PUBLICATIONS[0]
    );
    sql(&database, &tables).await;
    let sets = [format_2("t", Some(&cells("x")[..1]), None), json!({"action": "T", "table": "t"})];
    let fixed = Changes { evolve: false, ..rules() };
    let failure = try_apply(&database, &fixed, &sets).await.expect_err("refused");
    let Failure::Refused(rejection) = failure else { panic!("{failure:?}") };
    assert_eq!(rejection.code, "no_replica_identity");
    assert_eq!(apply(&database, &sets).await, 0);
    assert_eq!(database.count("select count(*) from landing.t").await, 0);
}
