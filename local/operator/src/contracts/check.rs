//! Checks real events against the old and the new contract, and counts how many events each change affects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use shared::contract::{Contract, Metadata, Mode, NotAllowed, Pointer, json};
use shared::kafka::reader::LogRecord;

use super::change::{Affects, TABLES, overlap};
use super::columns::keyword;

/// Checks the events of a stream against its old and its new contract.
#[derive(Debug)]
pub(super) struct Checker {
    /// The old contract, under which the events were accepted. `None` if `cargo local contracts check` was
    /// called without `--against`, or if this version of Sluice refuses the old contract.
    pub(super) old: Option<Arc<Contract>>,
    /// The new contract. `None` if the stream is gone.
    pub(super) new: Option<Arc<Contract>>,
    /// For each change, which events the change affects.
    pub(super) affects: Vec<Affects>,
}

/// The counts of a check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The number of events that the old contract accepts. If there is no old contract, the number of all JSON events.
    pub(super) checked: usize,
    /// For each change, the number of these events that the change affects.
    pub(super) affected: Vec<usize>,
    /// The number of these events that the new contract rejects for a reason that no listed change explains. There
    /// is one count for each pair of violated keyword (its pointer) and error.
    pub(super) unexplained: BTreeMap<(String, String), usize>,
}

impl Tally {
    /// Adds another tally.
    pub(super) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.affected.resize(self.affected.len().max(other.affected.len()), 0);
        for (sum, count) in self.affected.iter_mut().zip(other.affected) {
            *sum += count;
        }
        for (place, count) in other.unexplained {
            *self.unexplained.entry(place).or_default() += count;
        }
    }
}

/// Why the new contract rejects an event.
struct Rejection {
    keywords: BTreeSet<String>,
    detail: String,
}

impl Checker {
    /// Checks records of a partition. Skips records without a value, records that are not JSON, and records that the
    /// old contract rejects.
    pub(super) fn check(&self, topic: &str, partition: i32, records: &[LogRecord]) -> Tally {
        let mut tally = Tally { affected: vec![0; self.affects.len()], ..Tally::default() };
        let mut row = Vec::new();
        for record in records {
            let Some(payload) = &record.value else { continue };
            let Ok(event) = json::parse(payload) else { continue };
            let metadata = metadata(topic, partition, record);
            row.clear();
            let is_refused = |old: &Arc<Contract>| refusal(old, &event).is_some();
            let is_rejected =
                |old: &Arc<Contract>| is_refused(old) || old.check(payload, &event, Some(&metadata), &mut row).is_err();
            if self.old.as_ref().is_some_and(is_rejected) {
                continue;
            }
            row.clear();
            tally.checked += 1;
            let rejected =
                self.new.as_ref().and_then(|new| match new.check(payload, &event, Some(&metadata), &mut row) {
                    Ok(()) => refusal(new, &event),
                    Err(violations) => {
                        let first = violations.into_iter().next();
                        let detail = first.map(|violation| violation.detail).unwrap_or_default();
                        Some(Rejection { keywords: violated(new, &event), detail })
                    }
                });
            self.count(&event, rejected, &mut tally);
        }
        tally
    }

    fn count(&self, event: &Value, rejected: Option<Rejection>, tally: &mut Tally) {
        let mut is_explained = self.new.is_none();
        for (affects, count) in self.affects.iter().zip(&mut tally.affected) {
            let is_affected = self.is_affected(affects, event, rejected.as_ref());
            is_explained |= is_affected && matches!(affects, Affects::Violating { .. });
            *count += usize::from(is_affected);
        }
        if let Some(Rejection { keywords, detail }) = rejected.filter(|_| !is_explained) {
            let keyword = keywords.into_iter().next().unwrap_or_default();
            *tally.unexplained.entry((keyword, detail)).or_default() += 1;
        }
    }

    fn is_affected(&self, affects: &Affects, event: &Value, rejected: Option<&Rejection>) -> bool {
        let has_value = |pointer: &Pointer| pointer.get(event).is_some_and(|value| !value.is_null());
        match affects {
            Affects::Nothing => false,
            Affects::All => true,
            Affects::Violating { keyword, field } => {
                rejected.is_some_and(|rejected| rejected.keywords.iter().any(|violated| overlap(keyword, violated)))
                    && field.as_ref().is_none_or(|field| field.get(event).is_some())
            }
            Affects::Filling(pointers) => pointers.iter().any(has_value),
            Affects::Rekeyed => match (&self.old, &self.new) {
                (Some(old), Some(new)) => old.record_key(event) != new.record_key(event),
                _ => false,
            },
        }
    }
}

/// Returns why a contract in mode `changes` does not allow the schema or one of the tables of a change set. Returns
/// `None` for a contract in another mode.
fn refusal(contract: &Contract, event: &Value) -> Option<Rejection> {
    let Mode::Changes(changes) = &contract.mode else { return None };
    let error = changes.refusal(event)?;
    let keyword = match error {
        NotAllowed::Table(_) | NotAllowed::Name(_) => TABLES,
        NotAllowed::Schema => "/x-sluice/schema",
    };
    Some(Rejection { keywords: [keyword.to_owned()].into(), detail: error.to_string() })
}

/// Returns the pointers of the keywords that an event violates. If the event violates no keyword, returns the pointers
/// of the columns that cannot hold its values.
fn violated(contract: &Contract, event: &Value) -> BTreeSet<String> {
    let keywords = contract.violated_keywords(event);
    if !keywords.is_empty() {
        return keywords;
    }
    let landing = contract.landing().into_iter();
    let columns = landing.flat_map(|landing| landing.columns.iter().enumerate().map(move |column| (landing, column)));
    columns
        .filter(|(landing, (index, _))| landing.comparable_cells(&[*index], event).is_err())
        .map(|(_, (_, column))| keyword(&column.name))
        .collect()
}

fn metadata<'r>(topic: &'r str, partition: i32, record: &'r LogRecord) -> Metadata<'r> {
    let header = |name: &str| {
        let mut headers = record.headers.iter().filter(|(header, _)| header == name);
        headers.next().and_then(|(_, value)| value.as_deref())
    };
    Metadata {
        topic,
        partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        user: header("sluice-user"),
        traceparent: header("traceparent"),
    }
}
