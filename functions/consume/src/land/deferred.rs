//! Finds the records of a batch that violate deferred constraints. PostgreSQL reports such a violation at COMMIT, where
//! no savepoint isolates it. The search therefore checks constraints within the transaction.
//!
//! A record may depend on a later one: a child may come before its parent, even if they are in different streams. So
//! the search has two parts:
//!
//! 1. *Grow* a consistent set: records are written in order, constraints are checked after each slice, and slices that
//!    fail are halved. A record that fails alone is set aside. The rest is consistent.
//! 2. *Bring back* the good records among those set aside. Each trial rolls back and then writes a chosen set, always
//!    in the order in which the batch is written, not in the order in which the search chose the records.
//!
//! A trial may write almost the whole batch, so the number of trials is limited. With few bad records, the search ends
//! with a set to which no record can be added. With many (for example, hundreds among thousands), a cheaper test comes
//! before the trials: it finds the records that can be written after the consistent set.

use std::collections::{HashMap, HashSet, VecDeque};

use shared::contract::Registry;
use shared::ledger::Rejection;
use sqlx::{Executor as _, PgConnection};

use super::apply::apply as apply_streams;
use super::settle::{BatchResult, StreamRecords};
use super::summary::Tally;
use crate::candidate::{Candidate, Origin};
use crate::write::{Attempt, Constraints, Context, Refusal, Signature, WriteError, write};

/// The maximum number of records that all trials of a batch may write in total. Writing them takes about two seconds.
const TRIAL_RECORDS: usize = 300_000;

/// If at most this many records are set aside, every pair of them is tried.
const ALL_PAIRS_LIMIT: usize = 64;
/// A record is combined with at most this many earlier records: the nearest ones that were refused for the same reason.
/// If at most [`ALL_PAIRS_LIMIT`] records are set aside, this limits only combinations of three or more.
const PARTNERS: usize = 12;
/// The maximum number of combinations that are tried in one pass over the records set aside.
const COMBINATIONS: usize = 4_000;

const START: &str = "savepoint start";
const RESTART: &str = "rollback to savepoint start";

/// Writes the streams' records, except those that violate a constraint, deferred or not.
///
/// # Errors
/// An environment or operator fault: the transaction must be rolled back.
pub(super) async fn apply(
    connection: &mut PgConnection,
    registry: &Registry,
    now_ms: i64,
    streams: &[StreamRecords<'_>],
    landed: Tally,
) -> Result<Tally, WriteError> {
    let constraints = Constraints::read(connection).await?;
    connection.execute(START).await?;
    let records = streams.iter().map(|stream| stream.candidates.len()).sum::<usize>().max(1);
    let trials_left = TRIAL_RECORDS / records;
    let guilty = HashSet::new();
    Search { connection, registry, now_ms, streams, landed, constraints, trials_left, guilty }.run().await
}

/// Records that were set aside, in order.
type Aside = Vec<(Origin, Refusal)>;

/// A record's stream and its index among the stream's records.
type Position = (usize, usize);

struct Search<'s, 'c> {
    connection: &'s mut PgConnection,
    registry: &'s Registry,
    now_ms: i64,
    streams: &'s [StreamRecords<'c>],
    /// What has been counted for the batch before its records are written.
    landed: Tally,
    constraints: Constraints,
    trials_left: usize,
    /// Records to blame for failed trials of the whole batch (see `eliminate`).
    guilty: HashSet<Origin>,
}

/// A consistent set: all records but those set aside.
struct Found {
    /// The set's counts, if the transaction contains this set. The last trial may have written another set.
    landed: Option<Tally>,
    aside: Aside,
}

/// A consistent set that the transaction contains.
struct Written {
    landed: Tally,
    aside: Aside,
}

