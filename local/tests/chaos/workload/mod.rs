//! The workload: events that carry their client, their sequence number and a hash in their own fields. An event depends
//! only on the seed, the client and the sequence number, so it can be generated again and compared with its row.

pub(crate) mod entities;
pub(crate) mod routes;
pub(crate) mod user_events;

use std::hash::{DefaultHasher, Hash, Hasher as _};

use self::entities::Script;

/// A client that sends events of one kind, batch by batch.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) events: u64,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Routes,
    UserEvents,
    Entities(Script),
}

/// Returns the clients. Half of the events are routes, three in ten are user events, and two in ten are commands about
/// entities.
pub(crate) fn clients(seed: u64, events: u64) -> Vec<Client> {
    const SENDERS: [(u32, u64); 3] = [(4, 50), (3, 30), (2, 20)];
    let mut clients: Vec<Client> = Vec::new();
    for (kind, (senders, percent)) in SENDERS.into_iter().enumerate() {
        for _ in 0..senders {
            let number = u32::try_from(clients.len()).unwrap();
            let events = events * percent / 100 / u64::from(senders);
            let kind = match kind {
                0 => Kind::Routes,
                1 => Kind::UserEvents,
                _ => Kind::Entities(Script::write(seed, number, events)),
            };
            clients.push(Client { number, seed, kind, events });
        }
    }
    // The first client also sends the events that the divisions leave over.
    let left = events - clients.iter().map(|client| client.events).sum::<u64>();
    clients[0].events += left;
    clients
}

impl Client {
    /// Returns the stream of an event, and the next sequence number at which the stream changes or the events end.
    pub(crate) fn stream(&self, sequence: u64) -> (&'static str, u64) {
        match &self.kind {
            Kind::Routes => ("route", self.events),
            Kind::UserEvents => ("user-event", self.events),
            Kind::Entities(script) => script.stream(sequence),
        }
    }

    /// Returns the event's JSON.
    pub(crate) fn event(&self, sequence: u64) -> String {
        match &self.kind {
            Kind::Routes => routes::Route::new(self, sequence).json(),
            Kind::UserEvents => user_events::UserEvent::new(self, sequence).json(),
            Kind::Entities(script) => script.commands[usize::try_from(sequence).unwrap()].json().to_string(),
        }
    }

    /// Returns a number that is random, but always the same for the same event and the same `of_what`.
    fn random(&self, sequence: u64, of_what: &str) -> u64 {
        hash(&(self.seed, self.number, sequence, of_what))
    }
}

pub(crate) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Formats millionths as a decimal number.
fn decimal(millionths: i64) -> String {
    let sign = if millionths < 0 { "-" } else { "" };
    let digits = millionths.unsigned_abs();
    format!("{sign}{}.{:06}", digits / 1_000_000, digits % 1_000_000)
}

/// Converts millionths to the value of a column of type double precision.
fn double(millionths: i64) -> f64 {
    decimal(millionths).parse().unwrap()
}
