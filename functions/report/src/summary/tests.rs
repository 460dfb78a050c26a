use std::collections::BTreeMap;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use shared::http::fields::Fields;
use sqlx::{Connection as _, PgConnection, PgPool};
use testing::TestDatabase;

use super::*;

const CITIES: [&str; 5] = ["Holland", "holland ", "Den Haag", "東京", " "];

/// Returns the question of a query string.
fn question(query: &str) -> Question {
    Question::from_query(&Fields::from_query(Some(query), &Question::PARAMETERS).unwrap()).unwrap()
}

/// Returns the report's counts, and the counts that result from reading every event.
async fn both(pool: &PgPool, query: &str) -> [BTreeMap<String, i64>; 2] {
    let question = question(query);
    let kept = count(pool, &question).await.unwrap();
    let name = match question.by {
        By::City => "city",
        By::Country => "coalesce(country, '')",
        By::Hour => r#"to_char(datetime, 'YYYY-MM-DD"T"HH24:00')"#,
    };
    let full: Vec<(String, i64)> = sqlx::query_as(&format!(
        "select {name}, count(*) from public.user_events
         where datetime >= coalesce($1::timestamp, '-infinity') and datetime < coalesce($2::timestamp, 'infinity')
         group by 1"
    ))
    .bind(question.from.map(|time| time.to_string()))
    .bind(question.to.map(|time| time.to_string()))
    .fetch_all(pool)
    .await
    .unwrap();
    [summed(kept), full.into_iter().collect()]
}

/// Adds up the counts of each name, and drops names whose counts cancel each other out.
fn summed(counted: Vec<Counted>) -> BTreeMap<String, i64> {
    let mut events = BTreeMap::new();
    for counted in counted {
        *events.entry(counted.name).or_default() += counted.events;
    }
    events.retain(|_, events| *events != 0);
    events
}

async fn assert_equal(pool: &PgPool, rng: &mut SmallRng) {
    for by in By::ALL {
        let by = by.name();
        let mut time = || {
            format!(
                "2026-01-0{}T{:02}:{:02}",
                rng.random_range(1..=6),
                rng.random_range(0..24),
                [0, 0, 30].choose(rng).unwrap()
            )
        };
        let (from, to) = (time(), time());
        for query in [
            format!("by={by}"),
            format!("by={by}&from={from}"),
            format!("by={by}&to={to}"),
            format!("by={by}&from={from}&to={to}"),
            format!("by={by}&from=2026-01-02&to=2026-01-04"),
        ] {
            let [kept, full] = both(pool, &query).await;
            assert_eq!(kept, full, "{query}");
        }
    }
}

/// Returns a random statement that changes some events.
fn statement(rng: &mut SmallRng) -> String {
    let day = rng.random_range(1..=5);
    let (city, other) = (CITIES.choose(rng).unwrap(), CITIES.choose(rng).unwrap());
    match rng.random_range(0..10) {
        0 => format!("delete from public.user_events where city = '{city}' and datetime < '2026-01-0{day}'"),
        1 => format!("update public.user_events set city = '{other}', country = null where city = '{city}'"),
        2 => format!("update public.user_events set datetime = datetime + interval '7 hours' where country = 'Country {day}'"),
        3 => "insert into public.user_events (id, city, datetime) select id, city, datetime from public.user_events on conflict do nothing".to_owned(),
        _ => format!(
            "insert into public.user_events (id, city, country, datetime)
             select gen_random_uuid(), '{city}', nullif('Country ' || n % 4, 'Country 0'), timestamp '2026-01-0{day}' + n * interval '97 minutes'
             from generate_series(1, {}) n",
            rng.random_range(1..60)
        ),
    }
}

