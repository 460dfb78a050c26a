//! Random histories of a stream with versions. They contain new events, duplicates, any number of replays of any dead
//! letter, redelivered batches, and restores after which the log is read from its start. At the end of a history, each
//! event has landed at most once, each event that could land has landed, and the rows and receipts match the versions.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::model::number_from;
use crate::own_stream::{Own, orders, replay};
use crate::support::{Record, record};

const HISTORIES: u64 = 60;
const STEPS: usize = 40;
const NUMBERS: [&str; 3] = ["a", "b", "c"];

/// A trigger rejects an order as long as its number is in `public.blocked`.
const TABLES: &str = "
    create table public.orders (number text primary key, state text, version bigint, pos bigint);
    create table public.blocked (number text primary key);
    create function public.refuse_blocked() returns trigger language plpgsql as $$
    begin
        if exists (select from public.blocked b where b.number = new.number) then
            raise exception 'blocked';
        end if;
        return new;
    end $$;
    create trigger refuse_blocked before insert or update on public.orders
        for each row execute function public.refuse_blocked()";

/// A record of the log, and what the test knows about it.
struct Sent {
    record: Record,
    number: &'static str,
    version: Option<i64>,
    /// The root of the record: the index of its event's first record.
    root: usize,
    is_duplicate: bool,
}

struct History {
    own: Own,
    rng: StdRng,
    by_offset: bool,
    log: Vec<Sent>,
    blocked: BTreeSet<&'static str>,
    next_offset: usize,
    /// The roots of the events that could land. An event could land if one of its records, other than a duplicate, was
    /// applied while the event's number was not blocked.
    could_land: BTreeSet<usize>,
}

#[tokio::test]
async fn random_histories_end_as_the_versions_say() {
    let histories = number_from("SLUICE_HISTORIES").unwrap_or(HISTORIES);
    let seed = number_from("SLUICE_SEED").unwrap_or_else(rand::random);
    println!("SLUICE_SEED={seed} SLUICE_HISTORIES={histories}");
    for by_offset in [false, true] {
        let (version, columns) = match by_offset {
            true => (json!({"meta": "offset"}), json!({"pos": {"meta": "offset", "type": "bigint"}})),
            false => (json!("/version"), json!({"version": {"from": "/version", "type": "bigint"}})),
        };
        let mut own = orders("upsert", &json!({"version": version}), &columns, TABLES).await;
        for number in 0..histories / 2 {
            let mut history = History {
                own,
                rng: StdRng::seed_from_u64(seed.wrapping_add(number)),
                by_offset,
                log: Vec::new(),
                blocked: BTreeSet::new(),
                next_offset: 0,
                could_land: BTreeSet::new(),
            };
            history.empty().await;
            for _ in 0..STEPS {
                history.step().await;
            }
            history.deliver(history.log.len()).await;
            history.check(&format!("SLUICE_SEED={seed} history {number}, by offset: {by_offset}")).await;
            own = history.own;
        }
    }
}

impl Sent {
    fn describe(&self, outcome: &str) -> String {
        let Self { record, number, version, root, is_duplicate } = self;
        let headers: Vec<String> = record.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let repeat = if *is_duplicate { " repeated" } else { "" };
        format!("{} of {root}{repeat}: {number} {version:?} {outcome} {}", record.offset, headers.join(" "))
    }
}

impl History {
    async fn execute(&self, statement: &str) {
        sqlx::raw_sql(statement).execute(&self.own.function.database.pool).await.expect("the statement succeeds");
    }

    async fn empty(&self) {
        self.execute(
            "truncate sluice.watermarks, sluice.dead_letters, sluice.event_ids, sluice.duplicates, sluice.superseded,
                      public.orders; delete from public.blocked",
        )
        .await;
    }

