//! Records against their contracts: what can be decided before the database is asked.

use std::ops::Range;

use serde_json::Value;
use shared::contract::{Contract, Mode, json};
use shared::dead_letter::Rejection;
use shared::event_id;
use uuid::Uuid;

/// A record's event, checked.
#[derive(Debug)]
pub(crate) struct Event {
    /// The event itself, in the modes that need more than its row.
    pub(crate) document: Value,
    /// Its row among the [`Rows`]; empty in mode `changes`.
    pub(crate) row: Range<usize>,
    /// Under which id it lands at most once.
    pub(crate) id: Option<EventId>,
}

/// An id, and what tells another payload under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) id: Uuid,
    pub(crate) payload_hash: i64,
    /// Whether it is a dead letter that was put back: it may claim the id of an event that was rejected.
    pub(crate) is_replay: bool,
}

/// Encoded rows, one after the other, as COPY's binary format has them.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    pub(crate) fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.0[range.clone()]
    }

    /// Checks an event that lies at a place with these headers; its row is appended.
    pub(crate) fn check<'h>(
        &mut self,
        contract: &Contract,
        payload: &[u8],
        header: impl Fn(&str) -> Option<&'h [u8]>,
    ) -> Result<Event, Rejection> {
        let start = self.0.len();
        let event = self.append(contract, payload).inspect_err(|_| self.0.truncate(start))?;
        let id = event_id::of(&header).map(|id| EventId {
            id,
            payload_hash: event_id::payload_hash(&event),
            is_replay: header(event_id::REPLAY).is_some(),
        });
        let document = match contract.mode {
            Mode::Append { .. } | Mode::Upsert { .. } => Value::Null,
            Mode::Entity(_) | Mode::Changes(_) => event,
        };
        Ok(Event { document, row: start..self.0.len(), id })
    }

    fn append(&mut self, contract: &Contract, payload: &[u8]) -> Result<Value, Rejection> {
        let event = json::parse(payload)
            .map_err(|error| Rejection { code: "not_json".to_owned(), reason: format!("not JSON: {error}") })?;
        if let Some(landing) = contract.landing() {
            let columns = i16::try_from(landing.columns.len()).unwrap_or(i16::MAX);
            self.0.extend(columns.to_be_bytes());
        }
        contract.check(payload, &event, &mut self.0).map_err(|violations| {
            let list: Vec<String> = violations
                .iter()
                .map(|violation| {
                    format!(
                        "{}: {}",
                        if violation.pointer.is_empty() { "/" } else { &violation.pointer },
                        violation.detail
                    )
                })
                .collect();
            Rejection { code: "contract_violation".to_owned(), reason: list.join("; ") }
        })?;
        Ok(event)
    }
}
