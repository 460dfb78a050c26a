//! The words and numbers of a report, for the page and the e-mail.

use std::borrow::Cow;

use jiff::civil::DateTime;

use crate::question::By;
use crate::tally::Tally;

/// Returns the report's title.
pub(crate) fn title(by: By) -> &'static str {
    match by {
        By::City => "User events by city",
        By::Country => "User events by country",
        By::Hour => "User events by hour",
    }
}

/// Summarises the report in one sentence.
pub(crate) fn sentence(tally: &Tally) -> String {
    let events = tally.events();
    let of = tally.stats.0.len();
    let what = match (tally.question.by, of) {
        (By::City, 1) => "city",
        (By::City, _) => "cities",
        (By::Country, 1) => "country",
        (By::Country, _) => "countries",
        (By::Hour, 1) => "hour",
        (By::Hour, _) => "hours",
    };
    let range = match (tally.question.from, tally.question.to) {
        (None, None) => String::new(),
        (Some(from), None) => format!(" from {} on", time(from)),
        (None, Some(to)) => format!(" before {}", time(to)),
        (Some(from), Some(to)) => format!(" from {} until {}", time(from), time(to)),
    };
    let event = if events == 1 { "event" } else { "events" };
    let at = tally.timestamp.strftime("%Y-%m-%d %H:%M:%S");
    format!("{} {event} in {} {what}{range}, counted {at} UTC.", grouped(events), grouped(count(of)))
}

/// Returns a name as it is shown: `(none)` for a missing or blank place, and a time for an hour.
pub(crate) fn name(by: By, name: &str) -> Cow<'_, str> {
    match by {
        By::City | By::Country if name.is_empty() => "(none)".into(),
        // HTML does not allow control characters, and a terminal that shows the mail's text would obey them.
        By::City | By::Country if name.contains(char::is_control) => name.replace(char::is_control, "\u{fffd}").into(),
        By::City | By::Country => name.into(),
        By::Hour => name.replace('T', " ").into(),
    }
}

/// Formats a number with thousands separators.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Converts a number of rows to `i64`.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn time(time: DateTime) -> String {
    time.to_string().replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::tally;

    #[test]
    fn the_summary_is_one_sentence() {
        let counted = [("Holland", 1_234_567), (" holland", 1), ("", 3)];
        assert_eq!(
            sentence(&tally(By::City, &counted)),
            "1,234,571 events in 2 cities, counted 2019-05-07 19:54:13 UTC."
        );
        assert_eq!(
            sentence(&tally(By::Hour, &[("2019-05-07T19:00", 1)])),
            "1 event in 1 hour, counted 2019-05-07 19:54:13 UTC."
        );
    }

    #[test]
    fn numbers_have_thousands_separators() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
