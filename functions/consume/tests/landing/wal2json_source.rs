//! A live source: a PostgreSQL database whose changes wal2json sends, in both formats. The load consists of pgbench's
//! transactions and of random statements on tables with awkward types. The test needs a server that has wal2json and
//! `wal_level = logical`. `cargo local with-servers` starts such a server.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use testing::TestDatabase;
use tokio::process::Command;

use crate::support::{Function, Record, record};

const TABLES: &str = r#"
    create table "Odd ""Täble. x" (
        "Id 1" integer, "sElect" bigint, n numeric, n2 numeric(30,10), b bytea, j jsonb, js json, ts timestamptz,
        t3 timestamp(3), d date, tm time, tz timetz, iv interval, ia integer[], ta text[], na numeric[],
        va varchar(10)[], ba bytea[], bo boolean, c char(5), v varchar(30), u uuid, ip inet, p point, x xml, r real,
        f double precision, bt bit(5), vb bit varying, rg int4range, tv tsvector, nm name, ch "char", big text,
        g integer generated always as ("Id 1" * 2) stored, primary key ("Id 1", "sElect"));
    create table loose (a integer, n numeric, t text, j json, p point, f double precision, big text);
    alter table loose replica identity full;
    create table words (word text primary key, count integer);
    create table cleared (a integer primary key);
    create table serials (serial integer generated always as identity, code text primary key, name text);
    create table shouted (id integer, name text, upper_name text generated always as (upper(name)) stored);
    alter table shouted replica identity full;
    create table orders (id integer primary key);
    create table items (id integer primary key, order_id integer references orders);
    create table parts (a integer, b integer, v text, primary key (a, b)) partition by range (a);
    create table parts_low partition of parts for values from (0) to (20) partition by list (b);
    create table parts_low_1 partition of parts_low for values in (1);
    create table parts_low_rest partition of parts_low default;
    create table parts_high partition of parts default;
"#;

/// What an operator created in the landing database: tables with generated columns, partitions, and a publication.
const LANDING: &str = "
    create table landing.serials (serial integer generated always as identity, code text primary key, name text);
    create table landing.shouted (id integer, name text, upper_name text generated always as (upper(name)) stored);
    create table landing.parts (a integer, b integer, v text) partition by range (a);
    create table landing.parts_low partition of landing.parts for values from (0) to (20) partition by list (b);
    create table landing.parts_low_1 partition of landing.parts_low for values in (1);
    create table landing.parts_low_rest partition of landing.parts_low default;
    create table landing.parts_high partition of landing.parts default;
    create publication everything for all tables;
";

/// Two tables, one of which refers to the other, for format 2 only. The load truncates both tables, and format 1 does
/// not send truncates.
const LANDING_OF_FORMAT_2: &str = "
    create table landing.orders (id integer primary key);
    create table landing.items (id integer primary key, order_id integer references landing.orders);
";

/// A value that is sometimes null, and sometimes so long that PostgreSQL stores it outside the row.
const LONG: &str = "case when random() < 0.2 then null when random() < 0.5 then '' else
    (select string_agg(md5(random()::text), '') from generate_series(1, 200)) end";

