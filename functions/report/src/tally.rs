//! A report's counts. All spellings of a city count as one entry.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::place_name;
use crate::question::{By, Question};
use crate::summary::Counted;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// When the events were counted.
    pub(crate) timestamp: Timestamp,
    /// The question.
    #[serde(skip)]
    pub(crate) question: Question,
    /// The number of events of each city, country or hour.
    pub(crate) stats: Stats,
}

/// Names with their numbers of events. Places are sorted by number of events, hours by time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stats(pub(crate) Vec<(String, i64)>);

impl Tally {
    /// Combines the counts that answer `question`. The events were counted at `now_ms`.
    pub(crate) fn new(question: Question, counted: Vec<Counted>, now_ms: i64) -> Self {
        let stats = match question.by {
            By::City | By::Country => places(&counted),
            By::Hour => hours(counted),
        };
        Self { timestamp: Timestamp::from_millisecond(now_ms).unwrap_or_default(), question, stats }
    }

    /// Returns the total number of events.
    pub(crate) fn events(&self) -> i64 {
        self.stats.0.iter().map(|(_, events)| events).sum()
    }
}

fn hours(counted: Vec<Counted>) -> Stats {
    let mut hours: BTreeMap<String, i64> = BTreeMap::new();
    for Counted { name, events } in counted {
        *hours.entry(name).or_default() += events;
    }
    Stats(hours.into_iter().filter(|(_, events)| *events != 0).collect())
}

fn places(counted: &[Counted]) -> Stats {
    // A list of spellings is fast enough, because a place has few of them.
    let mut places: HashMap<Cow<'_, str>, Vec<(Cow<'_, str>, i64)>> = HashMap::with_capacity(counted.len());
    for Counted { name, events } in counted {
        let cleaned = place_name::clean(name);
        let spellings = places.entry(place_name::key(cleaned.clone())).or_default();
        match spellings.iter_mut().find(|(spelling, _)| *spelling == cleaned) {
            Some((_, count)) => *count += events,
            None => spellings.push((cleaned, *events)),
        }
    }
    let shown = |mut spellings: Vec<(Cow<'_, str>, i64)>| {
        spellings.retain(|(_, events)| *events != 0);
        let events = spellings.iter().map(|(_, events)| events).sum();
        let name = place_name::shown(spellings.iter().map(|(name, events)| (name.as_ref(), *events)));
        (!spellings.is_empty()).then_some((name, events))
    };
    let mut places: Vec<(String, i64)> = places.into_values().filter_map(shown).collect();
    places.sort_by(|(a, a_events), (b, b_events)| b_events.cmp(a_events).then_with(|| a.cmp(b)));
    Stats(places)
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, events) in &self.0 {
            map.serialize_entry(name, events)?;
        }
        map.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the report of these counts. The events were counted at 2019-05-07 19:54:13.563.
    pub(crate) fn tally(by: By, counted: &[(&str, i64)]) -> Tally {
        let counted = counted.iter().map(|(name, events)| Counted { name: (*name).to_owned(), events: *events });
        Tally::new(Question { by, ..Question::default() }, counted.collect(), 1_557_258_853_563)
    }

    #[test]
    fn spellings_of_a_city_are_counted_as_one_and_the_city_with_the_most_events_comes_first() {
        let counted = [("baltimore", 2), ("Baltimore ", 1), ("BALTIMORE", 4), ("McAllen", 9), ("  ", 1)];
        let tally = tally(By::City, &counted);
        assert_eq!(tally.events(), 17);
        assert_eq!(
            serde_json::to_string(&tally).unwrap(),
            r#"{"timestamp":"2019-05-07T19:54:13.563Z","stats":{"McAllen":9,"Baltimore":7,"":1}}"#
        );
    }
}
