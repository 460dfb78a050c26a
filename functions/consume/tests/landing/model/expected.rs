//! What PostgreSQL should contain, as plain maps. The records are applied to the maps one after the other, each record
//! once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::log::{Entry, Event};

/// A record's place: topic, partition, offset, incarnation.
pub(crate) type Place = (&'static str, i32, i64, i32);

#[derive(Debug, Default)]
pub(crate) struct Expected {
    applied: BTreeSet<u64>,
    pub(crate) routes: Vec<i64>,
    pub(crate) user_events: BTreeMap<u128, String>,
    pub(crate) gauges: BTreeMap<i64, i64>,
    pub(crate) landed: BTreeMap<i64, i64>,
    pub(crate) continents: BTreeMap<String, i64>,
    pub(crate) countries: BTreeMap<String, (String, i64)>,
    pub(crate) cities: BTreeMap<(String, String), i64>,
    ids: BTreeMap<Id, Held>,
    /// The ids that a replay may take over, because the events that hold them were rejected in an earlier batch or
    /// generation. (A batch is applied in generations: children after their parents.)
    openable: BTreeSet<Id>,
    pub(crate) dead: BTreeSet<(Place, &'static str)>,
    duplicates: BTreeMap<Place, Option<Id>>,
    /// The waiting commands, in the order of arrival.
    pub(crate) waiting: Vec<Waiter>,
    /// The counts of outcomes, by topic, partition and incarnation.
    pub(crate) activity: BTreeMap<(&'static str, i32, i32), Counts>,
}

/// How many of a log's records had each outcome.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: i64,
    pub(crate) duplicates: i64,
    pub(crate) waiting: i64,
    pub(crate) released: i64,
    pub(crate) rejected: i64,
    pub(crate) tombstones: i64,
    pub(crate) replays: i64,
    pub(crate) last_offset: i64,
}

/// An event's id: its topic and its idempotency key.
type Id = (&'static str, String);

/// The event that holds an id.
#[derive(Debug)]
struct Held {
    payload: Value,
    rejected: Option<&'static str>,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) place: Place,
    pub(crate) parent: String,
    event: Event,
    id: Option<Id>,
}

/// The outcome of one record.
enum Writing {
    Written,
    Duplicate,
    Rejected(&'static str),
    Waiting(String),
}

impl Expected {
    /// Applies a batch. Records that were applied before are skipped. Parents are applied before children. Children
    /// that wait for a parent are applied after all records of the parent's stream.
    pub(crate) fn apply(&mut self, batch: &[Entry]) {
        let mut fresh: Vec<&Entry> = batch.iter().filter(|entry| self.applied.insert(entry.number)).collect();
        fresh.sort_by_key(|entry| (generation(&entry.event), entry.place));
        for generation_ in 0..3 {
            let before = self.parents(generation_);
            self.openable =
                self.ids.iter().filter(|(_, held)| held.rejected.is_some()).map(|(id, _)| id.clone()).collect();
            for entry in fresh.iter().filter(|entry| generation(&entry.event) == generation_) {
                self.settle(entry);
            }
            self.release(generation_, &before);
        }
    }

    fn parents(&self, generation: usize) -> BTreeSet<String> {
        match generation {
            0 => self.continents.keys().cloned().collect(),
            1 => self.countries.keys().cloned().collect(),
            _ => BTreeSet::new(),
        }
    }

    fn release(&mut self, generation_: usize, before: &BTreeSet<String>) {
        let created: BTreeSet<String> = self.parents(generation_).difference(before).cloned().collect();
        let is_released =
            |waiter: &Waiter| generation(&waiter.event) == generation_ + 1 && created.contains(&waiter.parent);
        let (mut released, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_released);
        self.waiting = waiting;
        let before = self.parents(generation_ + 1);
        released.sort_by_key(|waiter| {
            let (topic, partition, offset, incarnation) = waiter.place;
            (topic, incarnation, partition, offset)
        });
        let is_empty = released.is_empty();
        for Waiter { place, event, id, .. } in released {
            self.counts(place).released += 1;
            let writing = self.write(&event);
            self.note(place, &event, id, writing);
        }
        if !is_empty {
            self.release(generation_ + 1, &before);
        }
    }

    fn counts(&mut self, (topic, partition, _, incarnation): Place) -> &mut Counts {
        self.activity.entry((topic, partition, incarnation)).or_default()
    }

    fn settle(&mut self, entry: &Entry) {
        let (place, event) = (entry.place, &entry.event);
        let counts = self.counts(place);
        counts.last_offset = counts.last_offset.max(place.2);
        counts.replays += i64::from(entry.is_replay && !matches!(event, Event::Tombstone));
        // An event that breaks its contract is rejected before its id is looked up.
        let is_valid = !matches!(event, Event::NotJson | Event::Violation | Event::Tombstone);
        let id = entry.id.as_ref().filter(|_| is_valid).map(|id| (place.0, id.clone()));
        if let Some(id) = &id {
            let payload = event.json();
            match self.ids.get_mut(id) {
                None => drop(self.ids.insert(id.clone(), Held { payload, rejected: None })),
                Some(held) if held.payload != payload => {
                    self.dead.insert((place, "idempotency_conflict"));
                    self.counts(place).rejected += 1;
                    return;
                }
                Some(held) if entry.is_replay && self.openable.remove(id) => held.rejected = None,
                Some(_) => {
                    self.duplicates.insert(place, Some(id.clone()));
                    self.counts(place).duplicates += 1;
                    return;
                }
            }
        }
        let writing = self.write(event);
        self.note(place, event, id, writing);
    }

    fn note(&mut self, place: Place, event: &Event, id: Option<Id>, writing: Writing) {
        let counts = self.counts(place);
        *match (&writing, event) {
            (Writing::Written, Event::Tombstone) => &mut counts.tombstones,
            (Writing::Written, _) => &mut counts.written,
            (Writing::Duplicate, _) => &mut counts.duplicates,
            (Writing::Rejected(_), _) => &mut counts.rejected,
            (Writing::Waiting(_), _) => &mut counts.waiting,
        } += 1;
        match writing {
            Writing::Written => {}
            Writing::Duplicate => drop(self.duplicates.insert(place, id)),
            Writing::Rejected(code) => {
                self.dead.insert((place, code));
                if let Some(held) = id.and_then(|id| self.ids.get_mut(&id)) {
                    held.rejected = Some(code);
                }
            }
            Writing::Waiting(parent) => self.waiting.push(Waiter { place, parent, event: event.clone(), id }),
        }
    }

    /// Returns the places of duplicates. Each place comes with the error code of the event that holds the duplicate's
    /// id, if that event was rejected.
    pub(crate) fn duplicates(&self) -> impl Iterator<Item = (Place, Option<&'static str>)> {
        let rejected = |id: &Option<Id>| self.ids.get(id.as_ref()?)?.rejected;
        self.duplicates.iter().map(move |(place, id)| (*place, rejected(id)))
    }

    fn write(&mut self, event: &Event) -> Writing {
        match event {
            Event::NotJson => Writing::Rejected("not_json"),
            Event::Violation => Writing::Rejected("contract_violation"),
            Event::Tombstone => Writing::Written,
            Event::Route(13) => Writing::Rejected("23514"),
            Event::Route(user) => {
                self.routes.push(*user);
                Writing::Written
            }
            Event::Activity(id, city) => match self.user_events.contains_key(id) {
                true => Writing::Duplicate,
                false => {
                    self.user_events.insert(*id, city.clone());
                    Writing::Written
                }
            },
            Event::Gauge(5, _) => Writing::Rejected("23514"),
            Event::Gauge(id, value) => {
                self.gauges.insert(*id, *value);
                Writing::Written
            }
            Event::Changes { insert, update, delete, is_wrong } => {
                if *is_wrong {
                    return Writing::Rejected("type_mismatch");
                }
                insert.iter().for_each(|(id, value)| {
                    self.landed.insert(*id, *value);
                });
                if let Some((id, value)) = update
                    && let Some(row) = self.landed.get_mut(id)
                {
                    *row = *value;
                }
                if let Some(id) = delete {
                    self.landed.remove(id);
                }
                Writing::Written
            }
            Event::Continent(op, name, population) => {
                let has_children = self.countries.values().any(|(continent, _)| continent == name);
                command(&mut self.continents, op, name.clone(), *population, has_children)
            }
            Event::Country(op, name, continent, population) => {
                if let Some(parent) = self.queue(event) {
                    return Writing::Waiting(parent);
                }
                let exists = self.countries.contains_key(name);
                if !self.continents.contains_key(continent) && (*op == "create" && !exists || *op == "update" && exists)
                {
                    return Writing::Waiting(continent.clone());
                }
                let has_children = self.cities.keys().any(|(country, _)| country == name);
                match command(&mut self.countries, op, name.clone(), (continent.clone(), 0), has_children) {
                    Writing::Written => {
                        if let Some(row) = self.countries.get_mut(name) {
                            *row = (continent.clone(), *population);
                        }
                        Writing::Written
                    }
                    other => other,
                }
            }
            Event::City(op, name, country, population) => {
                if let Some(parent) = self.queue(event) {
                    return Writing::Waiting(parent);
                }
                let key = (country.clone(), name.clone());
                if *op == "create" && !self.countries.contains_key(country) {
                    return Writing::Waiting(country.clone());
                }
                command(&mut self.cities, op, key, *population, false)
            }
        }
    }

    /// Returns the parent that an earlier command about the same entity waits for.
    fn queue(&self, event: &Event) -> Option<String> {
        let same = |other: &Event| match (event, other) {
            (Event::Country(_, a, ..), Event::Country(_, b, ..)) => a == b,
            (Event::City(_, a, ca, _), Event::City(_, b, cb, _)) => (a, ca) == (b, cb),
            _ => false,
        };
        self.waiting.iter().find(|waiter| same(&waiter.event)).map(|waiter| waiter.parent.clone())
    }
}

fn command<K: Ord, V>(table: &mut BTreeMap<K, V>, op: &str, key: K, value: V, has_children: bool) -> Writing {
    match (op, table.contains_key(&key)) {
        ("create", true) => Writing::Rejected("already_exists"),
        ("update" | "delete", false) => Writing::Rejected("not_found"),
        ("delete", true) if has_children => Writing::Rejected("has_children"),
        ("delete", true) => {
            table.remove(&key);
            Writing::Written
        }
        _ => {
            table.insert(key, value);
            Writing::Written
        }
    }
}

fn generation(event: &Event) -> usize {
    match event {
        Event::Country(..) => 1,
        Event::City(..) => 2,
        _ => 0,
    }
}
