//! Commands about continents, countries and cities. The population encodes the client and the sequence number, and the
//! area is a hash of the command. No two clients use the same names, so the order of one client's commands decides the
//! expected rows.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::{decimal, double, hash};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stream {
    Continent,
    Country,
    City,
}

impl Stream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Continent => "continent",
            Self::Country => "country",
            Self::City => "city",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Create,
    Update,
    Delete,
}

/// The subject of a command: its stream, its name and, for a city, its country.
pub(crate) type Key = (Stream, String, Option<String>);

#[derive(Debug, Clone, Hash)]
pub(crate) struct Command {
    operation: Operation,
    key: Key,
    /// A country's continent. `None` for other entities, and in updates and deletions that name no continent.
    continent: Option<String>,
    population: i64,
    /// The coordinates, in millionths of a degree. `None` leaves them out.
    place_millionths: Option<(i64, i64)>,
}

/// An entity, with the values of its row: parent, population, area, latitude and longitude.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entity {
    pub(crate) parent: Option<String>,
    pub(crate) population: i64,
    pub(crate) area: f64,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
}

/// All commands of a client, in order.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) commands: Vec<Command>,
}

/// The entities and rejections that a script leads to.
#[derive(Debug, Default)]
pub(crate) struct ExpectedState {
    pub(crate) entities: BTreeMap<Key, Entity>,
    /// The error codes of the rejected commands, by sequence number.
    pub(crate) rejected: BTreeMap<u64, &'static str>,
}

const CONTINENTS: usize = 4;
const COUNTRIES: usize = 20;

impl Script {
    /// Generates random commands. Entities that may have children are created once and stay. They are created late, so
    /// that many children have to wait for them.
    pub(crate) fn write(seed: u64, client: u32, events: u64) -> Self {
        let random = StdRng::seed_from_u64(hash(&(seed, client, "script")));
        let mut writer = Writer { client, random, commands: Vec::new(), existing: BTreeSet::new() };
        let events = usize::try_from(events).unwrap();
        let parents: Vec<Key> = (0..COUNTRIES)
            .map(|number| writer.key(Stream::Country, Lifetime::Lasting, number))
            .chain((0..CONTINENTS).map(|number| writer.key(Stream::Continent, Lifetime::Lasting, number)))
            .collect();
        assert!(events > 2 * parents.len(), "{events} commands are too few");
        let all_created_at = events * 6 / 10;
        while writer.commands.len() < all_created_at.max(1) - 1 {
            writer.run(all_created_at);
        }
        for parent in parents {
            if !writer.existing.contains(&parent) {
                writer.command(Operation::Create, parent);
            }
        }
        while writer.commands.len() < events {
            writer.run(events);
        }
        Self { commands: writer.commands }
    }

    /// Returns the stream of a command, and the next sequence number at which the stream changes or the commands end.
    pub(crate) fn stream(&self, sequence: u64) -> (&'static str, u64) {
        let rest = &self.commands[usize::try_from(sequence).unwrap()..];
        let stream = rest[0].key.0;
        let same = rest.iter().take_while(|command| command.key.0 == stream).count();
        (stream.name(), sequence + u64::try_from(same).unwrap())
    }

    /// Applies the commands one by one, by the documented rules of write mode `entity`.
    pub(crate) fn expected_state(&self) -> ExpectedState {
        let mut expected = ExpectedState::default();
        for (sequence, command) in (0..).zip(&self.commands) {
            let exists = expected.entities.contains_key(&command.key);
            match (command.operation, exists) {
                (Operation::Create, true) => drop(expected.rejected.insert(sequence, "already_exists")),
                (Operation::Update | Operation::Delete, false) => drop(expected.rejected.insert(sequence, "not_found")),
                (Operation::Delete, true) => drop(expected.entities.remove(&command.key)),
                (Operation::Create, false) => drop(expected.entities.insert(command.key.clone(), command.entity(None))),
                (Operation::Update, true) => {
                    let entity = expected.entities.get_mut(&command.key).unwrap();
                    *entity = command.entity(Some(entity));
                }
            }
        }
        expected
    }
}

impl Command {
    pub(crate) fn json(&self) -> Value {
        let (stream, name, country) = &self.key;
        let operation = match self.operation {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
        };
        let mut event = json!({ "op": operation, "name": name, "population": self.population, "area": self.area() });
        if let Some(country) = country {
            event["country"] = json!(country);
        }
        if let Some(continent) = &self.continent {
            event["continent"] = json!(continent);
        }
        if let (Stream::City, Some((latitude, longitude))) = (stream, self.place_millionths) {
            event["latitude"] = serde_json::from_str(&decimal(latitude)).unwrap();
            event["longitude"] = serde_json::from_str(&decimal(longitude)).unwrap();
        }
        event
    }

