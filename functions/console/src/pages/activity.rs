//! Shows the activity of streams in the last hour, on the overview and on the page of a stream.

use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::api::{Api, List, Refusal};
use super::chart::{Bin, Hour};
use super::letter_filter::LetterFilter;
use super::wording::{duration, number, time};

/// The CSS class and the name in the legend for each count in a [`Bin`].
const LEGEND: [(&str, &str); 3] = [("written", "written"), ("waiting", "began to wait"), ("rejected", "rejected")];

/// A stream's activity.
#[derive(Debug, Deserialize)]
pub(super) struct StreamActivity {
    pub(super) stream: String,
    pub(super) topic: String,
    pub(super) lag_events: Option<i64>,
    lag_seconds: Option<f64>,
    pub(super) oldest_waiting_at: Option<Timestamp>,
    pub(super) open_dead_letters: i64,
    minutes: Vec<Minute>,
}

#[derive(Debug, Deserialize)]
struct Minute {
    minute: Timestamp,
    written: i64,
    waiting: i64,
    rejected: i64,
    lag_ms: Option<i64>,
}

impl StreamActivity {
    /// Reads the activity of all streams in the last hour.
    pub(super) async fn list(api: &Api) -> Result<Vec<Self>, Refusal> {
        Ok(api.get::<List<Self>>("/activity?minutes=60").await?.items)
    }

    /// Reads the activity of one stream in the last hour.
    pub(super) async fn find(api: &Api, stream: &str) -> Result<Option<Self>, Refusal> {
        Ok(Self::list(api).await?.into_iter().find(|activity| activity.stream == stream))
    }

    /// Returns the activity in the last hour, minute by minute.
    pub(super) fn hour(&self, now_ms: i64) -> Hour {
        let mut hour = Hour::until(now_ms);
        for Minute { minute, written, waiting, rejected, lag_ms } in &self.minutes {
            hour.add(*minute, Bin { written: *written, waiting: *waiting, rejected: *rejected, lag_ms: *lag_ms });
        }
        hour
    }

    /// Returns the age of the oldest record that has not been applied, in milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "an age in milliseconds fits")]
    pub(super) fn lag_ms(&self) -> Option<i64> {
        self.lag_seconds.map(|seconds| (seconds * 1_000.0) as i64)
    }

    /// Shows the stream's lag.
    pub(super) fn lag(&self) -> Markup {
        html! {
            @match (self.lag_events, self.lag_ms()) {
                (Some(0), _) => span.soft { "none" },
                (Some(events), ms) => {
                    span.nowrap { (number(events)) (if events == 1 { " event" } else { " events" }) }
                    @if let Some(ms) = ms { div.soft.nowrap { (duration(ms)) } }
                },
                (None, _) => span.soft title="Kafka did not answer" { "unknown" },
            }
        }
    }

    /// Returns the path of the stream's open dead letters.
    pub(super) fn letters_path(&self) -> String {
        LetterFilter::default().with("stream", &self.stream).path("/console/dead-letters")
    }

    /// Shows the figures and the charts of the stream.
    pub(super) fn panels(&self, now_ms: i64) -> Markup {
        let hour = self.hour(now_ms);
        let backlog = Backlog {
            open_dead_letters: self.open_dead_letters,
            letters_path: self.letters_path(),
            events: self.lag_events,
            age_ms: self.lag_ms(),
        };
        html! {
            @if let Some(since) = self.oldest_waiting_at {
                p.lead { "Some events wait for their parents, the oldest since " (time(since, now_ms)) "." }
            }
            (tiles(hour.sum(), &backlog))
            (panels(&hour))
        }
    }
}

/// The open dead letters, and the records that have not been applied.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) open_dead_letters: i64,
    /// The path of the open dead letters.
    pub(super) letters_path: String,
    /// The number of records that have not been applied. `None` if Kafka did not answer.
    pub(super) events: Option<i64>,
    /// The age of the oldest of these records. `None` if it is not known.
    pub(super) age_ms: Option<i64>,
}

/// Shows the figures of an hour, and the backlog.
pub(super) fn tiles(sum: Bin, backlog: &Backlog) -> Markup {
    let Backlog { open_dead_letters: open, letters_path, events, age_ms } = backlog;
    html! {
        dl.tiles {
            div { dt { "Written in the last hour" } dd { (number(sum.written)) } }
            div { dt { "Rejected in the last hour" } dd class=[(sum.rejected > 0).then_some("bad")] { (number(sum.rejected)) } }
            div {
                dt { "Open dead letters" }
                dd { @if *open > 0 { a href=(letters_path) { (number(*open)) } } @else { "0" } }
            }
            div {
                dt { "Behind Kafka" }
                dd {
                    @match *events {
                        Some(events) => { (number(events)) " " small { (if events == 1 { "event" } else { "events" }) @if let Some(ms) = age_ms.filter(|_| events > 0) { ", " (duration(ms)) } } },
                        None => small { "Kafka did not answer" },
                    }
                }
            }
        }
    }
}

/// Shows the two charts of an hour.
pub(super) fn panels(hour: &Hour) -> Markup {
    let (most, lag) = hour.peaks();
    html! {
        div.columns.even {
            section.card {
                div.head {
                    h2 { "Events per minute" }
                    span.soft.number { "at most " (number(most)) }
                }
                (hour.bars())
                (hour.axis())
                ul.legend { @for (class, name) in LEGEND { li class=(class) { (name) } } }
            }
            section.card {
                div.head {
                    h2 { "Time from sending to landing" }
                    span.soft.number { @match lag { Some(ms) => { "at most " (duration(ms)) }, None => "nothing landed" } }
                }
                (hour.trend())
                (hour.axis())
                p.soft { "Each minute shows its slowest event." }
            }
        }
    }
}
