//! Suggests plausible values for columns whose name or type shows what they contain: names, places, recent times.

use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};
use serde_json::{Number, Value};
use shared::contract::{Column, ColumnType, Contract, Mode};

use super::format::recent;

struct Place {
    city: &'static str,
    state: &'static str,
    country: &'static str,
    post_code: &'static str,
}

const fn place(city: &'static str, state: &'static str, country: &'static str, post_code: &'static str) -> Place {
    Place { city, state, country, post_code }
}

const PLACES: &[Place] = &[
    place("Baltimore", "Maryland", "United States", "21201"),
    place("McAllen", "Texas", "United States", "78501"),
    place("Holland", "Michigan", "United States", "49423"),
    place("Coeur d'Alene", "Idaho", "United States", "83814"),
    place("Winston-Salem", "North Carolina", "United States", "27101"),
    place("Québec", "Québec", "Canada", "G1R 2B5"),
    place("Zürich", "Zürich", "Switzerland", "8001"),
    place("'s-Hertogenbosch", "Noord-Brabant", "The Netherlands", "5211 AA"),
    place("Amsterdam", "Noord-Holland", "The Netherlands", "1012 JS"),
    place("São Paulo", "São Paulo", "Brazil", "01310-100"),
    place("Łódź", "Łódzkie", "Poland", "90-001"),
    place("Kraków", "Małopolskie", "Poland", "30-001"),
    place("İzmir", "İzmir", "Türkiye", "35000"),
    place("Reykjavík", "Höfuðborgarsvæðið", "Iceland", "101"),
    place("Ōsaka", "Ōsaka", "Japan", "530-0001"),
    place("東京", "東京都", "日本", "100-0001"),
    place("Αθήνα", "Αττική", "Ελλάδα", "104 31"),
    place("Київ", "Київ", "Україна", "01001"),
    place("القاهرة", "القاهرة", "مصر", "11511"),
    place("Hà Nội", "Hà Nội", "Việt Nam", "100000"),
    place("Stoke-on-Trent", "England", "United Kingdom", "ST4 1HH"),
    place("Llanfairpwllgwyngyll", "Wales", "United Kingdom", "LL61 5UJ"),
    place("Nairobi", "Nairobi County", "Kenya", "00100"),
    place("Tromsø", "Troms", "Norway", "9008"),
];

const ONSETS: &[&str] = &[
    "b", "br", "c", "ch", "d", "dr", "f", "fr", "g", "gr", "h", "j", "k", "kr", "l", "m", "n", "p", "pl", "r", "s",
    "sh", "st", "t", "tr", "v", "w", "y", "z", "ž",
];
const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "á", "é", "ö", "ü", "ā", "ai", "ou", "ia"];
const CODAS: &[&str] = &["", "", "", "l", "n", "r", "s", "m", "nd", "rk"];
const ENDINGS: &[&str] = &["", "", "", "burg", "ton", "ville", "stad", "grad", "abad", "ia", "land", "haven"];
const BEFORE: &[&str] = &["New ", "Saint-", "San ", "Bad ", "Al-", "Los ", "Port ", "L'"];

/// The fields of an event that get plausible values, by JSON pointer, and the kind of value for each.
#[derive(Debug)]
pub(super) struct Hints {
    hints: Vec<(String, Hint)>,
    /// The names of existing parents.
    pub(super) parents: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Hint {
    Name,
    Parent,
    City,
    State,
    Country,
    PostCode,
    Time(ColumnType),
}

/// A value for one field of an event.
#[derive(Debug)]
pub(super) struct Suggestion {
    pointer: String,
    value: Value,
}

impl Suggestion {
    pub(super) fn apply(&self, event: &mut Value) {
        if let Some(value) = event.pointer_mut(&self.pointer) {
            value.clone_from(&self.value);
        }
    }
}

impl Hints {
    /// Derives hints from the contract's columns.
    pub(super) fn from_columns(contract: &Contract) -> Self {
        let (parent, key) = match &contract.mode {
            Mode::Entity(entity) => (entity.parent.as_ref().map(|parent| parent.column), entity.key.as_slice()),
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => (None, &[][..]),
        };
        let columns = contract.landing().map_or(&[][..], |landing| landing.columns.as_slice());
        let hint = |(index, column): (usize, &Column)| {
            let pointer = column.from.pointer()?;
            let hint = match column.ty {
                ColumnType::Text if parent == Some(index) => Hint::Parent,
                ColumnType::Text if key.contains(&index) => Hint::Name,
                ColumnType::Text => match column.name.as_str() {
                    "city" => Hint::City,
                    "state" => Hint::State,
                    "country" => Hint::Country,
                    "post_code" | "postcode" => Hint::PostCode,
                    _ => return None,
                },
                ColumnType::Date | ColumnType::Timestamp | ColumnType::Timestamptz => Hint::Time(column.ty),
                ColumnType::Boolean
                | ColumnType::Smallint
                | ColumnType::Integer
                | ColumnType::Bigint
                | ColumnType::Real
                | ColumnType::Double
                | ColumnType::Numeric
                | ColumnType::Uuid
                | ColumnType::Jsonb => return None,
            };
            Some((pointer.as_str().to_owned(), hint))
        };
        Self { hints: columns.iter().enumerate().filter_map(hint).collect(), parents: Vec::new() }
    }