    /// Returns the command's hash, which is sent as the entity's area.
    fn area(&self) -> u64 {
        hash(self) % (1 << 40)
    }

    /// Returns the entity's state after this command. `before` is the state before the command.
    fn entity(&self, before: Option<&Entity>) -> Entity {
        let (_, _, country) = &self.key;
        let parent = country.clone().or(self.continent.clone()).or(before.and_then(|before| before.parent.clone()));
        let place = self.place_millionths.filter(|_| self.key.0 == Stream::City);
        Entity {
            parent,
            population: self.population,
            area: self.area() as f64,
            latitude: place.map(|place| double(place.0)).or(before.and_then(|before| before.latitude)),
            longitude: place.map(|place| double(place.1)).or(before.and_then(|before| before.longitude)),
        }
    }
}

/// Decodes the client and the sequence number from a population.
pub(crate) fn origin(population: i64) -> Option<(u32, u64)> {
    let client = u32::try_from(population >> 32).ok()?;
    let sequence = u64::try_from(population & 0xffff_ffff).ok()?;
    Some((client, sequence))
}

struct Writer {
    client: u32,
    random: StdRng,
    commands: Vec<Command>,
    /// The entities that exist after the commands.
    existing: BTreeSet<Key>,
}

impl Writer {
    /// Adds several consecutive commands of one stream. A batch contains commands of only one stream, so batches would
    /// be tiny if the stream changed after every command.
    fn run(&mut self, until: usize) {
        let stream = match self.random.random_range(0..100) {
            0..4 => Stream::Continent,
            4..20 => Stream::Country,
            _ => Stream::City,
        };
        let length = match stream {
            Stream::Continent => self.random.random_range(1..4),
            Stream::Country => self.random.random_range(1..20),
            Stream::City => self.random.random_range(1..300),
        };
        for _ in 0..length.min(until - self.commands.len()) {
            self.any(stream);
        }
    }

    fn any(&mut self, stream: Stream) {
        let lifetime = if self.random.random_bool(0.25) { Lifetime::Lasting } else { Lifetime::Passing };
        let most = match (stream, lifetime) {
            (Stream::Continent, Lifetime::Lasting) => CONTINENTS,
            (Stream::Country, Lifetime::Lasting) => COUNTRIES,
            (Stream::Continent | Stream::Country, _) => 10,
            (Stream::City, _) => 200,
        };
        let number = self.random.random_range(0..most);
        let key = self.key(stream, lifetime, number);
        let operation = match (lifetime, self.existing.contains(&key), self.random.random_range(0..100)) {
            // A parent that is created late makes its children wait.
            (Lifetime::Lasting, false, 10..) if stream != Stream::City => return,
            // The commands of the next three lines break the rules and are rejected.
            (Lifetime::Passing, false, 0..5) => Operation::Delete,
            (Lifetime::Passing, false, 5..10) => Operation::Update,
            (_, true, 0..10) => Operation::Create,
            (_, false, _) => Operation::Create,
            (Lifetime::Passing, true, 10..40) => Operation::Delete,
            (_, true, _) => Operation::Update,
        };
        self.command(operation, key);
    }

    fn key(&self, stream: Stream, lifetime: Lifetime, number: usize) -> Key {
        let client = self.client;
        let name = format!("{} {number} of {client}{}", stream.name(), lifetime.suffix());
        let country = (stream == Stream::City).then(|| format!("country {} of {client}", number % COUNTRIES));
        (stream, name, country)
    }

    fn command(&mut self, operation: Operation, key: Key) {
        let client = self.client;
        match operation {
            Operation::Create => drop(self.existing.insert(key.clone())),
            Operation::Delete => drop(self.existing.remove(&key)),
            Operation::Update => {}
        }
        let moves = operation == Operation::Create || self.random.random_bool(0.2);
        let continent = format!("continent {} of {client}", self.random.random_range(0..CONTINENTS));
        let continent = (key.0 == Stream::Country && moves).then_some(continent);
        let place =
            (self.random.random_range(-90_000_000..=90_000_000), self.random.random_range(-180_000_000..=180_000_000));
        let place_millionths = self.random.random_bool(0.5).then_some(place);
        let population = i64::from(client) << 32 | i64::try_from(self.commands.len()).unwrap();
        self.commands.push(Command { operation, key, continent, population, place_millionths });
    }
}

/// The lifetime of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    /// The entity is created and stays, so it may have children.
    Lasting,
    /// The entity is created and deleted.
    Passing,
}

impl Lifetime {
    fn suffix(self) -> &'static str {
        match self {
            Self::Lasting => "",
            Self::Passing => ", passing",
        }
    }
}
