//! User events: the id encodes the client and the sequence number. The post code is a hash of the other values.

use serde_json::json;
use uuid::Uuid;

use super::{Client, hash};

const CITIES: [&str; 6] = ["Baltimore", "McAllen", "Zürich", "São Paulo", "東京", "L'Aquila \"bella\""];

#[derive(Debug, Hash)]
pub(crate) struct UserEvent {
    id: u128,
    city: &'static str,
    state: Option<String>,
    country: Option<&'static str>,
    datetime: String,
}

/// A row of `user_events`, with the time as text to the microsecond.
pub(crate) type Row = (Uuid, String, Option<String>, Option<String>, Option<String>, String);

impl UserEvent {
    pub(crate) fn new(client: &Client, sequence: u64) -> Self {
        let random = |of_what, below| client.random(sequence, of_what) % below;
        let city = CITIES[usize::try_from(random("city", 6)).unwrap()];
        Self {
            id: u128::from(client.number) << 96 | u128::from(sequence),
            city,
            state: (random("state", 4) > 0).then(|| format!("State {}", random("state's number", 50))),
            country: (random("country", 4) > 0).then_some("Country"),
            datetime: format!(
                "2019-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
                random("month", 12) + 1,
                random("day", 28) + 1,
                random("hour", 24),
                random("minute", 60),
                random("second", 60),
                random("fraction", 1_000_000)
            ),
        }
    }

    pub(crate) fn json(&self) -> String {
        let Self { id, city, state, country, datetime } = self;
        let address = json!({ "city": city, "state": state, "country": country, "postCode": self.post_code() });
        json!({ "id": Uuid::from_u128(*id).to_string(), "address": address, "datetime": datetime }).to_string()
    }

    pub(crate) fn row(&self) -> Row {
        let Self { id, city, state, country, datetime } = self;
        let country = country.map(str::to_owned);
        let id = Uuid::from_u128(*id);
        (id, (*city).to_owned(), state.clone(), country, Some(self.post_code()), datetime.clone())
    }

    /// Returns the post code, which is a hash of the other values.
    fn post_code(&self) -> String {
        format!("{:016x}", hash(self))
    }
}

/// Decodes the client and the sequence number from a row. `None` if no client made the row's id.
pub(crate) fn origin((id, ..): &Row) -> Option<(u32, u64)> {
    let id = id.as_u128();
    let client = u32::try_from(id >> 96).ok()?;
    let sequence = u64::try_from(id & ((1 << 96) - 1)).ok()?;
    Some((client, sequence))
}
