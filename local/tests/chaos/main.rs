//! The acceptance test of reliability. While clients send 100,000 events, the test kills processes with `kill -9`:
//! `consume` 50 times, Apache Kafka 5 times, and PostgreSQL 5 times. It also restores PostgreSQL's data folder from an
//! earlier copy. No event may be lost or duplicated.
//!
//! `SLUICE_SEED` repeats a run's random choices. `SLUICE_EVENTS` sets the number of events. The module `replay_run`
//! kills processes during a run of replays.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod check;
mod kills;
mod lambda;
mod replay_run;
mod report;
mod sender;
#[path = "../support/mod.rs"]
mod support;
mod workload;
mod world;

use std::time::Instant;

use futures::future::join_all;

use self::check::{check, checksums, everything_is_applied, stalled};
use self::kills::{KILLS, Killer};
use self::report::{Report, say};
use self::sender::{Gateway, send_all};
use self::world::World;

const EVENTS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_duplicated_when_processes_are_killed_and_the_database_is_restored() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let events = number_from("SLUICE_EVENTS").unwrap_or(EVENTS);
    say(&format!("SLUICE_SEED={seed} SLUICE_EVENTS={events}"));
    let mut world = World::start(seed).await;
    let clients = workload::clients(seed, events);
    let gateway = Gateway::new(world.url.clone(), seed, (events / (3 * KILLS)).max(1));
    let started = Instant::now();

    let (cluster, copy) = world.cluster_and_copy();
    let World { lambda, kafka, postgres, pool, .. } = &mut world;
    let killer =
        Killer { lambda, kafka, postgres, pool, cluster: &cluster, copy: &copy, gateway: &gateway, events, seed };
    let sending = join_all(clients.iter().map(|client| send_all(&gateway, client)));
    let (killed, sent) = tokio::join!(killer.run(), sending);
    let sending_seconds = started.elapsed().as_secs_f64();
    everything_is_applied(&world).await;
    let seconds = started.elapsed().as_secs_f64();
    let findings = check(&world.pool, &clients, &sent).await;

    let tally = world.lambda.tally().borrow().clone();
    let records = u64::try_from(world.log_ends().await.values().sum::<i64>()).unwrap();
    let before = checksums(&world.pool).await;
    world.deliver_everything_again().await;
    let after = checksums(&world.pool).await;
    let stalled = stalled(&world.pool).await;
    let tally_again = world.lambda.tally().borrow().clone();

    let counts = *gateway.counts().borrow();
    say(&Report { events, counts, killed, findings: &findings, tally: &tally, sending_seconds, seconds }.to_string());
    assert!(findings.lost.is_empty(), "lost: {}", report::some_of(&findings.lost));
    assert!(findings.twice.is_empty(), "twice: {}", report::some_of(&findings.twice));
    assert!(findings.wrong.is_empty(), "wrong: {}", report::some_of(&findings.wrong));
    assert_eq!(before, after, "redelivery changes nothing");
    assert_eq!(stalled, 0, "redelivery leaves no partition stalled");
    assert_eq!(tally_again.applied, tally.applied, "redelivered records are not applied");
    let delivered_again = tally_again.replayed - tally.replayed;
    assert!(delivered_again >= records, "only {delivered_again} of {records} records were delivered again");
    assert!(killed.taken_back > 0, "the restore removed no records");
    world.stop().await;
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} should hold a number")))
}
