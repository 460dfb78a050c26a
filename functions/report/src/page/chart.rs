//! The chart: an SVG whose widths are percentages, so that its text has the same size on a phone and on a desktop.

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use maud::{Markup, html};

use crate::question::By;
use crate::tally::Tally;
use crate::wording::{count, grouped, name, title};

/// The maximum number of bars in a chart of places. The places with the most events are shown.
const MOST_PLACES: usize = 30;
/// The maximum number of columns in a chart of hours. The chart shows the latest week.
const MOST_HOURS: usize = 168;
/// The height of a bar with its text, in pixels.
const ROW_PX: usize = 40;
/// The height of the tallest column, in pixels.
const COLUMN_PX: i64 = 220;

/// Draws the chart of a report that is not empty.
pub(super) fn chart(tally: &Tally) -> Markup {
    let rows = &tally.stats.0;
    let label = title(tally.question.by);
    let (left_out, drawn) = match tally.question.by {
        By::City | By::Country => {
            let shown = &rows[..rows.len().min(MOST_PLACES)];
            let left_out = format!("The largest {} of {}.", grouped(count(shown.len())), grouped(count(rows.len())));
            ((shown.len() < rows.len()).then_some(left_out), bars(label, shown))
        }
        By::Hour => {
            let (hours, is_all) = latest_hours(rows);
            let left_out = format!("The last {MOST_HOURS} hours.");
            ((!is_all).then_some(left_out), columns(label, &hours))
        }
    };
    html! {
        section {
            h2 { "Chart" }
            @if let Some(left_out) = left_out { p { (left_out) } }
            (drawn)
        }
    }
}

/// Returns the latest hours, including those without events. Also returns whether the report has no other hours.
fn latest_hours(rows: &[(String, i64)]) -> (Vec<(String, i64)>, bool) {
    let time = |hour: &String| hour.parse::<DateTime>().ok();
    let mut hours: Vec<(DateTime, i64)> = Vec::new();
    for (at, events) in rows.iter().rev().filter_map(|(hour, events)| Some((time(hour)?, *events))) {
        // Fills in the hours without events, from the latest backwards.
        while let Some(before) = hours.last().and_then(|(hour, _)| hour.checked_sub(1.hour()).ok()).filter(|b| *b > at)
        {
            if hours.len() == MOST_HOURS {
                break;
            }
            hours.push((before, 0));
        }
        if hours.len() == MOST_HOURS {
            return (in_order(hours), false);
        }
        hours.push((at, events));
    }
    (in_order(hours), true)
}

fn in_order(hours: Vec<(DateTime, i64)>) -> Vec<(String, i64)> {
    let written = |(hour, events): (DateTime, i64)| (hour.strftime("%Y-%m-%d %H:%M").to_string(), events);
    hours.into_iter().rev().map(written).collect()
}

fn most(rows: &[(String, i64)]) -> i64 {
    rows.iter().map(|(_, events)| *events).max().unwrap_or(0).max(1)
}

fn bars(label: &str, rows: &[(String, i64)]) -> Markup {
    let most = most(rows);
    html! {
        svg role="img" aria-label=(label) width="100%" height=(rows.len() * ROW_PX) {
            @for (index, (row, events)) in rows.iter().enumerate() {
                @let top = index * ROW_PX;
                text x="0" y=(top + 16) { (shortened(&name(By::City, row))) }
                text.number x="100%" y=(top + 16) text-anchor="end" { (grouped(*events)) }
                rect.track x="0" y=(top + 23) width="100%" height="8" rx="4" {}
                rect x="0" y=(top + 23) width=(percent(*events, most)) height="8" rx="4" {
                    title { (name(By::City, row)) ": " (grouped(*events)) }
                }
            }
        }
    }
}

fn columns(label: &str, rows: &[(String, i64)]) -> Markup {
    let most = most(rows);
    let number = count(rows.len());
    let (first, last) = (rows.first(), rows.last().filter(|_| rows.len() > 1));
    html! {
        svg role="img" aria-label=(label) width="100%" height=(COLUMN_PX + 56) {
            text.number x="0" y="14" { "most: " (grouped(most)) }
            line x1="0" x2="100%" y1=(COLUMN_PX + 24) y2=(COLUMN_PX + 24) {}
            @for (index, (hour, events)) in (0..).zip(rows) {
                @let height = (*events * COLUMN_PX / most).max(i64::from(*events > 0));
                rect x=(percent(index, number)) y=(COLUMN_PX + 24 - height) width=(percent(4, 5 * number))
                    height=(height) { title { (hour) ": " (grouped(*events)) } }
            }
            @if let Some((hour, _)) = first { text x="0" y=(COLUMN_PX + 46) { (hour) } }
            @if let Some((hour, _)) = last { text x="100%" y=(COLUMN_PX + 46) text-anchor="end" { (hour) } }
        }
    }
}

/// Returns the ratio of `part` to `whole` in percent, with two decimals.
fn percent(part: i64, whole: i64) -> String {
    let share = i128::from(part) * 10_000 / i128::from(whole.max(1));
    format!("{}.{:02}%", share / 100, share % 100)
}

/// Cuts a name to the width of a phone. The table shows the whole name.
fn shortened(name: &str) -> String {
    const MOST: usize = 32;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(hours: &[&str]) -> Vec<(String, i64)> {
        hours.iter().map(|hour| ((*hour).to_owned(), 3)).collect()
    }

    #[test]
    fn hours_without_events_keep_their_place() {
        let (hours, is_all) = latest_hours(&rows(&["2026-11-20T22:00", "2026-11-21T01:00"]));
        let written: Vec<(&str, i64)> = hours.iter().map(|(hour, events)| (hour.as_str(), *events)).collect();
        assert!(is_all);
        assert_eq!(
            written,
            [("2026-11-20 22:00", 3), ("2026-11-20 23:00", 0), ("2026-11-21 00:00", 0), ("2026-11-21 01:00", 3)]
        );
    }

    #[test]
    fn a_chart_has_at_most_a_week_of_hours() {
        let (hours, is_all) = latest_hours(&rows(&["1970-01-01T00:00", "2026-11-14T00:00", "2026-11-21T01:00"]));
        assert_eq!((hours.len(), is_all), (MOST_HOURS, false));
        assert_eq!(hours[0], ("2026-11-14 02:00".to_owned(), 0));
        let (hours, is_all) = latest_hours(&rows(&["2026-11-14T02:00", "2026-11-21T01:00"]));
        assert_eq!((hours.len(), is_all), (MOST_HOURS, true));
    }
}
