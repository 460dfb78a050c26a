//! Replays: dead letters that were sent to their topic again.
//!
//! A replay's headers name the dead letter by its record's place in Kafka instead of by its id, because a restored
//! database can give the id to another letter. A place includes the record's time, which distinguishes the record from
//! a record at the same offset of a recreated topic.

use std::collections::BTreeMap;
use std::fmt;

use super::place::{Place, number};

/// The header that names the event's original record, whose rejection created the first dead letter. All replays of an
/// event carry the same value. If the event has no other id, its id is derived from this value. Older versions wrote
/// the id of the first dead letter.
pub const FIRST: &str = "sluice-replay";
/// The header that names the dead letter that this record replays. The header is missing if that letter is the event's
/// first one.
pub const OF: &str = "sluice-replay-of";
/// The header that says that an operator has edited the event, and names the letter that was edited. Later replays of
/// the edited event keep this header.
pub const EDITED: &str = "sluice-replay-edited";
/// The header that gives the offsets up to which `console` searched for later events with the same key, in the form of
/// [`Searched`]. Forced replays, and replays in streams that need no search, do not have this header.
pub const SEARCHED: &str = "sluice-replay-checked";

/// How a replay names the letter that it replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// By its record's place.
    At(Place),
    /// By its id, as older versions did.
    Numbered(i64),
}

/// What a replay's headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The letter that the record replays.
    pub letter: Letter,
    /// The place of the event's original record or, if the headers do not name that place, the place of the replayed
    /// letter's record. `None` if the headers name no place.
    pub first: Option<Place>,
    /// The offsets up to which `console` searched for later events with the same key and found none. `None` if
    /// `console` did not search.
    pub searched: Option<Searched>,
}

/// For each partition, the offset below which no later event with the key was found. The text form is a list such as
/// `0/17,1/4`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Searched(BTreeMap<i32, i64>);

impl Searched {
    /// Notes that a partition was searched up to an offset.
    pub fn note(&mut self, partition: i32, until: i64) {
        self.0.insert(partition, until);
    }

    /// Returns the offset up to which a partition was searched.
    pub fn until(&self, partition: i32) -> Option<i64> {
        self.0.get(&partition).copied()
    }

    fn read(text: &str) -> Option<Self> {
        let part = |part: &str| {
            let (partition, until) = part.split_once('/')?;
            Some((number(partition)?, number(until)?))
        };
        text.split(',').map(part).collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, until)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}/{until}")?;
        }
        Ok(())
    }
}

impl Replay {
    /// Reads the headers of a record of `topic`. Returns `None` if the record is not a replay.
    ///
    /// `header` returns the first value of the header that has the given name.
    pub fn from_headers<'h>(topic: &str, header: impl Fn(&str) -> Option<&'h [u8]>) -> Option<Self> {
        let text = |name: &str| std::str::from_utf8(header(name)?).ok();
        let place = |text: &str| Place::parse(text).filter(|place| place.topic == topic);
        // Every replay must have an id. `event_id` ignores empty headers, so a record whose header `FIRST` is empty may
        // have no id. Such a record therefore does not count as a replay.
        let root = text(FIRST).filter(|root| !root.is_empty())?;
        let first = place(root);
        let letter = match (text(OF), &first) {
            (Some(of), _) => Letter::At(place(of)?),
            (None, Some(first)) => Letter::At(first.clone()),
            (None, None) => Letter::Numbered(number(root)?),
        };
        let first = first.or_else(|| match &letter {
            Letter::At(place) => Some(place.clone()),
            Letter::Numbered(_) => None,
        });
        let searched = text(SEARCHED).and_then(Searched::read);
        Some(Self { letter, first, searched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &'static str)]) -> Option<Replay> {
        Replay::from_headers("orders", |name| {
            headers.iter().find(|(header, _)| *header == name).map(|(_, v)| v.as_bytes())
        })
    }

    fn place(offset: i64) -> Place {
        Place { topic: "orders".to_owned(), partition: 3, offset, timestamp_ms: 1_700_000_000_000 }
    }

    #[test]
    fn a_replay_names_its_letter_and_the_first_record_of_its_event() {
        assert_eq!(place(41).to_string(), "orders/3/41/1700000000000");
        let (first, second) = ("orders/3/41/1700000000000", "orders/3/50/1700000000000");
        let once = Replay { letter: Letter::At(place(41)), first: Some(place(41)), searched: None };
        assert_eq!(read(&[(FIRST, first)]), Some(once.clone()));
        let mut searched = Searched::default();
        searched.note(3, 99);
        searched.note(0, 7);
        assert_eq!(searched.to_string(), "0/7,3/99");
        let searched = Replay { searched: Some(searched), ..once.clone() };
        assert_eq!(read(&[(FIRST, first), (SEARCHED, "0/7,3/99")]), Some(searched));
        let twice = Replay { letter: Letter::At(place(50)), ..once };
        assert_eq!(read(&[(FIRST, first), (OF, second)]), Some(twice.clone()));
        assert_eq!(read(&[(FIRST, "17"), (OF, second)]), Some(Replay { first: Some(place(50)), ..twice }));
        assert_eq!(read(&[(FIRST, "17")]), Some(Replay { letter: Letter::Numbered(17), first: None, searched: None }));
    }

    #[test]
    fn headers_of_another_form_or_topic_do_not_make_a_replay() {
        for value in
            ["", "-1", "+1", "x", "orders/3/41", "orders/3/41/1/2", "orders/-3/41/1", "others/3/41/1", "/3/4/1"]
        {
            assert_eq!(read(&[(FIRST, value)]), None, "{value}");
        }
        assert_eq!(read(&[(FIRST, "17"), (OF, "others/3/41/1")]), None);
        assert_eq!(read(&[(OF, "orders/3/41/1")]), None);
    }
}