    /// Returns a plausible value for each field that has a hint and that the event contains. The value has the type of
    /// the field's present value.
    pub(super) fn suggest(&self, event: &Value, now_ms: i64, rng: &mut dyn Rng) -> Vec<Suggestion> {
        let place = PLACES.choose(rng).unwrap_or(&PLACES[0]);
        let suggest = |(pointer, hint): &(String, Hint)| {
            let present = event.pointer(pointer)?;
            let text = |text: &str| present.is_string().then(|| Value::from(text));
            let value = match hint {
                Hint::Name => text(&name(rng)),
                Hint::Parent => match self.parents.choose(rng) {
                    Some(parent) => text(parent),
                    None => text(&name(rng)),
                },
                Hint::City => text(&untidy(place.city, rng)),
                Hint::State => text(&untidy(place.state, rng)),
                Hint::Country => text(&untidy(place.country, rng)),
                Hint::PostCode => text(&untidy(place.post_code, rng)),
                Hint::Time(ty) => time(*ty, present, now_ms, rng),
            };
            Some(Suggestion { pointer: pointer.clone(), value: value? })
        };
        self.hints.iter().filter_map(suggest).collect()
    }
}

fn time(ty: ColumnType, present: &Value, now_ms: i64, rng: &mut dyn Rng) -> Option<Value> {
    let time = recent(now_ms, rng);
    let format = match ty {
        ColumnType::Timestamptz if present.is_number() => {
            let (seconds, ms) = (time.as_second(), time.subsec_millisecond());
            return format!("{seconds}.{ms:03}").parse().ok().map(|number: Number| Value::Number(number));
        }
        ColumnType::Date => "%Y-%m-%d",
        ColumnType::Timestamp => "%Y-%m-%d %H:%M:%S%.3f",
        ColumnType::Timestamptz => "%Y-%m-%dT%H:%M:%S%.3fZ",
        ColumnType::Boolean
        | ColumnType::Smallint
        | ColumnType::Integer
        | ColumnType::Bigint
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Numeric
        | ColumnType::Text
        | ColumnType::Uuid
        | ColumnType::Jsonb => return None,
    };
    present.is_string().then(|| Value::from(time.strftime(format).to_string()))
}

/// Returns a name that sounds like that of a place. The same name is hardly ever returned twice.
pub(super) fn name(rng: &mut dyn Rng) -> String {
    let mut name = String::new();
    for _ in 0..rng.random_range(2..=3) {
        for sounds in [ONSETS, VOWELS, CODAS] {
            name += sounds.choose(rng).copied().unwrap_or_default();
        }
    }
    name += ENDINGS.choose(rng).copied().unwrap_or_default();
    let mut letters = name.chars();
    let name: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    match rng.random_range(0..4) {
        0 => BEFORE.choose(rng).copied().unwrap_or_default().to_owned() + &name,
        _ => name,
    }
}

/// Returns a text as people type it: usually, but not always, correct.
fn untidy(text: &str, rng: &mut dyn Rng) -> String {
    match rng.random_range(0..20) {
        0 => text.to_lowercase(),
        1 => text.to_uppercase(),
        2 => format!("{text} "),
        3 => format!("  {text}"),
        4 => text.replace(' ', "  "),
        // Some keyboards write an accented letter as the letter followed by a combining mark.
        5 => text.replace('é', "e\u{301}").replace('ü', "u\u{308}").replace('ó', "o\u{301}"),
        _ => text.to_owned(),
    }
}
