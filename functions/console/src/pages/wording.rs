//! Formats numbers, times and statuses for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

/// Formats a number with thousands separators.
pub(super) fn number(number: i64) -> String {
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

/// Shows a sentence, with the text between backticks as code. The texts of a `Problem` have parameters and commands in
/// backticks.
pub(super) fn sentence(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @if parts.len().is_multiple_of(2) { (text) } @else {
            @for (index, part) in parts.into_iter().enumerate() {
                @if index.is_multiple_of(2) { (part) } @else { code { (part) } }
            }
        }
    }
}

/// Formats a number of things: `1 letter`, `1,200 letters`.
pub(super) fn counted(count: i64, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(count))
}

/// Formats a duration in its two largest units. A duration below ten seconds is shown in seconds with one decimal.
pub(super) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    let (seconds, minutes, hours, days) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match ms {
        0 => "0 s".to_owned(),
        1..10_000 => format!("{}.{} s", seconds, ms % 1_000 / 100),
        10_000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => format!("{minutes} min {} s", seconds % 60),
        3_600_000..86_400_000 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{} d {} h", number(days), hours % 24),
    }
}

/// Shows the distance between a time and now, with the exact time as a tooltip.
pub(super) fn time(at: Timestamp, now_ms: i64) -> Markup {
    let exact = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) title=(exact) { (distance(at.as_millisecond(), now_ms)) } }
}

/// Like [`time`], but takes milliseconds since the Unix epoch.
pub(super) fn time_ms(at_ms: i64, now_ms: i64) -> Markup {
    time(Timestamp::from_millisecond(at_ms).unwrap_or_default(), now_ms)
}

/// Shows the exact time, and next to it the distance between that time and now.
pub(super) fn exact_time(at: Timestamp, now_ms: i64) -> Markup {
    let exact = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(at) { (exact) } " " span.soft { "(" (distance(at.as_millisecond(), now_ms)) ")" } }
}

fn distance(at_ms: i64, now_ms: i64) -> String {
    let ms = now_ms - at_ms;
    let rough = match ms.unsigned_abs() / 1_000 {
        ..5 => return "now".to_owned(),
        seconds @ 5..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", number((seconds / 86_400).cast_signed())),
    };
    if ms < 0 { format!("in {rough}") } else { format!("{rough} ago") }
}

/// Shows the status of an event, a dead letter or a run.
pub(super) fn status(name: &str) -> Markup {
    let class = match name {
        "written" | "replayed" | "done" => "good",
        "rejected" | "lost" => "bad",
        "open" | "waiting" | "pending" | "running" | "blocked" => "warn",
        _ => "plain",
    };
    html! { span class={ "badge " (class) } { (name) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_and_distances_are_short() {
        for (given, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")] {
            assert_eq!(number(given), text);
        }
        assert_eq!((counted(1, "letter"), counted(0, "letter")), ("1 letter".to_owned(), "0 letters".to_owned()));
        for (ms, text) in [
            (0, "0 s"),
            (420, "0.4 s"),
            (9_999, "9.9 s"),
            (59_999, "59 s"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h 0 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (ms, text) in [
            (4_999, "now"),
            (5_000, "5 s ago"),
            (180_000, "3 min ago"),
            (-120_000, "in 2 min"),
            (172_800_000, "2 d ago"),
        ] {
            assert_eq!(distance(0, ms), text);
        }
    }

    #[test]
    fn text_in_backticks_is_code_unless_a_backtick_is_left_over() {
        let shown = |text| sentence(text).into_string();
        assert_eq!(shown("`since` must be <a> time."), "<code>since</code> must be &lt;a&gt; time.");
        assert_eq!(shown("Sent by ann`s service."), "Sent by ann`s service.");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn the_exact_time_is_the_tooltip_of_the_rough_time() {
        let shown = time_ms(1_557_258_853_563, 1_557_258_853_563 + 180_000).into_string();
        let expected = r#"<time datetime="2019-05-07T19:54:13.563Z" title="2019-05-07 19:54:13 UTC">3 min ago</time>"#;
        assert_eq!(shown, expected);
    }
}
