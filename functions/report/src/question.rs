//! What a report is asked for: counts by what, of which time.

use jiff::Unit;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use shared::http::fields::{Fields, Malformed};

/// What events are counted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// The city's name.
    #[default]
    City,
    /// The country's name.
    Country,
    /// The hour.
    Hour,
}

impl By {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::City, Self::Country, Self::Hour];

    /// As `?by=` has it.
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
    /// What events are counted by.
    pub(crate) by: By,
    /// Events before this time are left out. Times are the events' own, which have no zone.
    pub(crate) from: Option<DateTime>,
    /// Events from this time on are left out.
    pub(crate) to: Option<DateTime>,
}

impl Question {
    /// What a query asks: `by`, `from` and `to`.
    ///
    /// # Errors
    /// A field is given twice, or is not what it should be.
    pub(crate) fn of(query: &Fields) -> Result<Self, Malformed> {
        let by = match query.get("by")? {
            None => By::default(),
            Some(name) => By::ALL
                .into_iter()
                .find(|by| by.name() == name)
                .ok_or(Malformed("by should be city, country or hour".into()))?,
        };
        let time = |name: &'static str| match query.get(name)? {
            None | Some("") => Ok(None),
            Some(text) => parse(text).map(Some).ok_or_else(|| {
                Malformed(format!("{name} should be a date or a time such as 2019-05-07T19:54:13.563").into())
            }),
        };
        Ok(Self { by, from: time("from")?, to: time("to")? })
    }

    /// The range, cut into what is counted as a whole and its ends.
    pub(crate) fn parts(&self) -> Parts {
        let grain = if self.by == By::Hour { Grain::Hour } else { Grain::Day };
        let (from, to) = (self.from.unwrap_or(DateTime::MIN), self.to.unwrap_or(DateTime::MAX));
        let first = self.from.map_or(from, |from| ceil(from, grain));
        let last = self.to.map_or(to, |to| floor(to, grain));
        if first > last {
            // Not even one hour or day is in it as a whole.
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

/// A time range, cut into parts, of which any but one may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// From here on less than an hour or a day;
    pub(crate) from: DateTime,
    /// then whole hours or days;
    pub(crate) first: DateTime,
    /// then whole months;
    pub(crate) first_month: DateTime,
    /// then whole hours or days again;
    pub(crate) last_month: DateTime,
    /// then less than one;
    pub(crate) last: DateTime,
    /// until before this.
    pub(crate) to: DateTime,
}

/// A date, a time without a zone as events have it, or one with an offset, which is taken to UTC. To the microsecond,
/// as PostgreSQL has it.
fn parse(text: &str) -> Option<DateTime> {
    // A zone's name behind the time (RFC 9557) would be read over where there is no offset.
    if text.contains('[') {
        return None;
    }
    // A `+` that nobody escaped reads as a blank.
    let escaped = text.rsplit_once(' ').map(|(time, offset)| format!("{time}+{offset}"));
    let instant = |text: &str| text.parse::<Timestamp>().ok();
    let time = if let Some(at) = instant(text).or_else(|| escaped.as_deref().and_then(instant)) {
        at.to_zoned(TimeZone::UTC).datetime()
    } else if let Ok(time) = text.parse::<DateTime>() {
        time
    } else {
        text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())
    };
    // Before that PostgreSQL counts otherwise: it knows no year 0.
    time.round(Unit::Microsecond).ok().filter(|time| time.year() > 0)
}

/// What is counted as a whole.
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
        Fields::of_query(Some(query)).and_then(|query| Question::of(&query)).map_err(|error| error.to_string())
    }

    fn from(text: &str) -> Option<String> {
        question(&format!("from={text}")).ok().and_then(|question| question.from).map(|time| time.to_string())
    }

    #[test]
    fn cities_of_all_times_are_counted_unless_told() {
        assert_eq!(question(""), Ok(Question { by: By::City, from: None, to: None }));
        assert_eq!(question("by=hour&from=&to=").map(|question| question.by), Ok(By::Hour));
        assert!(question("by=planet").is_err());
        assert!(question("by=city&by=hour").is_err());
    }

    #[test]
    fn a_time_is_a_date_or_has_a_zone_or_has_none() {
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
        assert!(question("from=yesterday").is_err_and(|error| error.contains("from should be")));
    }

    #[test]
    fn a_range_is_cut_into_months_days_and_its_ends() {
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