    async fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..7 => self.append(),
            7..9 => self.repeat(),
            9..12 => self.replay().await,
            12..14 => self.toggle().await,
            14..19 => {
                let until = self.rng.random_range(self.next_offset..=self.log.len());
                self.deliver(until).await;
            }
            _ => self.restore().await,
        }
    }

    fn append(&mut self) {
        let root = self.log.len();
        let number = NUMBERS[self.rng.random_range(0..NUMBERS.len())];
        let version = self.rng.random_bool(0.9).then(|| self.rng.random_range(0..6));
        let event = json!({"number": number, "state": root.to_string(), "version": version});
        let mut record = record("orders", i64::try_from(root).expect("a small number"), &event);
        if self.rng.random_bool(0.4) {
            record.headers.push(("idempotency-key".to_owned(), root.to_string()));
        }
        let version = if self.by_offset { i64::try_from(root).ok() } else { version };
        self.log.push(Sent { record, number, version, root, is_duplicate: false });
    }

    fn repeat(&mut self) {
        let keyed: Vec<usize> = (0..self.log.len())
            .filter(|&index| self.log[index].root == index && !self.log[index].record.headers.is_empty())
            .collect();
        if keyed.is_empty() {
            return;
        }
        let root = keyed[self.rng.random_range(0..keyed.len())];
        let (offset, of) = (i64::try_from(self.log.len()).expect("a small number"), &self.log[root]);
        let record = Record { offset, timestamp_ms: of.record.timestamp_ms + offset, ..of.record.clone() };
        self.log.push(Sent { record, number: of.number, version: of.version, root, is_duplicate: true });
    }

    /// Replays a dead letter, even if it is marked as replayed. In production, a restore may undo that mark.
    async fn replay(&mut self) {
        let letters: Vec<i64> = sqlx::query_scalar(r#"select "offset" from sluice.dead_letters order by "offset""#)
            .fetch_all(&self.own.function.database.pool)
            .await
            .expect("the database answers");
        if letters.is_empty() {
            return;
        }
        let letter = usize::try_from(letters[self.rng.random_range(0..letters.len())]).expect("an index");
        let (of, offset) = (&self.log[letter], i64::try_from(self.log.len()).expect("a small number"));
        let mut record = replay(&of.record, &self.log[of.root].record, offset);
        record.timestamp_ms = of.record.timestamp_ms.max(record.timestamp_ms);
        let sent =
            Sent { record, number: of.number, version: of.version, root: of.root, is_duplicate: of.is_duplicate };
        self.log.push(sent);
    }

    async fn toggle(&mut self) {
        let number = NUMBERS[self.rng.random_range(0..NUMBERS.len())];
        if self.blocked.remove(number) {
            self.execute(&format!("delete from public.blocked where number = '{number}'")).await;
        } else {
            self.blocked.insert(number);
            self.execute(&format!("insert into public.blocked values ('{number}')")).await;
        }
    }

    /// Delivers the records from a random offset, at or below the watermark, up to `until`.
    async fn deliver(&mut self, until: usize) {
        if until == 0 {
            return;
        }
        let from = self.rng.random_range(0..=self.next_offset.min(until - 1));
        let batch: Vec<Record> = self.log[from..until].iter().map(|sent| sent.record.clone()).collect();
        self.own.function.land(&batch).await;
        for sent in self.log.get(self.next_offset..until).unwrap_or_default() {
            if !self.blocked.contains(sent.number) && !sent.is_duplicate {
                self.could_land.insert(sent.root);
            }
        }
        self.next_offset = self.next_offset.max(until);
    }

    /// Empties the database, so that later deliveries read the log from its start.
    async fn restore(&mut self) {
        self.empty().await;
        for number in &self.blocked {
            self.execute(&format!("insert into public.blocked values ('{number}')")).await;
        }
        self.next_offset = 0;
        self.could_land.clear();
    }

    async fn check(&self, name: &str) {
        let count = i64::try_from(self.log.len()).expect("a small number");
        let outcomes = self.own.outcomes(0..count).await;
        let log: Vec<String> = self.log.iter().zip(&outcomes).map(|(sent, outcome)| sent.describe(outcome)).collect();
        let name = format!("{name}:\n{}\n", log.join("\n"));
        let mut rows: BTreeMap<&str, (Option<i64>, usize)> = BTreeMap::new();
        let mut landed = BTreeSet::new();
        for (index, (sent, outcome)) in self.log.iter().zip(&outcomes).enumerate() {
            let held = rows.get(sent.number).and_then(|(version, _)| *version);
            match outcome.as_str() {
                "written" => {
                    assert!(sent.version >= held, "{name}: {index} was written, but its version was too low");
                    rows.insert(sent.number, (sent.version, sent.root));
                    assert!(landed.insert(sent.root), "{name}: {index} landed twice");
                }
                "superseded" => {
                    assert!(sent.version < held, "{name}: {index} was superseded, but its version was not lower");
                    assert!(landed.insert(sent.root), "{name}: {index} landed twice");
                }
                "duplicate" | "rejected: P0001" => {}
                _ => panic!("{name}: {index} is {outcome}"),
            }
        }
        assert_eq!(landed, self.could_land, "{name}");
        let expected: Vec<Value> = rows
            .iter()
            .map(|(number, (version, root))| json!({"number": number, "state": root.to_string(), "version": version}))
            .collect();
        let version = if self.by_offset { "pos as version" } else { "version" };
        let select = format!("select number, state, {version} from public.orders order by number");
        assert_eq!(self.own.function.database.json(&select).await, json!(expected), "{name}");
    }
}
