//! Keeps track of the events that were sent: the gateway's answers, and the outcome of each event.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::ledger::receipts::Status;

use super::answer::{Decision, EventStatus, Receipt};
use super::follow::{Follower, Place};
use super::gateway::{PostResult, PostedBatch};
use super::progress::ProgressDisplay;
use super::stop::Stop;
use super::tally::SendTally;

/// The number of refused events that are reported individually.
const REFUSED_REPORTED: u64 = 5;
/// The minimum interval between messages about retried requests.
const REPORT_RETRIES_EVERY: Duration = Duration::from_secs(5);

/// The events that were sent, and the outcomes that are known so far.
pub(super) struct Account {
    pub(super) follower: Follower,
    pub(super) tally: SendTally,
    topics: Vec<Arc<str>>,
    /// Why sending ended early.
    pub(super) error: Option<String>,
    reported: u64,
    retries_reported: Option<Instant>,
    origin: &'static str,
}

impl Account {
    /// `origin` is the word that messages put before an event's number: `line` if the events come from a file,
    /// otherwise `event`.
    pub(super) fn new(follower: Follower, origin: &'static str) -> Self {
        Self {
            follower,
            tally: SendTally::default(),
            topics: Vec::new(),
            error: None,
            reported: 0,
            retries_reported: None,
            origin,
        }
    }

    /// Records the answer to a lookup of these places. The statuses are in the order of the places.
    pub(super) fn answered(
        &mut self,
        places: &[Place],
        event_statuses: &Result<Vec<EventStatus>, String>,
        now: Instant,
    ) {
        match event_statuses {
            Ok(event_statuses) => {
                for (place, event_status) in places.iter().zip(event_statuses) {
                    if self.follower.answered(place, Ok(event_status), now) {
                        self.tally.decided(event_status, place, now);
                    }
                }
            }
            Err(failure) => {
                for place in places {
                    self.follower.answered(place, Err(failure), now);
                }
            }
        }
    }

    pub(super) fn posted(&mut self, origins: &[u64], posted: PostedBatch, progress: &ProgressDisplay, stop: &Stop) {
        let PostedBatch { result, attempts, first_sent, answered } = posted;
        let events = origins.len() as u64;
        self.tally.produced += events;
        self.tally.requests += attempts;
        self.tally.repeated += attempts - 1;
        self.tally.sent(first_sent);
        match result {
            PostResult::Decided(decision) => self.decided(origins, decision, answered, progress),
            PostResult::Unanswered(failure) => {
                self.tally.unanswered.add(&failure, events, || named(self.origin, origins.first()))
            }
            PostResult::Hopeless(says) => {
                self.tally.refused.add(&says, events, || named(self.origin, origins.first()));
                self.error = Some(says);
                stop.sending.cancel();
            }
        }
    }

    fn decided(&mut self, origins: &[u64], decision: Decision, now: Instant, progress: &ProgressDisplay) {
        let Decision { receipts, without_receipt, refused, refused_alike, unmentioned } = decision;
        self.tally.accepted += receipts.len() as u64 + without_receipt;
        self.tally.without_receipt += without_receipt;
        for (index, reason) in refused {
            self.refused(origins.get(index), &reason, progress);
        }
        if let Some((reason, events)) = refused_alike {
            self.tally.refused.add(&reason, events, || named(self.origin, origins.first()));
        }
        self.tally.unanswered.add("not mentioned in the answer", unmentioned, || None);
        for receipt in receipts {
            let place = self.place(&receipt);
            match receipt.event_status() {
                None => self.follower.follow(place, Status::Pending, now),
                Some(event_status) if matches!(event_status.status, Status::Pending | Status::Waiting) => {
                    self.follower.follow(place, event_status.status, now);
                }
                Some(event_status) => self.tally.decided(&event_status, &place, now),
            }
        }
    }

    fn place(&mut self, receipt: &Receipt) -> Place {
        let topic = match self.topics.iter().find(|topic| ***topic == *receipt.topic) {
            Some(topic) => Arc::clone(topic),
            None => {
                let topic: Arc<str> = Arc::from(receipt.topic.as_str());
                self.topics.push(Arc::clone(&topic));
                topic
            }
        };
        Place { topic, partition: receipt.partition, offset: receipt.offset }
    }

    pub(super) fn no_event(&mut self, origin: u64, reason: &str, progress: &ProgressDisplay) {
        self.tally.produced += 1;
        self.refused(Some(&origin), reason, progress);
    }

    fn refused(&mut self, origin: Option<&u64>, reason: &str, progress: &ProgressDisplay) {
        let origin = || named(self.origin, origin);
        self.tally.refused.add(reason, 1, origin);
        self.reported += 1;
        if self.reported <= REFUSED_REPORTED {
            let origin = origin().map_or_else(String::new, |origin| format!("{origin}: "));
            progress.say(format_args!("{origin}refused: {reason}"));
        }
    }

    pub(super) fn again(&mut self, says: &str, progress: &ProgressDisplay) {
        let now = Instant::now();
        if self.retries_reported.is_none_or(|reported| now >= reported + REPORT_RETRIES_EVERY) {
            progress.say(format_args!("retrying requests: {says}"));
            self.retries_reported = Some(now);
        }
    }

    /// Counts the events that were sent, but for which no answer arrived before the run was stopped. `out` is their
    /// number.
    pub(super) fn given_up(&mut self, out: u64) {
        self.tally.produced += out;
        self.tally.unanswered.add("stopped before an answer arrived", out, || None);
    }
}

/// Names an event's origin, such as `line 17`.
fn named(origin: &str, number: Option<&u64>) -> Option<String> {
    number.map(|number| format!("{origin} {number}"))
}
