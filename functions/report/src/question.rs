//! The question that a report answers: what to count by, and in which time range.

use jiff::Unit;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use shared::http::fields::{Fields, Malformed};

/// The property that a report counts events by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    #[default]
    City,
    Country,
    Hour,
}

impl By {
    pub(crate) const ALL: [Self; 3] = [Self::City, Self::Country, Self::Hour];

    /// Returns the value of `?by=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::City => "city",
            Self::Country => "country",
            Self::Hour => "hour",
        }
    }
}

/// A question that `GET /report` answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) by: By,
    /// Events before this time are excluded. Like the time of an event, this time has no zone.
    pub(crate) from: Option<DateTime>,
    /// Events at or after this time are excluded.
    pub(crate) to: Option<DateTime>,
}

impl Question {
    /// The names of the query parameters.
    pub(crate) const PARAMETERS: [&str; 3] = ["by", "from", "to"];

    /// Reads `by`, `from` and `to` from a query.
    ///
    /// # Errors
    /// A field appears twice or is malformed.
    pub(crate) fn from_query(query: &Fields) -> Result<Self, Malformed> {
        let by = match query.get("by")? {
            None => By::default(),
            Some(name) => By::ALL
                .into_iter()
                .find(|by| by.name() == name)
                .ok_or(Malformed("`by` must be `city`, `country` or `hour`.".into()))?,
        };
        let time = |name: &'static str| match query.get(name)? {
            None | Some("") => Ok(None),
            Some(text) => parse(text).map(Some).ok_or_else(|| {
                Malformed(format!("`{name}` must be a date or a time such as 2019-05-07T19:54:13.563.").into())
            }),
        };
        Ok(Self { by, from: time("from")?, to: time("to")? })
    }

    /// Splits the range into whole months, whole days, and the rest at both ends. If events are counted by hour, splits
    /// it into whole hours and the rest at both ends.
    pub(crate) fn parts(&self) -> Parts {
        let grain = if self.by == By::Hour { Grain::Hour } else { Grain::Day };
        let (from, to) = (self.from.unwrap_or(DateTime::MIN), self.to.unwrap_or(DateTime::MAX));
        let first = self.from.map_or(from, |from| ceil(from, grain));
        let last = self.to.map_or(to, |to| floor(to, grain));
        if first > last {
            // The range contains no whole hour or day.
            let to = to.max(from);
            return Parts { from, first: to, first_month: to, last_month: to, last: to, to };
        }
        let first_month = self.from.map_or(from, |_| ceil(first, Grain::Month));
        let last_month = self.to.map_or(to, |_| floor(last, Grain::Month));
        if self.by == By::Hour || first_month >= last_month {
            return Parts { from, first, first_month: last, last_month: last, last, to };
        }
        Parts { from, first, first_month, last_month, last, to }
    }
}

/// The parts of a time range. Each part ends where the next part begins. A part may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The start of the range, and of the rest before the first whole hour or day.
    pub(crate) from: DateTime,
    /// The end of that rest, and the start of the first whole hours or days.
    pub(crate) first: DateTime,
    /// The end of these hours or days, and the start of the whole months.
    pub(crate) first_month: DateTime,
    /// The end of the whole months, and the start of the last whole hours or days.
    pub(crate) last_month: DateTime,
    /// The end of these hours or days, and the start of the rest after them.
    pub(crate) last: DateTime,
    /// The end of that rest, and of the range. Events at this time are excluded.
    pub(crate) to: DateTime,
}

/// Parses a date, a time without a zone (as events have it), or a time with an offset, which is converted to UTC. The
/// precision is PostgreSQL's: microseconds.
fn parse(text: &str) -> Option<DateTime> {
    // Zone names (RFC 9557) are rejected, because the parser would ignore them after a time without an offset.
    if text.contains('[') {
        return None;
    }
    // An unescaped `+` arrives as a space.
    let escaped = text.rsplit_once(' ').map(|(time, offset)| format!("{time}+{offset}"));
    let instant = |text: &str| text.parse::<Timestamp>().ok();
    let time = if let Some(at) = instant(text).or_else(|| escaped.as_deref().and_then(instant)) {
        at.to_zoned(TimeZone::UTC).datetime()
    } else if let Ok(time) = text.parse::<DateTime>() {
        time
    } else {
        text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())
    };
    // PostgreSQL has no year 0, so its numbers of earlier years differ from those of jiff.
    time.round(Unit::Microsecond).ok().filter(|time| time.year() > 0)
}

/// A unit of time by which counts are stored.
#[derive(Debug, Clone, Copy)]
enum Grain {
    Hour,
    Day,
    Month,
}