fn insert_odd(id: u32) -> String {
    let values = [
        "random() * 1e17 * 1e50::numeric + random()::numeric",
        "random() * 1000",
        "decode(md5(random()::text), 'hex')",
        r#"('{"b": 1.10, "a": [null, ' || random() || ', 123456789012345678901234567890.50]}')::jsonb"#,
        r#"('{"b":1.10,  "b": "\u00e9"}')::json"#,
        "'2020-02-29 12:00:00.123456+05:30'::timestamptz + random() * interval '1000 days'",
        "'2020-02-29 12:00'::timestamp + random() * interval '1000 days'",
        "'0044-03-15 BC'::date + (random() * 1e6)::integer",
        "'10:11:12.123456'::time + random() * interval '1 hour'",
        "'10:11:12.5-03:30'::timetz",
        "random() * interval '3 years 2 months 5 days 04:05:06.7'",
        "array[1, null, (random() * 1e9)::integer]",
        r#"array['a', null, 'b "c", {d}\', '', 'NULL']"#,
        "array[[1.10, 2], [random()::numeric, null]]",
        "array['a,b', 'ten chars.']::varchar(10)[]",
        r"array['\x00ff', null]::bytea[]",
        "random() < 0.5",
        "(array['', 'ab', 'abcde'])[1 + (random() * 2)::integer]",
        r#"'tab' || E'\t' || 'quote '' " \ é 😀' || (random() * 9)::integer"#,
        "gen_random_uuid()",
        "'10.0.0.0/8'::inet + (random() * 1e6)::bigint",
        "point(random(), 1e300 * random())",
        "'<a b=\"c\">&amp;</a>'::xml",
        "random()::real",
        "random() * 1e300",
        "(random() * 31)::integer::bit(5)",
        "(random() * 31)::integer::bit(5)::bit varying",
        "int4range(0, (random() * 9)::integer)",
        "to_tsvector('simple', 'a fat ''cat')",
        "'a name'::name",
        "'z'::\"char\"",
        LONG,
    ];
    let nullable = values.map(|value| format!("case when random() < 0.2 then null else {value} end"));
    format!(
        "insert into \"Odd \"\"Täble. x\" select {id}, 9007199254740993 + {id} % 3, {} on conflict do nothing",
        nullable.join(", ")
    )
}

/// Returns a random statement, or two that belong together.
fn statement(random: &mut StdRng) -> String {
    let (id, small) = (random.random_range(0..60), random.random_range(0..3));
    let loose = "(select ctid from loose order by md5(ctid::text || a) limit 1)";
    match random.random_range(0..24) {
        0..4 => insert_odd(id),
        4 => format!("update \"Odd \"\"Täble. x\" set n = n + 1, v = 'w{small}' where \"Id 1\" < {id}"),
        5 => format!("update \"Odd \"\"Täble. x\" set big = {LONG}, j = null where \"Id 1\" = {id}"),
        // Moves rows to other keys.
        6 => format!(
            "update \"Odd \"\"Täble. x\" set \"sElect\" = (random() * 1e18)::bigint, bo = not bo where \"Id 1\" = {id}"
        ),
        7 => format!("delete from \"Odd \"\"Täble. x\" where \"Id 1\" = {id}"),
        8..11 => format!(
            "insert into loose select nullif({small}, 0), nullif((array[1, 1.0, 0])[{small} + 1], 0),
                 (array['x', null, ''])[1 + (random() * 2)::integer], case when {small} = 1 then '[1.0]'::json end,
                 case when {small} = 2 then point(1, 2) end, nullif({small}, 1) / 3.0, {LONG}
             from generate_series(0, {small})"
        ),
        11 => format!("update loose set t = nullif('y{small}', 'y1'), a = nullif({small}, 2) where ctid = {loose}"),
        12 => format!("delete from loose where ctid = {loose}"),
        13 => format!(
            "insert into words select 'word ' || {id} || repeat('x', {small} * 3000), 1
             on conflict (word) do update set count = words.count + 1"
        ),
        14 => format!(
            "update words set word = word || ' ' || md5(random()::text)
             where word < 'word {id}' and length(word) % 3000 < 300"
        ),
        15 => format!("insert into cleared values ({id}) on conflict do nothing"),
        16 => format!("insert into serials (code, name) values ('code {id}', 'x') on conflict do nothing"),
        17 => format!("update serials set name = name || '{small}' where code = 'code {id}'"),
        18 if small == 0 => format!("update serials set serial = default where code = 'code {id}'"),
        18 => format!("delete from serials where code = 'code {id}'"),
        19 => format!("insert into shouted select {small}, nullif('name {small}', 'name 1') from generate_series(0, 1)"),
        20 => format!(
            "update shouted set name = coalesce(name, 'née') || {small}
             where ctid = (select ctid from shouted where length(name) < 30 order by md5(ctid::text) limit 1)"
        ),
        21 => format!("insert into orders values ({id}) on conflict do nothing; insert into items select {id}, id from orders where id = {id} on conflict do nothing"),
        22 => format!("insert into parts values ({id}, {small}, 'x') on conflict do nothing"),
        // Updates rows within their partition, or moves them to other partitions.
        _ => format!(
            "update parts set v = v || '{small}', a = case when {small} = 0 then a else (a + 13) % 60 end, b = (b + {small}) % 3
             where a = {id} and not exists (select from parts other where other.a in ({id}, ({id} + 13) % 60) and other.ctid <> parts.ctid)"
        ),
    }
}

