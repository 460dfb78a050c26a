//! Measures how long `GET /report` takes over ten million events, and checks the stored counts.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use axum::Router;
use local::CommandError;
use local::function_settings;
use local::servers::RunningServers;
use operator::environment::Environment;
use operator::terminal::say;
use report::{ReportSettings, Reports};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde_json::Value;
use shared::aws::Aws;
use shared::database;
use shared::http::edge::serve;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, make_admin};
use shared::process::clock::Clock;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::table::{Cell, Table};

const EVENTS: i64 = 10_000_000;
/// The number of events in each inserted batch. A batch from Kafka has at most this many events, too.
const BATCH: i64 = 10_000;
/// The number of repetitions of each request.
const TIMES: usize = 21;
const USER: &str = "bench";
const PASSWORD: &str = "correct horse battery";

/// Inserts one batch of a year's events. The batches are in chronological order. The events name 20,000 cities in 50
/// countries, with four spellings of each city. Cities with low numbers have the most events.
const INSERT: &str = "
    insert into public.user_events (id, city, state, country, post_code, datetime)
    select gen_random_uuid(),
           case n % 10 when 0 then lower(city) when 1 then upper(city) when 2 then city || ' ' else city end,
           'state', 'Country ' || length(city) || ' ' || ascii(right(city, 1)) % 20, '1234 AB',
           '2025-01-01'::timestamp + ($2 + random()) * interval '365 days' / $3
    from (select n, 'City ' || floor(20000 * power(random(), 3))::int as city from generate_series(1, $1) as n) as c";

/// Compares a full count with the counts that the trigger keeps. Returns three numbers: how many entries the full count
/// has, how many entries are only among the trigger's counts, and how many entries are only in the full count.
const DIFFERENCES: &str = "
    with kept as (
        select what, since, name, sum(events)::bigint from sluice.user_event_counts
        group by 1, 2, 3 having sum(events) <> 0
    ), counted as (
        select 'hour', date_trunc('hour', datetime), '', count(*) from public.user_events group by 2
        union all
        select 'city-day', date_trunc('day', datetime), city, count(*) from public.user_events group by 2, 3
        union all
        select 'city-month', date_trunc('month', datetime), city, count(*) from public.user_events group by 2, 3
        union all
        select 'city', '-infinity', city, count(*) from public.user_events group by 3
        union all
        select 'country-day', date_trunc('day', datetime), coalesce(country, ''), count(*) from public.user_events
        group by 2, 3
        union all
        select 'country-month', date_trunc('month', datetime), coalesce(country, ''), count(*) from public.user_events
        group by 2, 3
        union all
        select 'country', '-infinity', coalesce(country, ''), count(*) from public.user_events group by 3
    )
    select (select count(*) from counted), (select count(*) from (table kept except all table counted) as more),
           (select count(*) from (table counted except all table kept) as less)";

/// The requests: each has a path, the media type of its answer, and the query that counts the same events in full.
const QUESTIONS: [(&str, &str, &str); 9] = [
    ("/report", "application/json", "select city, count(*) from public.user_events group by 1"),
    ("/report", "text/html", "select city, count(*) from public.user_events group by 1"),
    ("/report?by=country", "application/json", "select country, count(*) from public.user_events group by 1"),
    (
        "/report?by=hour",
        "application/json",
        "select date_trunc('hour', datetime), count(*) from public.user_events group by 1",
    ),
    (
        "/report?by=hour&from=2025-06-01&to=2025-06-02",
        "application/json",
        "select date_trunc('hour', datetime), count(*) from public.user_events
         where datetime >= '2025-06-01' and datetime < '2025-06-02' group by 1",
    ),
    (
        "/report?from=2025-06-01&to=2025-07-01",
        "application/json",
        "select city, count(*) from public.user_events
         where datetime >= '2025-06-01' and datetime < '2025-07-01' group by 1",
    ),
    (
        "/report?by=country&from=2025-06-01&to=2025-07-01",
        "application/json",
        "select country, count(*) from public.user_events
         where datetime >= '2025-06-01' and datetime < '2025-07-01' group by 1",
    ),
    (
        "/report?from=2025-01-08&to=2025-12-25",
        "application/json",
        "select city, count(*) from public.user_events
         where datetime >= '2025-01-08' and datetime < '2025-12-25' group by 1",
    ),
    (
        "/report?from=2025-06-01T12:30&to=2025-06-30T18:45",
        "application/json",
        "select city, count(*) from public.user_events
         where datetime >= '2025-06-01 12:30' and datetime < '2025-06-30 18:45' group by 1",
    ),
];

