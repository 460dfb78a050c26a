//! The account of a run: every event that was sent is somewhere in it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::answer::{Fate, Status};

/// Reasons counted apart; with more of them, the rest is one.
const REASONS: usize = 1_000;
const OTHER_REASONS: &str = "(other reasons)";

/// How many, by reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    pub(super) fn add(&mut self, reason: &str, events: u64) {
        if events == 0 {
            return;
        }
        let is_known = self.0.len() < REASONS || self.0.contains_key(reason);
        *self.0.entry(if is_known { reason } else { OTHER_REASONS }.to_owned()).or_default() += events;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The reasons, the most frequent first.
    pub(super) fn by_count(&self) -> Vec<(&str, u64)> {
        let mut reasons: Vec<(&str, u64)> = self.0.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// What became of all events.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Events posted, and lines that hold none.
    pub(super) produced: u64,
    pub(super) requests: u64,
    /// Requests that were repeated, since their answer was lost or asked for it.
    pub(super) repeated: u64,
    /// Refused before they were accepted, by reason.
    pub(super) refused: Reasons,
    /// Without an answer that tells whether they were taken, by what went wrong.
    pub(super) unanswered: Reasons,
    pub(super) accepted: u64,
    /// Accepted, but without a receipt to follow them by.
    pub(super) without_receipt: u64,
    pub(super) written: u64,
    pub(super) duplicate: u64,
    /// In the dead letters, by reason.
    pub(super) rejected: Reasons,
    pub(super) first_sent: Option<Instant>,
    pub(super) last_decided: Option<Instant>,
}

impl Tally {
    /// Notes when a request was first sent.
    pub(super) fn sent(&mut self, first_sent: Instant) {
        self.first_sent = Some(self.first_sent.map_or(first_sent, |first| first.min(first_sent)));
    }

    /// Notes what became of an accepted event. Pending and waiting ones are the follower's to count.
    pub(super) fn decided(&mut self, fate: &Fate, now: Instant) {
        match fate.status {
            Status::Written => self.written += 1,
            Status::Duplicate => self.duplicate += 1,
            Status::Rejected => self.rejected.add(fate.reason.as_deref().unwrap_or("(no reason given)"), 1),
            Status::Pending | Status::Waiting => return,
        }
        self.last_decided = Some(now);
    }

    /// Accepted events that are written, repeat such, or are in the dead letters.
    pub(super) fn settled(&self) -> u64 {
        self.written + self.duplicate + self.rejected.count()
    }

    /// The balance once `waiting` and `pending` accepted events are left.
    pub(super) fn balance(&self, waiting: u64, pending: u64) -> Balance {
        let produced = self.accepted + self.refused.count() + self.unanswered.count();
        let accepted = self.settled() + waiting + pending + self.without_receipt;
        if produced != self.produced || accepted != self.accepted {
            return Balance::Wrong;
        }
        let is_open = waiting + pending + self.without_receipt + self.unanswered.count() > 0;
        if is_open { Balance::Open } else { Balance::Closed }
    }

    /// From the first request to the last decision.
    pub(super) fn duration(&self) -> Duration {
        match (self.first_sent, self.last_decided) {
            (Some(start), Some(end)) => end.saturating_duration_since(start),
            _ => Duration::ZERO,
        }
    }
}

/// Whether the account adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Balance {
    /// Every event is written, or was rejected or refused with a reason.
    Closed,
    /// The fate of some is not known, or not decided.
    Open,
    /// The counts contradict each other.
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally { produced: 10, accepted: 8, ..Tally::default() };
        tally.refused.add("not JSON", 2);
        for status in [Status::Written, Status::Written, Status::Duplicate, Status::Rejected, Status::Rejected] {
            tally.decided(&Fate { status, reason: Some("already exists".to_owned()) }, Instant::now());
        }
        tally
    }

    #[test]
    fn an_account_is_closed_when_every_event_is_written_or_rejected_with_a_reason() {
        let mut tally = tally();
        assert_eq!(tally.balance(3, 0), Balance::Open);
        assert_eq!(tally.balance(2, 1), Balance::Open);
        assert_eq!(tally.balance(0, 0), Balance::Wrong);
        for _ in 0..3 {
            tally.decided(&Fate { status: Status::Written, reason: None }, Instant::now());
        }
        assert_eq!(tally.balance(0, 0), Balance::Closed);
        assert_eq!(tally.rejected.by_count(), [("already exists", 2)]);
    }

    #[test]
    fn an_event_without_an_answer_or_a_receipt_keeps_the_account_open() {
        let mut without_answer = Tally { produced: 5, ..Tally::default() };
        without_answer.unanswered.add("no answer in time", 5);
        assert_eq!(without_answer.balance(0, 0), Balance::Open);
        let without_receipt = Tally { produced: 5, accepted: 5, without_receipt: 5, ..Tally::default() };
        assert_eq!(without_receipt.balance(0, 0), Balance::Open);
    }

    #[test]
    fn an_event_that_is_in_no_count_makes_the_account_wrong() {
        let mut tally = tally();
        tally.produced += 1;
        assert_eq!(tally.balance(3, 0), Balance::Wrong);
    }

    #[test]
    fn reasons_are_listed_by_how_often_they_were_given_and_do_not_grow_without_end() {
        let mut reasons = Reasons::default();
        for number in 0..2_000 {
            reasons.add(&format!("reason {number}"), 1);
        }
        reasons.add("reason 5", 9);
        assert_eq!(reasons.by_count()[..2], [(OTHER_REASONS, 1_000), ("reason 5", 10)]);
        assert_eq!(reasons.count(), 2_009);
    }
}
