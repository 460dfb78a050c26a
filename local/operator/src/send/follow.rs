//! Follows receipts until each event's outcome is known.
//!
//! The records of a partition are applied in order. Therefore, `send` looks up only the first pending event of a
//! partition until this event is no longer pending. Then `send` looks up the events that follow, many at once. In this
//! way, each event is looked up about once, however long the backlog is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::ledger::receipts::Status;

use super::answer::EventStatus;
use super::gateway::Patience;

/// The maximum number of events that are looked up at the same time: as many as fit into eight requests.
const LOOKS: usize = 800;
/// The maximum number of waiting events that are looked up as a sample. Once an event of the sample is decided, all
/// waiting events are looked up.
const SAMPLE: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The location of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look up this event.
    Look(Place),
    /// Do nothing before this time, unless an answer arrives.
    Rest(Instant),
    /// Do nothing until an answer arrives.
    Answers,
    /// Stop, unless more events will be added. Every event is decided, or too much time has passed since the last
    /// decision.
    Done,
}

/// Decides which receipts to look up.
#[derive(Debug)]
pub(super) struct Follower {
    patience: Patience,
    partitions: BTreeMap<(Arc<str>, i32), Partition>,
    waiting: BTreeSet<Place>,
    round: Round,
    looks: BTreeSet<Place>,
    moved: Instant,
}

#[derive(Debug)]
struct Partition {
    pending: BTreeSet<i64>,
    looks: usize,
    /// Whether the last lookup showed that an event is no longer pending. If so, the events that follow are probably no
    /// longer pending, either.
    is_open: bool,
    pause: Duration,
    not_before: Instant,
}

/// A round of lookups of events that wait for their parents.
#[derive(Debug)]
struct Round {
    left: VecDeque<Place>,
    not_before: Instant,
    /// Whether the round covers all waiting events instead of a sample.
    is_sweep: bool,
    /// Whether `send` gives up on waiting events after this round, unless an event is decided in this round.
    is_last: bool,
}

impl Follower {
    pub(super) fn new(patience: Patience, now: Instant) -> Self {
        let round = Round { left: VecDeque::new(), not_before: now, is_sweep: false, is_last: false };
        let (partitions, waiting) = (BTreeMap::new(), BTreeSet::new());
        Self { patience, partitions, waiting, round, looks: BTreeSet::new(), moved: now }
    }

    /// Starts following an event that is pending or waits for its parent.
    pub(super) fn follow(&mut self, place: Place, status: Status, now: Instant) {
        self.moved = now;
        if status == Status::Waiting {
            self.waiting.insert(place);
            return;
        }
        let partition = self.partitions.entry((place.topic, place.partition)).or_insert_with(|| Partition {
            pending: BTreeSet::new(),
            looks: 0,
            is_open: false,
            pause: FIRST_PAUSE,
            not_before: now,
        });
        partition.pending.insert(place.offset);
    }

    /// Returns the next step. `is_final` means that no more events will be added.
    pub(super) fn step(&mut self, now: Instant, is_final: bool) -> Step {
        if self.looks.len() >= LOOKS {
            return Step::Answers;
        }
        if let Some(place) = self.next_pending(now) {
            return self.look(place);
        }
        let idle_since = self.moved;
        let has_pending = self.partitions.values().any(|partition| !partition.pending.is_empty());
        if self.round.left.is_empty() && self.looks.is_empty() {
            let is_stuck = is_final && !has_pending && now >= idle_since + self.patience.waiting_for;
            if is_stuck && self.round.is_last {
                return Step::Done;
            }
            if now >= self.round.not_before {
                self.begin_round(is_stuck);
                self.round.is_last = is_stuck;
            }
        }
        while let Some(place) = self.round.left.pop_front() {
            if self.waiting.contains(&place) {
                return self.look(place);
            }
        }
        match (!self.looks.is_empty(), has_pending) {
            (true, false) => Step::Answers,
            (false, false) if self.waiting.is_empty() => Step::Done,
            (false, true) if is_final && now >= idle_since + self.patience.pending_for => Step::Done,
            _ => Step::Rest(self.next_time(now, has_pending)),
        }
    }

