//! Measures the time of requests to most JSON routes, in a database with a million dead letters and ten million events.
//! One client sends the requests to the real functions over HTTP.

mod client;
mod routes;
mod sample;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use local::CommandError;
use local::servers::RunningServers;
use operator::OperatorError;
use operator::terminal::say;
use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use shared::identity::make_admin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::kafka::{KafkaSettings, topics};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::client::{Client, failed};
use self::sample::Sample;
use crate::gateway::serve::sluice;
use crate::reports;
use crate::table::{Cell, Table};

const LETTERS: i64 = 1_000_000;
/// The number of events of the stream `user-event`, which `report` counts.
const USER_EVENTS: i64 = 3_000_000;
/// The number of events of the stream `route`.
const ROUTES: i64 = 7_000_000;
/// The number of rows that one statement inserts.
const BATCH: i64 = 10_000;
/// The time limit for all requests of one variant. A variant is a route with some of its parameters. A slow variant
/// gets fewer requests.
const LONGEST: Duration = Duration::from_secs(10);
const USER: &str = "bench";
const PASSWORD: &str = "correct horse battery";

const INSERT_ROUTES: &str = r#"
    insert into public.routes_table (user_id, "timestamp", latitude, longitude)
    select n % 50000, now(), random() * 180 - 90, random() * 360 - 180 from generate_series(1, $1) as n"#;

/// Fills the database, sends the requests, and prints their durations. Returns the tables as JSON.
pub(crate) async fn measure(servers: &RunningServers, rounds: u32) -> Result<Vec<Value>, CommandError> {
    let pool = database::connect(&servers.database_url, 2)?;
    database::migrate(&pool, None).await?;
    let registry = Arc::new(Registry::load(None)?);
    let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
    topics::ensure(&kafka, &registry).await.map_err(OperatorError::from)?;
    fill(&pool).await?;
    let sample = Sample::read(&pool).await.map_err(|error| failed(&error))?;
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
    pool.close().await;

    let gateway = sluice(&servers.bootstrap_servers, &servers.database_url, registry).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(CommandError::Serve)?;
    let url = format!("http://{}", listener.local_addr().map_err(CommandError::Serve)?);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(gateway.serve(listener, stop.clone()));
    let client = Client::log_in(url, USER, PASSWORD).await?;
    let tables = send(&client, &sample, rounds).await;
    stop.cancel();
    let _stopped = serving.await;
    gateway.close().await;
    tables
}

async fn fill(pool: &PgPool) -> Result<(), CommandError> {
    let begun = Instant::now();
    let insert = async |what: &str, insert: &str, rows: i64, bind_range: bool| {
        for batch in 0..rows / BATCH {
            let (first, last) = (batch * BATCH, (batch + 1) * BATCH - 1);
            let query = sqlx::query(insert);
            let query = if bind_range { query.bind(first).bind(last) } else { query.bind(BATCH) };
            query.execute(pool).await.map_err(|error| failed(&error))?;
        }
        say(format_args!("{rows} {what} inserted after {:.0} s", begun.elapsed().as_secs_f64()));
        Ok::<_, CommandError>(())
    };
    insert("dead letters", include_str!("letters.sql"), LETTERS, true).await?;
    insert("routes", INSERT_ROUTES, ROUTES, false).await?;
    reports::insert_events(pool, USER_EVENTS).await?;
    let others = sqlx::raw_sql(include_str!("ledger.sql")).execute(pool).await;
    others.map_err(|error| failed(&error))?;
    sqlx::query("vacuum analyze").execute(pool).await.map_err(|error| failed(&error))?;
    say(format_args!("the database is filled after {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Sends the requests of all variants, one variant after another. Returns a table of variants and a table of routes.
async fn send(client: &Client, sample: &Sample, rounds: u32) -> Result<Vec<Value>, CommandError> {
    let title = "Milliseconds per request, by route and parameters; one client";
    let mut table = Table::new(title.to_owned(), &["route", "with", "requests", "p50", "p95", "longest"]);
    let mut by_route: Vec<(&str, Vec<f64>)> = Vec::new();
    for variant in routes::variants(sample) {
        let (mut times, begun) = (Vec::new(), Instant::now());
        // The first request of a variant is not counted, because it prepares statements that later requests use.
        for (number, request) in variant.requests.iter().cycle().take(variant.times(rounds) + 1).enumerate() {
            let took_ms = client.send(request).await?;
            if number > 0 {
                times.push(took_ms);
            }
            if begun.elapsed() > LONGEST {
                break;
            }
        }
        table.row(&cells(variant.route, Some(variant.with), times.clone()));
        match by_route.iter_mut().find(|(route, _)| *route == variant.route) {
            Some((_, all)) => all.extend(times),
            None => by_route.push((variant.route, times)),
        }
    }
    let variants = table.end();
    let title = "Milliseconds per request, by route, over all parameters";
    let mut table = Table::new(title.to_owned(), &["route", "requests", "p50", "p95", "longest"]);
    for (route, times) in by_route {
        table.row(&cells(route, None, times));
    }
    Ok(vec![variants, table.end()])
}

fn cells(route: &str, with: Option<&str>, mut times_ms: Vec<f64>) -> Vec<Cell> {
    times_ms.sort_by(f64::total_cmp);
    let percentile = |hundredths: usize| times_ms.get((times_ms.len() * hundredths).div_ceil(100).saturating_sub(1));
    let figure = |hundredths| percentile(hundredths).map_or(Cell::Empty, |ms| Cell::Number(*ms, 1));
    #[expect(clippy::cast_precision_loss, reason = "there are a few hundred requests")]
    let requests = Cell::Number(times_ms.len() as f64, 0);
    let route = std::iter::once(Cell::text(format!("`{route}`")));
    route.chain(with.map(Cell::text)).chain([requests, figure(50), figure(95), figure(100)]).collect()
}
