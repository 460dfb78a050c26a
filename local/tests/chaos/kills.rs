//! Who is killed when.

use std::time::Duration;

use local::servers::{Kafka, Postgres};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::timeout;

use super::lambda::Consume;
use super::sender::Gateway;
use super::workload::hash;

/// What is waited for comes within this, or never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Consume,
    Broker,
    Database,
}

/// In a random order.
const VICTIMS: [(Victim, usize); 3] = [(Victim::Consume, 50), (Victim::Broker, 5), (Victim::Database, 5)];

pub(crate) const KILLS: u64 = 60;

/// What was killed how often.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Killed {
    pub(crate) consume: usize,
    /// Of those, how many in the midst of an invocation.
    pub(crate) in_invocation: usize,
    pub(crate) broker: usize,
    pub(crate) database: usize,
}

/// What can be killed.
pub(crate) struct Killer<'a> {
    pub(crate) lambda: &'a Consume,
    pub(crate) kafka: &'a mut Kafka,
    pub(crate) postgres: &'a mut Postgres,
    pub(crate) gateway: &'a Gateway,
    /// The events of all clients.
    pub(crate) events: u64,
    pub(crate) seed: u64,
}

impl Killer<'_> {
    /// Lets the events be sent bit by bit, and kills somebody in the midst of each bit.
    pub(crate) async fn run(mut self) -> Killed {
        let mut random = StdRng::seed_from_u64(hash(&(self.seed, "kills")));
        let mut victims: Vec<Victim> =
            VICTIMS.into_iter().flat_map(|(victim, times)| std::iter::repeat_n(victim, times)).collect();
        victims.shuffle(&mut random);
        let mut killed = Killed::default();
        for (number, victim) in (0..).zip(victims) {
            self.allow(number, 1);
            self.progress(number, victim).await;
            sleep_at_most(&mut random, 60).await;
            self.allow(number, 2);
            match victim {
                Victim::Consume => {
                    killed.consume += 1;
                    let delay = Duration::from_micros(random.random_range(0..25_000));
                    killed.in_invocation += usize::from(self.kill_consume(delay, random.random_range(0..1_000)).await);
                }
                Victim::Broker => {
                    killed.broker += 1;
                    sleep_at_most(&mut random, 20).await;
                    // Every other time it stays away for longer than a send waits.
                    self.kill_broker(number, killed.broker % 2 == 0, &mut random).await;
                }
                Victim::Database => {
                    killed.database += 1;
                    sleep_at_most(&mut random, 100).await;
                    self.kill_database(number, killed.database % 2 == 0, &mut random).await;
                }
            }
            self.allow(number, 3);
        }
        self.gateway.allow(u64::MAX);
        killed
    }

    /// Each kill has its share of the events, in three parts: for the system to show that it goes on, to be killed
    /// in, and to be sent to those that are left.
    fn allow(&self, number: u64, parts: u64) {
        self.gateway.allow(self.events * (number * 3 + parts) / (KILLS * 3));
    }

    /// Waits until something is applied that was not when this is called.
    async fn progress(&self, number: u64, victim: Victim) {
        let mut tally = self.lambda.tally();
        let applied = tally.borrow().applied;
        until(
            &mut tally,
            |tally| tally.applied > applied,
            || format!("nothing was applied before kill {number} ({victim:?})"),
        )
        .await;
    }

    async fn kill_consume(&self, delay: Duration, pick: usize) -> bool {
        timeout(PATIENCE, self.lambda.kill_one(delay, pick)).await.expect("no invocation began")
    }

    async fn kill_broker(&mut self, number: u64, stays_away: bool, random: &mut StdRng) {
        let mut counts = self.gateway.counts();
        let refused = counts.borrow().refused;
        self.kafka.kill9().await;
        self.allow(number, 3);
        if stays_away {
            until(&mut counts, |counts| counts.refused > refused, || "nobody was answered 503".to_owned()).await;
        }
        sleep_at_most(random, 500).await;
        self.kafka.restart().await.unwrap();
    }

    async fn kill_database(&mut self, number: u64, stays_away: bool, random: &mut StdRng) {
        let mut tally = self.lambda.tally();
        let failed = tally.borrow().failed();
        self.postgres.kill9().await;
        self.allow(number, 3);
        if stays_away {
            until(&mut tally, |tally| tally.failed() > failed + 3, || "no invocation failed".to_owned()).await;
        }
        sleep_at_most(random, 500).await;
        self.postgres.restart().await.unwrap();
    }
}

async fn sleep_at_most(random: &mut StdRng, most_ms: u64) {
    tokio::time::sleep(Duration::from_millis(random.random_range(0..=most_ms))).await;
}

/// Waits until a condition holds.
pub(crate) async fn until<T: std::fmt::Debug>(
    watched: &mut watch::Receiver<T>,
    condition: impl FnMut(&T) -> bool,
    otherwise: impl FnOnce() -> String,
) {
    let held = timeout(PATIENCE, watched.wait_for(condition)).await.is_ok();
    assert!(held, "{}, within {} s: {:?}", otherwise(), PATIENCE.as_secs(), watched.borrow());
}