/// Runs random transactions on the source.
async fn load(url: &str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut connection = PgConnection::connect(url).await.expect("the source answers");
    let server_seed = random.random_range(-1.0..1.0);
    sqlx::query("select setseed($1)").bind::<f64>(server_seed).execute(&mut connection).await.expect("the seed is set");
    for round in 0..300 {
        let mut statements: Vec<String> = (0..random.random_range(1..6)).map(|_| statement(&mut random)).collect();
        if round % 100 == 50 {
            statements.push("truncate cleared; truncate orders, items".to_owned());
        }
        let mut transaction = connection.begin().await.expect("the transaction begins");
        match sqlx::raw_sql(&statements.join(";")).execute(&mut *transaction).await {
            Ok(_) if random.random_range(0..10) > 0 => transaction.commit().await.expect("the commit succeeds"),
            Ok(_) => transaction.rollback().await.expect("the rollback succeeds"),
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| MEETINGS.contains(&code.as_ref())) => {
                transaction.rollback().await.expect("the rollback succeeds");
            }
            Err(error) => panic!("{statements:?}: {error}"),
        }
    }
}

/// The SQLSTATEs of conflicts between concurrent loads. In this order: a deadlock, a row that was moved to another
/// partition, a key that already exists, and a parent that no longer exists.
const MEETINGS: [&str; 4] = ["40P01", "40001", "23505", "23503"];