/// Measures and prints the times. Returns the table as JSON. Fails if a count is wrong.
pub(crate) async fn measure(servers: &RunningServers) -> Result<Value, CommandError> {
    let pool = database::connect(&servers.database_url, 4)?;
    database::migrate(&pool, None).await?;
    insert_events(&pool, EVENTS).await?;
    sqlx::query("vacuum analyze public.user_events, sluice.user_event_counts")
        .execute(&pool)
        .await
        .map_err(|error| failed(&error))?;

    let (counts, more, less): (i64, i64, i64) =
        sqlx::query_as(DIFFERENCES).fetch_one(&pool).await.map_err(|error| failed(&error))?;
    say(format_args!(
        "entries in the full count: {counts}; not stored: {less}; stored, but not in the full count: {more}"
    ));
    if (more, less) != (0, 0) {
        return Err(CommandError::Bench("the stored counts differ from a full count".to_owned()));
    }

    let (url, _serving) = start(&pool).await?;
    let client = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
    let title = format!("Median and maximum of {TIMES} requests, next to one full count of the same events");
    let mut table = Table::new(title, &["request", "as", "median ms", "maximum ms", "full count ms"]);
    for (path, media_type, full_count) in QUESTIONS {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            times.push(ask(&client, &format!("{url}{path}"), media_type).await?);
        }
        times.sort();
        let begun = Instant::now();
        sqlx::query(full_count).fetch_all(&pool).await.map_err(|error| failed(&error))?;
        let [median, longest, full] =
            [times[TIMES / 2], times[TIMES - 1], begun.elapsed()].map(|time| time.as_secs_f64() * 1_000.0);
        table.row(&[
            Cell::Text(format!("`{path}`")),
            Cell::text(media_type),
            Cell::Number(median, 1),
            Cell::Number(longest, 1),
            Cell::Number(full, 0),
        ]);
    }
    pool.close().await;
    Ok(table.end())
}

/// Inserts this many events, in batches.
pub(crate) async fn insert_events(pool: &PgPool, events: i64) -> Result<(), CommandError> {
    let (begun, batches) = (Instant::now(), events / BATCH);
    for batch in 1..=batches {
        let insert = sqlx::query(INSERT).bind(BATCH).bind(batch - 1).bind(batches);
        insert.execute(pool).await.map_err(|error| failed(&error))?;
        if batch % 100 == 0 {
            say(format_args!("{} of {events} events, {:.0} s", batch * BATCH, begun.elapsed().as_secs_f64()));
        }
    }
    Ok(())
}

async fn start(pool: &PgPool) -> Result<(String, AbortOnDropHandle<std::io::Result<()>>), CommandError> {
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
    let identity =
        Identity::new(pool.clone(), Clock::system(), &function_settings::identity(&Environment::default())?, None);
    let settings = ReportSettings { mail: None };
    let reports =
        Reports::new(pool.clone(), Clock::system(), &settings, &Aws::default()).map_err(|error| failed(&error))?;
    let routes: Router = report::routes(reports, identity);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(CommandError::Serve)?;
    let url = format!("http://{}", listener.local_addr().map_err(CommandError::Serve)?);
    Ok((url, AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, serve(routes)).into_future()))))
}

/// Measures the time until the last byte of the response.
async fn ask(client: &reqwest::Client, url: &str, media_type: &str) -> Result<Duration, CommandError> {
    let basic = base64_simd::STANDARD.encode_to_string(format!("{USER}:{PASSWORD}"));
    let request = client.get(url).header(ACCEPT, media_type).header(AUTHORIZATION, format!("Basic {basic}"));
    let begun = Instant::now();
    let answer = request.send().await.map_err(|error| failed(&error))?;
    let status = answer.status();
    answer.bytes().await.map_err(|error| failed(&error))?;
    if status != 200 {
        return Err(CommandError::Bench(format!("{url}: {status}")));
    }
    Ok(begun.elapsed())
}

fn failed(error: &dyn std::fmt::Display) -> CommandError {
    CommandError::Bench(error.to_string())
}