impl Search<'_, '_> {
    async fn run(&mut self) -> Result<Tally, WriteError> {
        let grown = self.grow(&[]).await?;
        // If only one record was set aside, it stays out: with it, the batch would be whole, and the whole batch has
        // failed before.
        if grown.refused.len() <= 1 {
            return Ok(grown.landed);
        }
        let grown = Written { landed: grown.landed, aside: grown.refused };
        let signatures: HashSet<Signature> = grown.aside.iter().map(|(_, refusal)| refusal.signature).collect();
        if signatures.len() >= self.trials_left {
            let appended = self.append(grown).await?;
            return Ok(self.combine(appended).await?.landed);
        }
        let mut found = self.eliminate(grown.aside).await?;
        loop {
            let brought_back = self.bring_back(found).await?;
            let acquitted = self.acquit(brought_back).await?;
            let written = self.write_found(acquitted).await?;
            let before = written.aside.len();
            let Written { landed, aside } = self.combine(written).await?;
            if aside.len() == before {
                return Ok(landed);
            }
            found = Found { landed: Some(landed), aside };
        }
    }

    /// Writes all records except those in `aside`. Records that fail are set aside, too: they are the result's
    /// `refused`.
    async fn grow(&mut self, aside: &[(Origin, Refusal)]) -> Result<BatchResult, WriteError> {
        self.connection.execute(RESTART).await?;
        let excluded = excluded(aside);
        let attempt = Attempt::Checked(&self.constraints);
        let context = Context { registry: self.registry, now_ms: self.now_ms, attempt, excluded: &excluded };
        apply_streams(self.connection, &context, self.streams, self.landed.clone()).await
    }

    /// Writes all records except those in `aside`, and checks the constraints at the end.
    async fn trial(&mut self, aside: &[(Origin, Refusal)]) -> Result<Result<Tally, Signature>, WriteError> {
        self.trials_left = self.trials_left.saturating_sub(1);
        self.connection.execute(RESTART).await?;
        let excluded = excluded(aside);
        let attempt = Attempt::Chosen(&self.constraints);
        let context = Context { registry: self.registry, now_ms: self.now_ms, attempt, excluded: &excluded };
        let outcome = match apply_streams(self.connection, &context, self.streams, self.landed.clone()).await {
            Ok(outcome) => self.check("").await.map(|()| outcome),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(outcome) => Ok(Ok(outcome.landed)),
            Err(error) if error.is_isolable() => Ok(Err(error.signature())),
            Err(error) => Err(error),
        }
    }

    /// Checks the constraints, then executes `then`.
    async fn check(&mut self, then: &str) -> Result<(), WriteError> {
        self.connection.execute(format!("{} {then}", self.constraints.check()).as_str()).await?;
        Ok(())
    }

    /// Finds out which of the records set aside can be written after the consistent set: alone, in pairs, or in runs of
    /// three or more. Some records fit only together. For example, two rows may swap their unique values, or the
    /// entries of an account must add up to zero.
    async fn combine(&mut self, written: Written) -> Result<Written, WriteError> {
        let signatures: HashMap<&Origin, Signature> =
            written.aside.iter().map(|(place, refusal)| (place, refusal.signature)).collect();
        let with_signature = |position| (position, signatures.get(&self.origin(position)).copied());
        let positions: Vec<_> = self.positions(&written.aside).into_iter().map(with_signature).collect();
        let are_few = positions.len() <= ALL_PAIRS_LIMIT;
        let mut alone: Vec<(Position, Option<Signature>)> = Vec::new();
        let mut fitting: Vec<Vec<Position>> = Vec::new();
        let mut tests_left = COMBINATIONS;
        for (position, signature) in positions {
            let alike: Vec<Position> =
                alone.iter().filter(|(_, other)| *other == signature).map(|(position, _)| *position).collect();
            let recent = &alike[alike.len().saturating_sub(PARTNERS)..];
            let partners =
                if are_few { alone.iter().map(|(position, _)| *position).collect() } else { recent.to_vec() };
            let itself = are_few.then(|| vec![position]);
            let pairs = partners.iter().rev().map(|partner| vec![*partner, position]);
            let runs = (0..recent.len().saturating_sub(1)).rev().map(|start| [&recent[start..], &[position]].concat());
            alone.push((position, signature));
            for group in itself.into_iter().chain(pairs).chain(runs).take(tests_left) {
                tests_left -= 1;
                if self.fits(&group).await? {
                    alone.retain(|(position, _)| !group.contains(position));
                    fitting.push(group);
                    break;
                }
            }
        }
        self.confirm(written, fitting).await
    }