#[tokio::test]
async fn the_counts_equal_a_full_count_whatever_was_done_to_the_events() {
    let database = TestDatabase::create().await;
    let seed = std::env::var("SLUICE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("SLUICE_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    for round in 0..25 {
        // The transactions run concurrently, and some are rolled back.
        let transactions = (0..4).map(|_| {
            let statements: Vec<String> = (0..rng.random_range(1..4)).map(|_| statement(&mut rng)).collect();
            let commits = rng.random_bool(0.8);
            let url = &database.url;
            async move {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let mut transaction = connection.begin().await.unwrap();
                for statement in statements {
                    // Two updates of the same events in different orders may deadlock, and PostgreSQL then rolls one of
                    // them back.
                    if sqlx::query(&statement).execute(&mut *transaction).await.is_err() {
                        return;
                    }
                }
                if commits {
                    transaction.commit().await.unwrap();
                } else {
                    transaction.rollback().await.unwrap();
                }
            }
        });
        join_all(transactions.collect::<Vec<_>>()).await;
        if round == 12 {
            sqlx::query("truncate public.user_events").execute(&database.pool).await.unwrap();
        }
        assert_equal(&database.pool, &mut rng).await;
    }
    assert!(database.count("select count(*) from public.user_events").await > 0);
}

#[tokio::test]
async fn a_truncated_table_has_no_counts_even_if_the_truncating_transaction_does_not_see_all_events() {
    let database = TestDatabase::create().await;
    const INSERT: &str =
        "insert into public.user_events (id, city, datetime) values (gen_random_uuid(), 'Holland', '2026-01-01')";
    let mut truncating = database.pool.begin_with("begin isolation level repeatable read").await.unwrap();
    sqlx::query("select count(*) from public.user_events").execute(&mut *truncating).await.unwrap();
    sqlx::query(INSERT).execute(&database.pool).await.unwrap();
    sqlx::query("truncate public.user_events").execute(&mut *truncating).await.unwrap();
    truncating.commit().await.unwrap();
    assert_eq!(count(&database.pool, &question("")).await.unwrap(), []);
    sqlx::query(INSERT).execute(&database.pool).await.unwrap();
    let [kept, full] = both(&database.pool, "").await;
    assert_eq!((kept, full["Holland"]), (full.clone(), 1));
}

#[tokio::test]
async fn times_that_only_sql_can_insert_do_not_break_a_report() {
    let database = TestDatabase::create().await;
    for time in ["-infinity", "infinity", "0044-03-15 12:00 BC", "0044-03-15 12:00", "294276-12-31"] {
        sqlx::query(
            "insert into public.user_events (id, city, datetime) values (gen_random_uuid(), 'Rome', $1::timestamp)",
        )
        .bind(time)
        .execute(&database.pool)
        .await
        .unwrap();
    }
    let hours = summed(count(&database.pool, &question("by=hour")).await.unwrap());
    let expected = ["0044-03-15T12:00", "0044-03-15T12:00 BC", "294276-12-31T00:00"];
    assert_eq!(hours.keys().collect::<Vec<_>>(), expected);
    assert_eq!(summed(count(&database.pool, &question("")).await.unwrap())["Rome"], 5);
    assert_eq!(summed(count(&database.pool, &question("from=0044-01-01&to=0045-01-01")).await.unwrap())["Rome"], 1);
}

#[tokio::test]
async fn concurrent_transactions_do_not_wait_for_each_others_counts() {
    let database = TestDatabase::create().await;
    const INSERT: &str =
        "insert into public.user_events (id, city, datetime) values (gen_random_uuid(), 'Holland', '2026-01-01')";
    let mut first = database.pool.begin().await.unwrap();
    sqlx::query(INSERT).execute(&mut *first).await.unwrap();
    let mut second = database.pool.begin().await.unwrap();
    sqlx::query("set local lock_timeout = '1s'").execute(&mut *second).await.unwrap();
    sqlx::query(INSERT).execute(&mut *second).await.unwrap();
    second.commit().await.unwrap();
    first.commit().await.unwrap();
    let [kept, full] = both(&database.pool, "").await;
    assert_eq!(kept, full);
    assert_eq!(full["Holland"], 2);
}
