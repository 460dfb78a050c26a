//! Logs as Kafka keeps them, filled with random events.

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};
use serde_json::{Value, json};

use super::expected::Place;
use crate::support::{NOW_MS, Record};

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Route(i64),
    Activity(u128, String),
    Gauge(i64, i64),
    Changes { insert: Vec<(i64, i64)>, update: Option<(i64, i64)>, delete: Option<i64>, is_wrong: bool },
    Continent(&'static str, String, i64),
    Country(&'static str, String, String, i64),
    City(&'static str, String, String, i64),
    Tombstone,
    NotJson,
    Violation,
}

/// A record in a log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The record's number. No other record has the same number, not even a record of a deleted log.
    pub(crate) number: u64,
    pub(crate) place: Place,
    pub(crate) timestamp_ms: i64,
    pub(crate) id: Option<String>,
    /// Whether the record replays a dead letter.
    pub(crate) is_replay: bool,
    pub(crate) event: Event,
}

/// One partition's log.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    pub(crate) incarnation: i32,
    pub(crate) entries: Vec<Entry>,
    /// The number of records that the event source mapping has delivered.
    pub(crate) committed: usize,
    /// How far the clock of the log's producer is ahead. The value is negative if the clock is behind.
    pub(crate) skew_ms: i64,
}

pub(crate) const PARTITIONS: [(&str, i32); 9] = [
    ("routes", 0),
    ("routes", 1),
    ("user-events", 0),
    ("gauges", 0),
    ("changes", 0),
    ("continent", 0),
    ("country", 0),
    ("city", 0),
    ("city", 1),
];

/// Makes records, no two of which are equal.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) random: StdRng,
    number: u64,
    now_ms: i64,
    /// Whether unusual events are rare, so that most batches take the fast path.
    is_calm: bool,
}

impl Source {
    pub(crate) fn new(mut random: StdRng) -> Self {
        let is_calm = random.random_bool(0.4);
        Self { random, number: 0, now_ms: NOW_MS, is_calm }
    }

    pub(crate) fn append(&mut self, log: &mut Log) {
        self.number += 1;
        self.now_ms += 1;
        let (event, id) = match self.earlier(log) {
            Some(earlier) => earlier,
            None => {
                let event = self.event(log.topic, log.partition);
                let key = format!("key-{}", self.random.random_range(0..4));
                (event, self.random.random_bool(if self.is_calm { 0.01 } else { 0.3 }).then_some(key))
            }
        };
        log.entries.push(Entry {
            number: self.number,
            place: (log.topic, log.partition, log.entries.len() as i64, log.incarnation),
            timestamp_ms: self.now_ms + log.skew_ms,
            is_replay: id.is_some() && self.random.random_bool(0.2),
            id,
            event,
        });
    }

    /// Sometimes returns an earlier event with its id, so that the event is sent again.
    fn earlier(&mut self, log: &Log) -> Option<(Event, Option<String>)> {
        let keyed: Vec<&Entry> = log.entries.iter().filter(|entry| entry.id.is_some()).collect();
        if keyed.is_empty() || !self.random.random_bool(0.2) {
            return None;
        }
        let entry = keyed[self.random.random_range(0..keyed.len())];
        Some((entry.event.clone(), entry.id.clone()))
    }

