//! Shows why events cannot land: the broker or the database does not answer, or partitions are stalled.

use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::activity::StreamActivity;
use super::api::{Api, Refusal};
use super::event_place::partition_place;
use super::query::encoded;
use super::wording::{sentence, time};

/// The stalled partitions, or the refusal if the broker or the database does not answer.
#[derive(Debug)]
pub(super) struct Stalls(Result<Vec<Stall>, Refusal>);

#[derive(Debug, Deserialize)]
struct Stall {
    topic: String,
    partition: i32,
    reason: String,
    since: Timestamp,
}

/// The partitions of a topic that are stalled for the same reason.
struct Group<'s> {
    topic: &'s str,
    reason: &'s str,
    partitions: Vec<i32>,
    /// When the first of these partitions stalled.
    since: Timestamp,
}

impl Stalls {
    /// Reads the stalled partitions.
    pub(super) async fn read(api: &Api) -> Self {
        #[derive(Deserialize)]
        struct Health {
            #[serde(default)]
            stalled: Vec<Stall>,
        }
        Self(api.get::<Health>("/health").await.map(|health| health.stalled))
    }

    /// Keeps only the stalled partitions of a topic.
    pub(super) fn of_topic(mut self, topic: &str) -> Self {
        if let Ok(stalls) = &mut self.0 {
            stalls.retain(|stall| stall.topic == topic);
        }
        self
    }

    /// Returns why a partition is stalled.
    pub(super) fn reason(&self, topic: &str, partition: i32) -> Option<&str> {
        let mut stalls = self.0.as_deref().unwrap_or_default().iter();
        stalls.find(|stall| stall.topic == topic && stall.partition == partition).map(|stall| stall.reason.as_str())
    }

    /// Shows the problem if the broker or the database does not answer. Otherwise, shows the stalled partitions, with
    /// links to their streams.
    pub(super) fn show(&self, streams: &[StreamActivity], now_ms: i64) -> Markup {
        let groups = match &self.0 {
            Ok(stalls) => grouped(stalls),
            Err(refusal) => return html! { p.notice.bad { (sentence(refusal.detail())) } },
        };
        html! {
            @if !groups.is_empty() {
                section.notice.bad {
                    h2 { "Events of these partitions cannot land" }
                    p { "Nothing is lost: the events wait in Kafka, and land by themselves as soon as the cause is removed." }
                    ul { @for group in &groups { li { (group.show(streams, now_ms)) } } }
                }
            }
        }
    }
}

fn grouped(stalls: &[Stall]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for Stall { topic, partition, reason, since } in stalls {
        match groups.iter_mut().find(|group| group.topic == topic && group.reason == reason) {
            Some(group) => {
                group.partitions.push(*partition);
                group.since = group.since.min(*since);
            }
            None => groups.push(Group { topic, reason, partitions: vec![*partition], since: *since }),
        }
    }
    groups
}

impl Group<'_> {
    fn show(&self, streams: &[StreamActivity], now_ms: i64) -> Markup {
        let stream = streams.iter().find(|stream| stream.topic == self.topic);
        html! {
            (self.reason)
            div {
                @for (index, partition) in self.partitions.iter().enumerate() {
                    @if index > 0 { ", " }
                    code { (partition_place(self.topic, *partition)) }
                }
                " since " (time(self.since, now_ms))
                @if let Some(StreamActivity { stream, .. }) = stream {
                    " · " a href={ "/console/streams/" (encoded(stream)) } { "Open the stream " (stream) }
                }
            }
        }
    }
}