fn floor(time: DateTime, grain: Grain) -> DateTime {
    match grain {
        Grain::Hour => time.date().at(time.hour(), 0, 0, 0),
        Grain::Day => time.date().at(0, 0, 0, 0),
        Grain::Month => time.date().first_of_month().at(0, 0, 0, 0),
    }
}

fn ceil(time: DateTime, grain: Grain) -> DateTime {
    let floor = floor(time, grain);
    if floor == time {
        return time;
    }
    let step = match grain {
        Grain::Hour => 1.hour(),
        Grain::Day => 1.day(),
        Grain::Month => 1.month(),
    };
    floor.checked_add(step).unwrap_or(DateTime::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str) -> Result<Question, String> {
        Fields::from_query(Some(query), &Question::PARAMETERS)
            .and_then(|query| Question::from_query(&query))
            .map_err(|error| error.to_string())
    }

    fn from(text: &str) -> Option<String> {
        question(&format!("from={text}")).ok().and_then(|question| question.from).map(|time| time.to_string())
    }

    #[test]
    fn the_default_is_all_events_by_city() {
        assert_eq!(question(""), Ok(Question { by: By::City, from: None, to: None }));
        assert_eq!(question("by=hour&from=&to=").map(|question| question.by), Ok(By::Hour));
        assert!(question("by=planet").is_err());
        assert!(question("by=city&by=hour").is_err());
    }

    #[test]
    fn a_time_may_be_a_date_and_may_have_an_offset() {
        assert_eq!(from("2019-05-07").as_deref(), Some("2019-05-07T00:00:00"));
        assert_eq!(from("2019-05-07T19:54").as_deref(), Some("2019-05-07T19:54:00"));
        assert_eq!(from("2019-05-07%2019:54:13.563").as_deref(), Some("2019-05-07T19:54:13.563"));
        assert_eq!(from("2019-05-07T19:54:13Z").as_deref(), Some("2019-05-07T19:54:13"));
        assert_eq!(from("2019-05-07T19:54:13%2B02:00").as_deref(), Some("2019-05-07T17:54:13"));
        assert_eq!(from("2019-05-07T19:54:13+02:00").as_deref(), Some("2019-05-07T17:54:13"));
        for wrong in
            ["yesterday", "0000-01-01", "-000044-03-15", "0001-01-01T00:00:00%2B02:00", "2019-05-07T10:00[Nope]"]
        {
            assert_eq!(from(wrong), None, "{wrong}");
        }
        assert!(question("from=yesterday").is_err_and(|error| error.contains("`from` must be")));
    }

    #[test]
    fn a_range_is_split_into_months_days_and_its_ends() {
        let parts = |query: &str| {
            let Parts { from, first, first_month, last_month, last, to } = question(query).unwrap().parts();
            [from, first, first_month, last_month, last, to].map(|time| time.strftime("%m-%d %H:%M").to_string())
        };
        assert_eq!(
            parts("from=2019-05-07T19:00&to=2019-05-10T01:00"),
            ["05-07 19:00", "05-08 00:00", "05-10 00:00", "05-10 00:00", "05-10 00:00", "05-10 01:00"]
        );
        assert_eq!(
            parts("from=2019-03-07T19:00&to=2019-05-10T01:00"),
            ["03-07 19:00", "03-08 00:00", "04-01 00:00", "05-01 00:00", "05-10 00:00", "05-10 01:00"]
        );
        assert_eq!(
            parts("from=2019-03-01&to=2019-05-01"),
            ["03-01 00:00", "03-01 00:00", "03-01 00:00", "05-01 00:00", "05-01 00:00", "05-01 00:00"]
        );
        assert_eq!(
            parts("by=hour&from=2019-03-07T19:30&to=2019-05-07T21:00"),
            ["03-07 19:30", "03-07 20:00", "05-07 21:00", "05-07 21:00", "05-07 21:00", "05-07 21:00"]
        );
        assert_eq!(
            parts("from=2019-05-07T19:00&to=2019-05-07T20:00"),
            ["05-07 19:00", "05-07 20:00", "05-07 20:00", "05-07 20:00", "05-07 20:00", "05-07 20:00"]
        );
        assert_eq!(parts("from=2019-05-07&to=2019-05-06"), ["05-07 00:00"; 6].map(str::to_owned));
        let open = question("to=2019-05-10").unwrap().parts();
        assert_eq!((open.from, open.first_month), (DateTime::MIN, DateTime::MIN));
        assert_eq!(open.last_month.to_string(), "2019-05-01T00:00:00");
    }
}
