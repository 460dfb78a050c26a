//! Random histories with random batch boundaries. Some constraints are checked by each statement, others only at
//! COMMIT. Each batch lands, and the written rows are consistent. If any of the batch's dead letters had also landed,
//! alone or with others, the rows would not be consistent.
//!
//! `SLUICE_SEED` repeats a run, and `SLUICE_HISTORIES` sets the number of histories.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use sqlx::Executor as _;

use super::tables::{CLEAR, Event, Operation, TABLES, WORLD, World};
use crate::model::{contracts, number_from};
use crate::support::{Function, Record, record};

const HISTORIES: u64 = 500;
const WORKERS: u64 = 4;

#[test]
fn random_histories_with_deferred_constraints_land_all_that_can_land() {
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    let histories = number_from("SLUICE_HISTORIES").unwrap_or(HISTORIES);
    println!("SLUICE_SEED={seed} SLUICE_HISTORIES={histories}");
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(play(seed, (worker..histories).step_by(WORKERS as usize)))
            })
        })
        .collect();
    let letters: usize = workers.into_iter().map(|worker| worker.join().expect("every history lands")).sum();
    println!("{histories} histories, {letters} dead letters");
}

/// Plays histories on a database of their own. Returns how many records became dead letters.
async fn play(seed: u64, histories: impl Iterator<Item = u64>) -> usize {
    let contracts = contracts();
    let function = Function::with_contracts(Some(contracts.path())).await;
    function.database.pool.execute(TABLES).await.expect("the tables are created");
    let mut letters = 0;
    for history in histories {
        let mut history = History::new(&function, seed.wrapping_add(history));
        letters += history.run().await;
    }
    letters
}

/// The topic and number of each partition.
const PARTITIONS: [(&str, i32); 4] = [("changes", 0), ("gauges", 0), ("routes", 0), ("routes", 1)];

struct History<'f> {
    function: &'f Function,
    seed: u64,
    random: StdRng,
    next_offsets: [i64; PARTITIONS.len()],
    world: World,
}

impl<'f> History<'f> {
    fn new(function: &'f Function, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { function, seed, random, next_offsets: [0; PARTITIONS.len()], world: World::default() }
    }

    async fn run(&mut self) -> usize {
        self.function.database.pool.execute(CLEAR).await.expect("the tables are cleared");
        let mut letters: Vec<(usize, Event)> = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            let events = self.events();
            letters.extend(self.deliver(&events).await);
        }
        // All dead letters are replayed once. They may land now, because a record may have come before the record that
        // it depends on.
        if !letters.is_empty() {
            self.deliver(&letters).await;
        }
        letters.len()
    }

    /// Returns random events, grouped by partition, in the order of their offsets.
    fn events(&mut self) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for partition in 0..PARTITIONS.len() {
            for _ in 0..self.random.random_range(0..6) {
                events.push((partition, self.event(partition)));
            }
        }
        events
    }

    fn below(&mut self, end: i64) -> i64 {
        self.random.random_range(0..end)
    }

    fn event(&mut self, partition: usize) -> Event {
        match PARTITIONS[partition].0 {
            "changes" => {
                let operations = self.random.random_range(1..3);
                Event::Set((0..operations).map(|_| self.operation()).collect())
            }
            "gauges" => Event::Gauge { id: self.below(6), value: self.below(12) },
            _ => Event::Route {
                user: [1, 2, 3, 4, 5, 6, 7, 7, 7, 13][self.random.random_range(0..10)],
                latitude: self.below(9),
            },
        }
    }

    fn operation(&mut self) -> Operation {
        match self.random.random_range(0..12) {
            0..3 => Operation::InsertParent { id: self.below(8), rank: self.below(20) },
            3..7 => Operation::InsertChild { id: self.below(20), parent: self.below(8), gauge: self.below(6) },
            7..9 => Operation::InsertPrompt { id: self.below(20), parent: self.below(8), place: self.below(20) },
            9 => Operation::DeleteParent(self.below(8)),
            10 => Operation::DeleteChild(self.below(20)),
            _ => Operation::DeletePrompt(self.below(20)),
        }
    }

    /// Delivers events in one batch, and compares the database's tables with the model's. Returns the events that
    /// became dead letters.
    async fn deliver(&mut self, events: &[(usize, Event)]) -> Vec<(usize, Event)> {
        let records: Vec<Record> = events
            .iter()
            .map(|(partition, event)| {
                let (topic, number) = PARTITIONS[*partition];
                let offset = self.next_offsets[*partition];
                self.next_offsets[*partition] += 1;
                Record { partition: number, ..record(topic, offset, &event.json()) }
            })
            .collect();
        let summary = self.function.land(&records).await;
        let mut kept = Vec::new();
        let mut dead = Vec::new();
        for (index, (record, (partition, _))) in records.iter().zip(events).enumerate() {
            let is_dead = self.is_dead(PARTITIONS[*partition], record.offset).await;
            if is_dead { &mut dead } else { &mut kept }.push(index);
        }
        let about = format!("SLUICE_SEED={} SLUICE_HISTORIES=1: {events:?}, dead {dead:?}", self.seed);
        assert_eq!((summary.written, summary.rejected), (kept.len(), dead.len()), "{about}");
        let chosen = |indexes: &[usize]| {
            let mut indexes = indexes.to_vec();
            indexes.sort_unstable();
            self.world.after(indexes.iter().map(|&index| &events[index].1))
        };
        let Some(after) = chosen(&kept) else { panic!("the written rows are not consistent: {about}") };
        for more in subsets(&dead) {
            assert!(chosen(&[kept.clone(), more.clone()].concat()).is_none(), "{more:?} could land, too: {about}");
        }
        let found: Value = sqlx::query_scalar(WORLD).fetch_one(&self.function.database.pool).await.expect("the tables");
        assert_eq!(found, after.json(), "{about}");
        self.world = after;
        dead.into_iter().map(|index| events[index].clone()).collect()
    }

    async fn is_dead(&self, (topic, partition): (&str, i32), offset: i64) -> bool {
        let select = r#"select exists (select from sluice.dead_letters where topic = $1 and "partition" = $2 and "offset" = $3
                        and error_code ~ '^(23|P0)')"#;
        let query = sqlx::query_scalar(select).bind(topic).bind(partition).bind(offset);
        query.fetch_one(&self.function.database.pool).await.expect("the dead letters")
    }
}

/// Returns all nonempty subsets of a small set. For a large set, returns its single members, its pairs, and the set
/// itself.
fn subsets(set: &[usize]) -> Vec<Vec<usize>> {
    if set.len() <= 8 {
        let chosen = |mask: usize| (0..set.len()).filter(|bit| mask >> bit & 1 == 1).map(|bit| set[bit]).collect();
        return (1..1 << set.len()).map(chosen).collect();
    }
    let mut subsets = vec![set.to_vec()];
    for (index, first) in set.iter().enumerate() {
        subsets.push(vec![*first]);
        subsets.extend(set[index + 1..].iter().map(|second| vec![*first, *second]));
    }
    subsets
}