async fn pgbench(url: &str, arguments: &[&str]) {
    let status = Command::new("pgbench").args(arguments).arg(url).kill_on_drop(true).output().await;
    let output = status.expect("pgbench is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const ACCOUNTS: u32 = 100_000;

/// Fills pgbench's tables, in transactions whose change sets are small enough for an event. Then runs pgbench's usual
/// load.
async fn pgbench_load(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("the source answers");
    let mut statements = vec![
        "insert into pgbench_branches values (1, 0)".to_owned(),
        "insert into pgbench_tellers select g, 1, 0 from generate_series(1, 10) g".to_owned(),
    ];
    statements.extend((0..ACCOUNTS).step_by(2_000).map(|start| {
        format!("insert into pgbench_accounts select g, 1, 0, '' from generate_series({start} + 1, {start} + 2000) g")
    }));
    for statement in statements {
        sqlx::raw_sql(&statement).execute(&mut connection).await.expect("the tables are filled");
    }
    pgbench(url, &["--no-vacuum", "--client=4", "--transactions=500"]).await;
}

/// A replication slot, and the function that lands the slot's changes.
struct Follower {
    format: &'static str,
    slot: String,
    /// The connection that created the slot. The slot is temporary, so it exists only as long as the connection.
    connection: PgConnection,
    function: Function,
    offset: i64,
}

impl Follower {
    async fn new(source: &TestDatabase, format: &'static str) -> Self {
        let mut connection = PgConnection::connect(&source.url).await.expect("the source answers");
        let slot = format!("test_{}_{}_{format}", std::process::id(), rand::rng().next_u32());
        sqlx::query("select pg_create_logical_replication_slot($1, 'wal2json', true)")
            .bind(&slot)
            .execute(&mut connection)
            .await
            .expect("wal2json is installed, and wal_level is logical");
        let function = Function::new().await;
        sqlx::raw_sql(LANDING).execute(&function.database.pool).await.expect("the tables are created");
        if format == "2" {
            sqlx::raw_sql(LANDING_OF_FORMAT_2).execute(&function.database.pool).await.expect("the tables are created");
        }
        Self { format, slot, connection, function, offset: 0 }
    }

    /// Lands some of the committed changes. Returns whether there were any.
    async fn follow(&mut self) -> bool {
        let documents: Vec<String> =
            sqlx::query_scalar("select data from pg_logical_slot_get_changes($1, null, 3000, 'format-version', $2)")
                .bind(&self.slot)
                .bind(self.format)
                .fetch_all(&mut self.connection)
                .await
                .expect("changes are reported");
        let records: Vec<Record> = documents
            .into_iter()
            .zip(self.offset..)
            .map(|(document, offset)| Record {
                value: Some(document.into_bytes()),
                ..record("changes", offset, &Value::Null)
            })
            .collect();
        self.offset += i64::try_from(records.len()).expect("a small number");
        for batch in records.chunks(5_000) {
            let summary = self.function.land(batch).await;
            assert_eq!((summary.rejected, summary.skipped_rows), (0, 0), "format {}", self.format);
        }
        !records.is_empty()
    }
}

/// Returns a table's rows as sorted texts.
async fn rows(database: &TestDatabase, schema: &str, table: &str, columns: &str) -> Vec<String> {
    let query = format!("select row({columns})::text from {schema}.{table}");
    let mut rows: Vec<String> = sqlx::query_scalar(&query).fetch_all(&database.pool).await.expect(&query);
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn a_live_source_and_its_landing_tables_have_the_same_rows_in_both_formats() {
    let seed = rand::rng().next_u64();
    println!("seed {seed}");
    let source = TestDatabase::create().await;
    sqlx::raw_sql(TABLES).execute(&source.pool).await.expect("the tables are created");
    pgbench(&source.url, &["--initialize", "--init-steps=dtp"]).await;
    let mut followers = [Follower::new(&source, "1").await, Follower::new(&source, "2").await];

    let loads = async { tokio::join!(load(&source.url, seed), load(&source.url, !seed), pgbench_load(&source.url)) };
    let loads = async {
        loads.await;
        true
    };
    tokio::pin!(loads);
    let mut loaded = false;
    loop {
        // A poll that began before the last commit may miss that commit, so the last poll begins after the loads have
        // ended.
        let last_look = loaded;
        let follow = async {
            let [first, second] = &mut followers;
            let (first, second) = tokio::join!(first.follow(), second.follow());
            first || second
        };
        tokio::pin!(follow);
        let followed = loop {
            tokio::select! {
                followed = &mut follow => break followed,
                done = &mut loads, if !loaded => loaded = done,
            }
        };
        if last_look && !followed {
            break;
        }
    }

    for (table, least) in [
        ("\"Odd \"\"Täble. x\"", 20),
        ("loose", 20),
        ("words", 20),
        ("cleared", 0),
        ("serials", 10),
        ("shouted", 20),
        ("orders", 0),
        ("items", 0),
        ("parts", 10),
        ("parts_low_1", 1),
        ("pgbench_accounts", 100_000),
        ("pgbench_tellers", 10),
        ("pgbench_branches", 1),
        ("pgbench_history", 2_000),
    ] {
        let columns: String = sqlx::query_scalar(
            "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
             where attrelid = to_regclass('public.' || $1) and attnum > 0",
        )
        .bind(table)
        .fetch_one(&source.pool)
        .await
        .expect("the columns are read");
        let expected = rows(&source, "public", table, &columns).await;
        assert!(expected.len() >= least, "{table} has {} rows", expected.len());
        for Follower { format, function, .. } in &followers {
            // Format 1 sends no truncates.
            if matches!(table, "cleared" | "orders" | "items") && *format == "1" {
                continue;
            }
            let landed = rows(&function.database, "landing", table, &columns).await;
            assert_eq!(landed.len(), expected.len(), "seed {seed}, format {format}: rows of {table}");
            let differ = landed.iter().zip(&expected).find(|(landed, expected)| landed != expected);
            assert_eq!(differ, None, "seed {seed}, format {format}: {table}");
        }
        println!("{table}: {} rows are equal", expected.len());
    }
}
