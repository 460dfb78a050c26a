//! The chart: an SVG whose lengths are shares of its width, so that its text is as large on a phone as on a desk.

use maud::{Markup, html};

use super::{count, grouped, name, title};
use crate::question::By;
use crate::tally::Tally;

/// Most bars of places: the largest.
const MOST_PLACES: usize = 30;
/// Most columns of hours, a week: the latest.
const MOST_HOURS: usize = 168;
/// A bar with its text, in pixels.
const ROW_PX: usize = 40;
/// The tallest column, in pixels.
const COLUMN_PX: i64 = 220;

/// The chart of a report that is not empty.
pub(super) fn chart(tally: &Tally) -> Markup {
    let rows = &tally.stats.0;
    let by = tally.question.by;
    let (shown, which) = match by {
        By::City | By::Country => (&rows[..rows.len().min(MOST_PLACES)], "largest"),
        By::Hour => (&rows[rows.len().saturating_sub(MOST_HOURS)..], "latest"),
    };
    let most = shown.iter().map(|(_, events)| *events).max().unwrap_or(0).max(1);
    html! {
        section {
            h2 { "Chart" }
            @if shown.len() < rows.len() {
                p { "The " (which) " " (grouped(count(shown.len()))) " of " (grouped(count(rows.len()))) "." }
            }
            @match by {
                By::City | By::Country => (bars(title(by), shown, most)),
                By::Hour => (columns(title(by), shown, most)),
            }
        }
    }
}

fn bars(label: &str, rows: &[(String, i64)], most: i64) -> Markup {
    html! {
        svg role="img" aria-label=(label) width="100%" height=(rows.len() * ROW_PX) {
            @for (index, (row, events)) in rows.iter().enumerate() {
                @let top = index * ROW_PX;
                text x="0" y=(top + 16) { (shortened(name(row))) }
                text.number x="100%" y=(top + 16) text-anchor="end" { (grouped(*events)) }
                rect.track x="0" y=(top + 23) width="100%" height="8" rx="4" {}
                rect x="0" y=(top + 23) width=(percent(*events, most)) height="8" rx="4" {
                    title { (name(row)) ": " (grouped(*events)) }
                }
            }
        }
    }
}

fn columns(label: &str, rows: &[(String, i64)], most: i64) -> Markup {
    let number = count(rows.len());
    let (first, last) = (rows.first(), rows.last().filter(|_| rows.len() > 1));
    html! {
        svg role="img" aria-label=(label) width="100%" height=(COLUMN_PX + 56) {
            text.number x="0" y="14" { "most: " (grouped(most)) }
            line x1="0" x2="100%" y1=(COLUMN_PX + 24) y2=(COLUMN_PX + 24) {}
            @for (index, (hour, events)) in (0..).zip(rows) {
                @let height = (*events * COLUMN_PX / most).max(1);
                rect x=(percent(index, number)) y=(COLUMN_PX + 24 - height) width=(percent(4, 5 * number))
                    height=(height) { title { (hour) ": " (grouped(*events)) } }
            }
            @if let Some((hour, _)) = first { text x="0" y=(COLUMN_PX + 46) { (hour) } }
            @if let Some((hour, _)) = last { text x="100%" y=(COLUMN_PX + 46) text-anchor="end" { (hour) } }
        }
    }
}

/// A share of the width, to a hundredth of a percent.
fn percent(part: i64, whole: i64) -> String {
    let share = i128::from(part) * 10_000 / i128::from(whole.max(1));
    format!("{}.{:02}%", share / 100, share % 100)
}

/// A name as long as a phone is wide; the table has it whole.
fn shortened(name: &str) -> String {
    const MOST: usize = 32;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}
