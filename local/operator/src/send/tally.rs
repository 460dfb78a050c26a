//! Counts the outcomes of a run, so that every event is accounted for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use shared::ledger::receipts::Status;

use super::answer::EventStatus;
use super::follow::Place;

/// The number of reasons that are counted separately. Further reasons are counted together.
const REASONS: usize = 1_000;
const OTHER_REASONS: &str = "(other reasons)";

/// Counts events by reason, and keeps one sample for each reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reasons(BTreeMap<String, Group>);

/// The events with one reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) count: u64,
    /// The location of the first of these events, such as `line 17` or the path of its receipt.
    pub(super) sample: Option<String>,
}

impl Reasons {
    /// Adds events with a reason. Evaluates `sample` only for the first event with that reason.
    pub(super) fn add(&mut self, reason: &str, events: u64, sample: impl FnOnce() -> Option<String>) {
        if events == 0 {
            return;
        }
        let is_known = self.0.len() < REASONS || self.0.contains_key(reason);
        let group = self.0.entry(if is_known { reason } else { OTHER_REASONS }.to_owned()).or_default();
        if group.count == 0 {
            group.sample = sample();
        }
        group.count += events;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|group| group.count).sum()
    }

    /// Returns the reasons, most frequent first.
    pub(super) fn by_count(&self) -> Vec<(&str, &Group)> {
        let mut reasons: Vec<(&str, &Group)> = self.0.iter().map(|(reason, group)| (reason.as_str(), group)).collect();
        reasons.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
        reasons
    }
}

/// The outcomes of all events.
#[derive(Debug, Default)]
pub(super) struct SendTally {
    /// The number of events that were posted, plus the number of lines without an event.
    pub(super) produced: u64,
    pub(super) requests: u64,
    /// Repeated requests. A request is repeated if its answer was lost, or if the answer asked for a retry.
    pub(super) repeated: u64,
    /// Events that were never accepted, grouped by reason.
    pub(super) refused: Reasons,
    /// Events for which no answer shows whether they were accepted, grouped by the kind of failure.
    pub(super) unanswered: Reasons,
    pub(super) accepted: u64,
    /// Accepted events without a receipt, which cannot be followed.
    pub(super) without_receipt: u64,
    pub(super) written: u64,
    pub(super) duplicate: u64,
    /// Events that were not written, because the row already has a higher version.
    pub(super) superseded: u64,
    /// Events that Kafka lost before they were read, grouped by reason.
    pub(super) lost: Reasons,
    /// Events that became dead letters, grouped by reason.
    pub(super) rejected: Reasons,
    pub(super) first_sent: Option<Instant>,
    pub(super) last_decided: Option<Instant>,
}

impl SendTally {
    /// Records when a request was first sent.
    pub(super) fn sent(&mut self, first_sent: Instant) {
        self.first_sent = Some(self.first_sent.map_or(first_sent, |first| first.min(first_sent)));
    }

    /// Records the outcome of an accepted event. Ignores pending and waiting events, because the follower counts them.
    pub(super) fn decided(&mut self, event_status: &EventStatus, place: &Place, now: Instant) {
        let sample = || Some(format!("/receipts/{place}"));
        match event_status.status {
            Status::Written => self.written += 1,
            Status::Duplicate => self.duplicate += 1,
            Status::Superseded => self.superseded += 1,
            Status::Rejected => {
                self.rejected.add(event_status.reason.as_deref().unwrap_or("(no reason given)"), 1, sample)
            }
            Status::Lost => {
                self.lost.add(event_status.reason.as_deref().unwrap_or("Kafka no longer had the record"), 1, sample)
            }
            Status::Pending | Status::Waiting => return,
        }
        self.last_decided = Some(now);
    }

