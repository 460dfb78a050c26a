//! Kills the processes that take part in a run of replays, and checks that each letter lands once.
//!
//! `SLUICE_LETTERS` and `SLUICE_KILLS` set the numbers of letters and kills. `SLUICE_SEED` repeats a run's random
//! choices. By default, there are few letters and kills. Apache Kafka and PostgreSQL are then not killed, because they
//! take seconds to restart.

use std::time::{Duration, Instant};

use local::lambda::{Invoker, Lambda};
use local::scheduler;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::check::everything_is_applied;
use super::kills::PATIENCE;
use super::number_from;
use super::report::say;
use super::workload::hash;
use super::world::World;

const LETTERS: u64 = 1_500;
const KILLS: u64 = 3;
/// The number of `console` processes that continue the run.
const CONSOLES: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Console,
    Consume,
    Database,
    Broker,
}

/// The victims of ten kills, before they are shuffled.
const TEN: [Victim; 10] = [
    Victim::Console,
    Victim::Console,
    Victim::Consume,
    Victim::Console,
    Victim::Database,
    Victim::Console,
    Victim::Console,
    Victim::Consume,
    Victim::Console,
    Victim::Broker,
];

#[tokio::test(flavor = "multi_thread")]
async fn each_letter_of_a_run_lands_once_when_processes_are_killed() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let letters = number_from("SLUICE_LETTERS").unwrap_or(LETTERS);
    let kills = number_from("SLUICE_KILLS").unwrap_or(KILLS);
    say(&format!("SLUICE_SEED={seed} SLUICE_LETTERS={letters} SLUICE_KILLS={kills}"));
    let mut world = World::start(seed).await;
    reject(&world, letters).await;
    let begun = Instant::now();
    let run = create_run(&world, letters).await;
    let lambda = Lambda::start(world.console.clone(), CONSOLES).await.unwrap();
    let _continuing: Vec<_> =
        (0..CONSOLES).map(|_| AbortOnDropHandle::new(tokio::spawn(continue_forever(lambda.invoker())))).collect();

    let mut random = StdRng::seed_from_u64(hash(&(seed, "replay run")));
    let mut victims: Vec<Victim> = (0..kills).map(|kill| TEN[usize::try_from(kill % 10).unwrap()]).collect();
    victims.shuffle(&mut random);
    let (mut in_invocation, number) = (0, victims.len());
    for (kill, victim) in (0..).zip(victims) {
        // Spreads the kills over the whole run, so that some letters are replayed between any two kills.
        let settled = letters * kill / (kills + 1);
        until("the run makes progress", async || progress(&world.pool, run).await.is_some_and(|p| p.0 >= settled))
            .await;
        sleep(Duration::from_millis(random.random_range(0..=60))).await;
        match victim {
            Victim::Console => {
                let sandbox = &lambda.sandboxes()[random.random_range(0..CONSOLES)];
                in_invocation += usize::from(sandbox.kill().await);
            }
            Victim::Consume => {
                let delay = Duration::from_micros(random.random_range(0..25_000));
                let killed = world.lambda.kill_one(delay, random.random_range(0..1_000));
                in_invocation += usize::from(timeout(PATIENCE, killed).await.expect("an invocation begins"));
            }
            Victim::Database => {
                world.postgres.kill9().await;
                sleep(Duration::from_millis(random.random_range(0..=500))).await;
                world.postgres.restart().await.unwrap();
            }
            Victim::Broker => {
                world.kafka.kill9().await;
                sleep(Duration::from_millis(random.random_range(0..=500))).await;
                world.kafka.restart().await.unwrap();
            }
        }
    }
    until("the run is done", async || progress(&world.pool, run).await.is_some_and(|p| p.1 == "done")).await;
    everything_is_applied(&world).await;

    let seconds = begun.elapsed().as_secs_f64();
    let sent = u64::try_from(world.log_ends().await.values().sum::<i64>()).unwrap() - letters;
    say(&format!("{number} kills, {in_invocation} of them during an invocation; {sent} replays sent; {seconds:.0} s"));
    let landed = one(&world.pool, "select count(*), count(distinct user_id) from public.routes_table").await;
    assert_eq!(landed, (letters, letters), "each letter has one row (rows, different users)");
    const LEFT: &str = "select count(*) filter (where status = 'replayed'), count(*) from sluice.dead_letters";
    assert_eq!(one(&world.pool, LEFT).await, (letters, letters), "each letter was replayed");
    // A process may be killed after it has sent letters, but before it has recorded that it sent them. `consume` then
    // marks these letters as replayed when it reads them, and the run counts them as skipped.
    let counted = format!("select replayed, skipped from sluice.replay_runs where id = {run}");
    let (replayed, skipped) = one(&world.pool, &counted).await;
    assert_eq!(replayed + skipped, letters, "{replayed} replayed and {skipped} skipped letters of the run");
    const REPEATED: &str = "select count(*), count(*) from sluice.duplicates";
    assert_eq!(one(&world.pool, REPEATED).await.0, sent - letters, "each replay that was sent again is a duplicate");
    lambda.stop().await.unwrap();
    world.stop().await;
}

/// Sends events that a constraint rejects, waits until all are dead letters, and drops the constraint.
async fn reject(world: &World, letters: u64) {
    const AT_ONCE: u64 = 5_000;
    let execute = async |sql: &str| sqlx::query(sql).execute(&world.pool).await.unwrap();
    execute("alter table public.routes_table add constraint closed check (false)").await;
    let http = reqwest::Client::new();
    for first in (0..letters).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let event = |user: u64| json!({"userID": user, "timestamp": 1_557_258_853.5, "coordinates": [52.5, 4.5]});
        let events: Vec<Value> = (first..letters.min(first + AT_ONCE)).map(event).collect();
        let answer = http.post(format!("{}/events/route", world.url)).json(&events).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }
    const OPEN: &str = "select count(*), count(*) from sluice.dead_letters where status = 'open'";
    until("all events are rejected", async || one(&world.pool, OPEN).await.0 == letters).await;
    execute("alter table public.routes_table drop constraint closed").await;
}

async fn create_run(world: &World, letters: u64) -> i64 {
    let create = reqwest::Client::new().post(format!("{}/dead-letters/replays", world.url));
    let answer = create.json(&json!({"filter": {"stream": "route"}})).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let run: Value = answer.json().await.unwrap();
    assert_eq!(run["count"], json!(letters));
    run["id"].as_i64().unwrap()
}

/// Invokes `console` as its schedule does, but almost without pauses. If an invocation fails, the next invocation makes
/// up for it.
async fn continue_forever(console: Invoker) {
    loop {
        let event = scheduler::event("Advance", jiff::Timestamp::now()).to_string();
        let _next_time = console.invoke(event.into()).await;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the number of the run's replayed letters, and the run's status. Returns `None` if the database is down.
async fn progress(pool: &PgPool, run: i64) -> Option<(u64, String)> {
    let select = "select replayed, status from sluice.replay_runs where id = $1";
    let found: (i64, String) = sqlx::query_as(select).bind(run).fetch_one(pool).await.ok()?;
    Some((u64::try_from(found.0).unwrap(), found.1))
}

async fn one(pool: &PgPool, select: &str) -> (u64, u64) {
    let (first, second): (i64, i64) = sqlx::query_as(select).fetch_one(pool).await.unwrap();
    (u64::try_from(first).unwrap(), u64::try_from(second).unwrap())
}

/// Waits until a condition holds. The time limit is enough for a run of 100,000 letters.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(5 * PATIENCE, holds).await.expect(what);
}
