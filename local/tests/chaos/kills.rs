//! Decides which processes to kill and when, and when to restore an earlier state of the database.

use std::path::Path;
use std::time::Duration;

use local::servers::{Kafka, Postgres};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::time::timeout;

use super::lambda::Consume;
use super::sender::Gateway;
use super::workload::hash;

/// The time limit for each condition that a test awaits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Consume,
    Broker,
    Database,
}

/// The processes to kill, and how often each is killed. The order is random.
const VICTIMS: [(Victim, usize); 3] = [(Victim::Consume, 50), (Victim::Broker, 5), (Victim::Database, 5)];

pub(crate) const KILLS: u64 = 60;

/// The number of kills of each process, and the effect of the restore.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Killed {
    pub(crate) consume: usize,
    /// The number of kills of `consume` that happened during an invocation.
    pub(crate) in_invocation: usize,
    pub(crate) broker: usize,
    pub(crate) database: usize,
    /// The number of applied records that the restored database no longer had.
    pub(crate) taken_back: i64,
}

/// The number of database kills after which the data folder is copied.
const COPIED_AFTER: usize = 2;
/// The number of database kills after which the copy is restored.
const RESTORED_AFTER: usize = 4;

/// Kills the processes.
pub(crate) struct Killer<'a> {
    pub(crate) lambda: &'a Consume,
    pub(crate) kafka: &'a mut Kafka,
    pub(crate) postgres: &'a mut Postgres,
    pub(crate) pool: &'a PgPool,
    /// PostgreSQL's data folder.
    pub(crate) cluster: &'a Path,
    /// The folder for a copy of PostgreSQL's data folder.
    pub(crate) copy: &'a Path,
    pub(crate) gateway: &'a Gateway,
    /// The total number of events of all clients.
    pub(crate) events: u64,
    pub(crate) seed: u64,
}

impl Killer<'_> {
    /// Releases the events in portions, and kills a process during each portion.
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
                    // On every other kill, the broker stays down for longer than a send waits.
                    self.kill_broker(number, killed.broker % 2 == 0, &mut random).await;
                }
                Victim::Database => {
                    killed.database += 1;
                    sleep_at_most(&mut random, 100).await;
                    self.kill_database(number, killed.database % 2 == 0, &mut random).await;
                    if killed.database == COPIED_AFTER {
                        killed.taken_back -= self.copy_data_folder().await;
                    } else if killed.database == RESTORED_AFTER {
                        killed.taken_back += self.put_copy_back().await;
                    }
                }
            }
            self.allow(number, 3);
        }
        self.gateway.allow(u64::MAX);
        killed
    }

    /// Releases a portion of events for each kill, in three parts: the first shows that the system makes progress, the
    /// second is in flight during the kill, and the third is sent to the remaining processes.
    fn allow(&self, number: u64, parts: u64) {
        self.gateway.allow(self.events * (number * 3 + parts) / (KILLS * 3));
    }

    /// Waits until further events have been applied.
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
            until(&mut counts, |counts| counts.refused > refused, || "no request was answered with 503".to_owned())
                .await;
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

impl Killer<'_> {
    /// Copies the database's files. Returns how many records the database had applied before the copy.
    async fn copy_data_folder(&mut self) -> i64 {
        let applied = applied(self.pool).await;
        self.postgres.stop().await;
        copy(self.cluster, self.copy).await;
        self.postgres.restart().await.unwrap();
        applied
    }

    /// Replaces the database's files with the copy. Returns how many records the database had applied before the
    /// replacement.
    async fn put_copy_back(&mut self) -> i64 {
        let applied = applied(self.pool).await;
        self.postgres.stop().await;
        tokio::fs::remove_dir_all(self.cluster).await.unwrap();
        copy(self.copy, self.cluster).await;
        self.postgres.restart().await.unwrap();
        applied
    }
}

/// Returns the sum of the watermarks, once the database answers.
async fn applied(pool: &PgPool) -> i64 {
    const SUM: &str = "select coalesce(sum(next_offset), 0)::bigint from sluice.watermarks";
    let asking = async {
        loop {
            match sqlx::query_scalar(SUM).fetch_one(pool).await {
                Ok(sum) => break sum,
                Err(_not_yet) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("the database answers")
}

/// Copies a folder with its owners and permissions, because PostgreSQL may run as another user.
async fn copy(from: &Path, to: &Path) {
    let copied = tokio::process::Command::new("cp").arg("-a").args([from, to]).status().await.unwrap();
    assert!(copied.success(), "{} to {}", from.display(), to.display());
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