    /// Returns how many accepted events have a final outcome.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.duplicate + self.superseded + self.lost.count() + self.rejected.count()
    }

    /// Returns how many events are known not to have landed.
    pub(super) fn failed(&self) -> u64 {
        self.refused.count() + self.rejected.count() + self.lost.count()
    }

    /// Returns the balance. `waiting` and `pending` are the numbers of accepted events that do not have a final outcome
    /// yet.
    pub(super) fn balance(&self, waiting: u64, pending: u64) -> Balance {
        let produced = self.accepted + self.refused.count() + self.unanswered.count();
        let accepted = self.settled() + waiting + pending + self.without_receipt;
        if produced != self.produced || accepted != self.accepted {
            return Balance::Wrong;
        }
        let is_open = waiting + pending + self.without_receipt + self.unanswered.count() > 0;
        if is_open { Balance::Open } else { Balance::Closed }
    }

    /// Returns the time from the first request to the last decision.
    pub(super) fn duration(&self) -> Duration {
        match (self.first_sent, self.last_decided) {
            (Some(start), Some(end)) => end.saturating_duration_since(start),
            _ => Duration::ZERO,
        }
    }
}

/// Whether the counts add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Balance {
    /// Every event has a final outcome, or was refused with a reason.
    Closed,
    /// The outcome of some events is unknown or undecided.
    Open,
    /// The counts contradict each other.
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { topic: "city".into(), partition: 3, offset: 17 }
    }

    fn tally() -> SendTally {
        let mut tally = SendTally { produced: 10, accepted: 8, ..SendTally::default() };
        tally.refused.add("not JSON", 2, || None);
        for status in [Status::Written, Status::Written, Status::Duplicate, Status::Rejected, Status::Rejected] {
            tally.decided(&EventStatus { status, reason: Some("already exists".to_owned()) }, &place(), Instant::now());
        }
        tally
    }

    #[test]
    fn the_balance_is_closed_when_every_event_is_written_or_rejected_with_a_reason() {
        let mut tally = tally();
        assert_eq!(tally.balance(3, 0), Balance::Open);
        assert_eq!(tally.balance(2, 1), Balance::Open);
        assert_eq!(tally.balance(0, 0), Balance::Wrong);
        for _ in 0..3 {
            tally.decided(&EventStatus { status: Status::Written, reason: None }, &place(), Instant::now());
        }
        assert_eq!(tally.balance(0, 0), Balance::Closed);
        let group = Group { count: 2, sample: Some("/receipts/city/3/17".to_owned()) };
        assert_eq!(tally.rejected.by_count(), [("already exists", &group)]);
    }

    #[test]
    fn a_missing_answer_or_receipt_keeps_the_balance_open() {
        let mut without_answer = SendTally { produced: 5, ..SendTally::default() };
        without_answer.unanswered.add("no answer in time", 5, || None);
        assert_eq!(without_answer.balance(0, 0), Balance::Open);
        let without_receipt = SendTally { produced: 5, accepted: 5, without_receipt: 5, ..SendTally::default() };
        assert_eq!(without_receipt.balance(0, 0), Balance::Open);
    }

    #[test]
    fn an_event_that_is_in_none_of_the_counts_makes_the_balance_wrong() {
        let mut tally = tally();
        tally.produced += 1;
        assert_eq!(tally.balance(3, 0), Balance::Wrong);
    }

    #[test]
    fn reasons_are_listed_by_frequency_and_their_number_is_bounded() {
        let mut reasons = Reasons::default();
        for number in 0..2_000 {
            reasons.add(&format!("reason {number}"), 1, || Some(number.to_string()));
        }
        reasons.add("reason 5", 9, || Some("2000".to_owned()));
        let group = |count, sample: &str| Group { count, sample: Some(sample.to_owned()) };
        let expected = [(OTHER_REASONS, &group(1_000, "1000")), ("reason 5", &group(10, "5"))];
        assert_eq!(reasons.by_count()[..2], expected);
        assert_eq!(reasons.count(), 2_009);
    }
}