    /// Returns the positions of the records set aside. Commands that had been waiting have no position, because they
    /// are not among the streams' records.
    fn positions(&self, aside: &Aside) -> Vec<Position> {
        let places: HashSet<&Origin> = aside.iter().map(|(place, _)| place).collect();
        let of_stream = |(stream, records): (usize, &StreamRecords<'_>)| {
            let candidates = records.candidates.iter().map(Candidate::origin).enumerate();
            let aside = candidates.filter(|(_, place)| places.contains(place));
            aside.map(|(index, _)| (stream, index)).collect()
        };
        self.streams.iter().enumerate().map(of_stream).collect::<Vec<Vec<Position>>>().concat()
    }

    fn origin(&self, (stream, index): Position) -> Origin {
        self.streams[stream].candidates[index].origin()
    }

    /// Tries to write the whole batch. If the trial fails, its error has a signature: the constraint and the key that
    /// PostgreSQL names. Records that were set aside with this signature are left out of all further trials. If this
    /// leaves out only one more record, that record is guilty. The loop ends when a trial succeeds, when a signature
    /// leaves out no further record, or when no trials are left.
    async fn eliminate(&mut self, aside: Aside) -> Result<Found, WriteError> {
        let mut out: Aside = Vec::new();
        let mut is_out: HashSet<Origin> = HashSet::new();
        loop {
            let signature = match self.trial(&out).await? {
                Ok(landed) => return Ok(Found { landed: Some(landed), aside: only(aside, &is_out) }),
                Err(signature) => signature,
            };
            let is_guilty =
                |(place, of_record): &&(Origin, Refusal)| of_record.signature == signature && !is_out.contains(place);
            let guilty: Aside = aside.iter().filter(is_guilty).cloned().collect();
            if let [(place, _)] = guilty.as_slice() {
                self.guilty.insert(place.clone());
            }
            if guilty.is_empty() || self.trials_left == 0 {
                return Ok(Found { landed: None, aside });
            }
            is_out.extend(guilty.iter().map(|(place, _)| place.clone()));
            out.extend(guilty);
        }
    }

    /// Finds out which records fit at the end of the consistent set, one by one or in groups.
    async fn append(&mut self, written: Written) -> Result<Written, WriteError> {
        let aside = self.positions(&written.aside);
        let mut fitting: Vec<Vec<Position>> = Vec::new();
        let mut groups = vec![aside.as_slice()];
        while let Some(group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            if self.fits(group).await? {
                fitting.extend(group.iter().map(|&position| vec![position]));
            } else if group.len() > 1 {
                let (first, second) = group.split_at(group.len() / 2);
                groups.extend([second, first]);
            }
        }
        self.confirm(written, fitting).await
    }

    /// Writes the consistent set together with the groups that fit at its end, now in the order in which the batch is
    /// written. A record that fits at the end may fail at its place in this order, because a row that it refers to may
    /// come later. So if the groups fail together, each half of the groups is tried by itself.
    async fn confirm(&mut self, written: Written, fitting: Vec<Vec<Position>>) -> Result<Written, WriteError> {
        if fitting.is_empty() {
            return Ok(written);
        }
        let mut found = Found { landed: None, aside: written.aside };
        let mut trials = VecDeque::from([fitting]);
        while let Some(groups) = trials.pop_front() {
            let places = groups.iter().flatten().map(|&position| self.origin(position)).collect();
            if !self.add(&mut found, &places).await? {
                split(groups, &mut trials);
            }
            if self.trials_left == 0 {
                break;
            }
        }
        self.write_found(found).await
    }

    /// Writes the consistent set and these records, in order. Adds the records to the set if the constraints hold.
    async fn add(&mut self, found: &mut Found, places: &HashSet<Origin>) -> Result<bool, WriteError> {
        let rest: Aside = found.aside.iter().filter(|(place, _)| !places.contains(place)).cloned().collect();
        found.landed = self.trial(&rest).await?.ok();
        if found.landed.is_some() {
            found.aside = rest;
        }
        Ok(found.landed.is_some())
    }