    fn look(&mut self, place: Place) -> Step {
        self.looks.insert(place.clone());
        Step::Look(place)
    }

    fn next_pending(&mut self, now: Instant) -> Option<Place> {
        let ready = self.partitions.iter_mut().find(|(_, partition)| {
            !partition.pending.is_empty() && (partition.is_open || partition.looks == 0 && now >= partition.not_before)
        });
        let ((topic, number), partition) = ready?;
        partition.looks += 1;
        let offset = partition.pending.pop_first()?;
        Some(Place { topic: Arc::clone(topic), partition: *number, offset })
    }

    fn begin_round(&mut self, is_sweep: bool) {
        let step = if is_sweep { 1 } else { self.waiting.len().div_ceil(SAMPLE).max(1) };
        self.round.is_sweep = is_sweep;
        self.round.left = self.waiting.iter().step_by(step).cloned().collect();
    }

    fn next_time(&self, now: Instant, has_pending: bool) -> Instant {
        let idle = self.partitions.values().filter(|partition| !partition.pending.is_empty() && partition.looks == 0);
        let pending = idle.map(|partition| partition.not_before).min();
        let round = (!self.waiting.is_empty() && self.round.left.is_empty()).then_some(self.round.not_before);
        let give_up = has_pending.then_some(self.moved + self.patience.pending_for);
        pending.into_iter().chain(round).chain(give_up).filter(|time| *time > now).min().unwrap_or(now + LONGEST_PAUSE)
    }

    /// Records an answer about a place that [`Step::Look`] named. Returns whether the event is decided, and is
    /// therefore no longer followed. After an error, the event is looked up again later.
    pub(super) fn answered(&mut self, place: &Place, event_status: Result<&EventStatus, &str>, now: Instant) -> bool {
        self.looks.remove(place);
        let status = event_status.map(|event_status| event_status.status);
        if self.waiting.contains(place) {
            let is_decided = !matches!(status, Err(_) | Ok(Status::Waiting | Status::Pending));
            if is_decided {
                self.waiting.remove(place);
                self.moved = now;
                self.round.is_last = false;
                if !self.round.is_sweep {
                    // Other waiting events are probably decided, too: they may have waited for the same parent, or may
                    // have reached the time limit for waiting at the same moment.
                    self.begin_round(true);
                }
            } else if self.round.left.is_empty() {
                self.round.not_before = now + self.patience.look_every;
            }
            return is_decided;
        }
        let Some(partition) = self.partitions.get_mut(&(Arc::clone(&place.topic), place.partition)) else {
            return false;
        };
        partition.looks -= 1;
        partition.is_open = !matches!(status, Err(_) | Ok(Status::Pending));
        if partition.is_open {
            self.moved = now;
            partition.pause = FIRST_PAUSE;
        } else {
            partition.pending.insert(place.offset);
            partition.not_before = now + partition.pause;
            partition.pause = (partition.pause * 2).min(LONGEST_PAUSE);
        }
        if status == Ok(Status::Waiting) {
            self.waiting.insert(place.clone());
        }
        partition.is_open && status != Ok(Status::Waiting)
    }

    /// Returns how many events wait for their parents.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many events are pending, not counting the events that are being looked up.
    pub(super) fn backlog(&self) -> usize {
        self.partitions.values().map(|partition| partition.pending.len()).sum()
    }

    /// Returns the places of the events that are still pending.
    pub(super) fn pending(&self) -> Vec<Place> {
        let asked = self.looks.iter().filter(|place| !self.waiting.contains(place)).cloned();
        let others = self.partitions.iter().flat_map(|((topic, partition), state)| {
            let place = |offset: &i64| Place { topic: Arc::clone(topic), partition: *partition, offset: *offset };
            state.pending.iter().map(place)
        });
        asked.chain(others).collect()
    }
}

#[cfg(test)]
mod tests;