    fn event(&mut self, topic: &str, partition: i32) -> Event {
        let random = &mut self.random;
        let variety: u32 = if self.is_calm { 20 } else { 1 };
        match random.random_range(0..40 * variety) {
            0 => return Event::NotJson,
            1 => return Event::Violation,
            2 => return Event::Tombstone,
            _ => {}
        }
        let op = ["create", "create", "create", "update", "delete"][random.random_range(0..5)];
        let population = random.random_range(0..100);
        match topic {
            "routes" => Event::Route(random.random_range(0..20 * i64::from(variety))),
            "user-events" => Event::Activity(
                random.random_range(0..30 * u128::from(variety)),
                format!("City {}", random.random_range(0..3)),
            ),
            "gauges" => Event::Gauge(random.random_range(0..6 * i64::from(variety)), random.random_range(0..20)),
            "changes" => {
                let id = |random: &mut StdRng| random.random_range(0..60);
                let first = i64::try_from(self.number).unwrap_or_default() * 10;
                Event::Changes {
                    insert: (0..random.random_range(0..3)).map(|n| (first + n, random.random_range(0..9))).collect(),
                    update: random.random_bool(0.5).then(|| (id(random) * 10, random.random_range(10..20))),
                    delete: random.random_bool(0.3).then(|| id(random) * 10),
                    is_wrong: random.random_bool(0.1),
                }
            }
            "continent" => Event::Continent(op, format!("Continent {}", random.random_range(0..2)), population),
            "country" => Event::Country(
                op,
                format!("Country {}", random.random_range(0..3)),
                format!("Continent {}", random.random_range(0..2)),
                population,
            ),
            // The name contains the partition, so that all commands about a city are on one partition.
            _ => Event::City(
                op,
                format!("City {} of {partition}", random.random_range(0..2)),
                format!("Country {}", random.random_range(0..3)),
                population,
            ),
        }
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.random.random_bool(probability)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next_u64() % bound.max(1) as u64).unwrap_or_default()
    }
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Route(user) => json!({"userID": user, "timestamp": 1, "coordinates": [1, 2]}),
            Self::Activity(id, city) => crate::support::user_event(*id, city),
            Self::Gauge(id, value) => json!({"id": id, "value": value}),
            Self::Changes { insert, update, delete, is_wrong } => changes(insert, *update, *delete, *is_wrong),
            Self::Continent(op, name, population) => json!({"op": op, "name": name, "population": population}),
            Self::Country(op, name, continent, population) => {
                json!({"op": op, "name": name, "continent": continent, "population": population})
            }
            Self::City(op, name, country, population) => {
                json!({"op": op, "name": name, "country": country, "population": population})
            }
            Self::Tombstone | Self::NotJson => Value::Null,
            Self::Violation => json!({"unheard": "of"}),
        }
    }
}

fn changes(insert: &[(i64, i64)], update: Option<(i64, i64)>, delete: Option<i64>, is_wrong: bool) -> Value {
    let names = json!(["id", "value"]);
    let types = json!(["bigint", "integer"]);
    let mut set: Vec<Value> = insert
        .iter()
        .map(|(id, value)| {
            json!({"kind": "insert", "table": "model", "columnnames": names, "columntypes": types, "columnvalues": [id, value]})
        })
        .collect();
    let old = |id: i64| json!({"keynames": ["id"], "keytypes": ["bigint"], "keyvalues": [id]});
    if let Some((id, value)) = update {
        set.push(json!({"kind": "update", "table": "model", "columnnames": names, "columntypes": types,
                        "columnvalues": [id, value], "oldkeys": old(id)}));
    }
    if let Some(id) = delete {
        set.push(json!({"kind": "delete", "table": "model", "oldkeys": old(id)}));
    }
    if is_wrong {
        set.push(json!({"kind": "insert", "table": "model", "columnnames": names, "columntypes": ["text", "integer"],
                        "columnvalues": ["x", 1]}));
    }
    json!({ "change": set })
}

impl Entry {
    pub(crate) fn record(&self) -> Record {
        let (topic, partition, offset, _) = self.place;
        Record {
            topic: topic.to_owned(),
            partition,
            offset,
            timestamp_ms: self.timestamp_ms,
            key: None,
            value: match &self.event {
                Event::Tombstone => None,
                Event::NotJson => Some(b"{\"".to_vec()),
                other => Some(other.json().to_string().into_bytes()),
            },
            headers: self
                .id
                .iter()
                .map(|id| ("idempotency-key".to_owned(), id.clone()))
                .chain(self.is_replay.then(|| ("sluice-replay".to_owned(), "1".to_owned())))
                .collect(),
        }
    }
}