    /// Writes a set that was found, unless the transaction already contains it.
    async fn write_found(&mut self, Found { landed, mut aside }: Found) -> Result<Written, WriteError> {
        if let Some(landed) = landed {
            return Ok(Written { landed, aside });
        }
        let landed = match self.trial(&aside).await? {
            Ok(landed) => landed,
            // The set fails when it is written as a whole, although it did not fail slice by slice.
            Err(_) => {
                let grown = self.grow(&aside).await?;
                aside.extend(grown.refused);
                grown.landed
            }
        };
        Ok(Written { landed, aside })
    }

    /// Writes these records after the others, and keeps them if the constraints hold.
    async fn fits(&mut self, group: &[Position]) -> Result<bool, WriteError> {
        self.connection.execute("savepoint fits").await?;
        let written = match self.write(group).await {
            Ok(()) => self.check("release savepoint fits").await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.is_isolable() => {
                self.connection.execute("rollback to savepoint fits; release savepoint fits").await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, group: &[Position]) -> Result<(), WriteError> {
        let attempt = Attempt::Checked(&self.constraints);
        let context = Context { registry: self.registry, now_ms: self.now_ms, attempt, excluded: &HashMap::new() };
        for group in group.chunk_by(|(a, _), (b, _)| a == b) {
            let StreamRecords { contract, candidates } = &self.streams[group[0].0];
            let records: Vec<Candidate<'_>> = group.iter().map(|&(_, index)| candidates[index]).collect();
            write(self.connection, &context, contract, &records).await?;
        }
        Ok(())
    }

    /// Brings back records that count as guilty although they fit. A record may have been blamed wrongly when the batch
    /// was written as a whole, for example if another record failed with the same signature.
    async fn acquit(&mut self, mut found: Found) -> Result<Found, WriteError> {
        let guilty = |(place, _): &&(Origin, Refusal)| self.guilty.contains(place);
        let guilty: Vec<Origin> = found.aside.iter().filter(guilty).map(|(place, _)| place.clone()).collect();
        for place in guilty {
            if self.trials_left == 0 {
                break;
            }
            if self.add(&mut found, &HashSet::from([place.clone()])).await? {
                self.guilty.remove(&place);
            }
        }
        Ok(found)
    }

    /// Brings back records in groups, and halves each group that fails, until no more can be brought back.
    async fn bring_back(&mut self, mut found: Found) -> Result<Found, WriteError> {
        loop {
            let before = found.aside.len();
            let mut groups: VecDeque<Vec<Origin>> = VecDeque::new();
            let doubtful: Vec<Origin> = found
                .aside
                .iter()
                .map(|(place, _)| place)
                .filter(|place| !self.guilty.contains(place))
                .cloned()
                .collect();
            if doubtful.len() < found.aside.len() {
                groups.push_back(doubtful);
            } else {
                // The whole group has failed before.
                split(doubtful, &mut groups);
            }
            while let Some(group) = groups.pop_front().filter(|group| !group.is_empty()) {
                if self.trials_left == 0 {
                    return Ok(found);
                }
                if !self.add(&mut found, &group.iter().cloned().collect()).await? {
                    split(group, &mut groups);
                }
            }
            if found.aside.len() == before {
                return Ok(found);
            }
        }
    }
}

/// Halves a group. A group of one has no halves.
fn split<T>(mut group: Vec<T>, groups: &mut VecDeque<Vec<T>>) {
    if group.len() > 1 {
        let second = group.split_off(group.len() / 2);
        groups.extend([group, second]);
    }
}

/// Returns the records in `aside` that are also in `out`.
fn only(aside: Aside, out: &HashSet<Origin>) -> Aside {
    aside.into_iter().filter(|(place, _)| out.contains(place)).collect()
}

fn excluded(aside: &[(Origin, Refusal)]) -> HashMap<Origin, Rejection> {
    aside.iter().map(|(place, refusal)| (place.clone(), refusal.rejection.clone())).collect()
}
