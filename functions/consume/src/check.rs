//! Checks records against their contracts, before the database is involved.

use std::ops::Range;

use serde_json::Value;
use shared::contract::{Contract, Metadata, Mode, json};
use shared::ledger::{Destination, Rejection};
use shared::record::event_id::{self, PayloadHash};
use uuid::Uuid;

use crate::envelope::Envelope;

/// The event of a record, after the check.
#[derive(Debug)]
pub(crate) struct Event {
    /// The event itself, or null in the modes that need only its row.
    pub(crate) document: Value,
    /// The position of the event's row in [`Rows`]; empty in mode `changes`.
    pub(crate) row: Range<usize>,
    /// The id under which the event lands at most once.
    pub(crate) id: Option<EventId>,
}

/// An id, and a hash that reveals a different payload under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) id: Uuid,
    pub(crate) payload: PayloadHash,
    /// Whether the event is a replayed dead letter. A replay may claim the id of the rejected event.
    pub(crate) is_replay: bool,
}

/// Encoded rows, one after the other: for PostgreSQL in COPY's binary format, for BigQuery as protocol buffers.
#[derive(Debug)]
pub(crate) struct Rows {
    destination: Destination,
    bytes: Vec<u8>,
}

impl Rows {
    pub(crate) fn new(destination: Destination) -> Self {
        Self { destination, bytes: Vec::new() }
    }

    pub(crate) fn get(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// Checks a record's event and appends its row.
    pub(crate) fn check(
        &mut self,
        contract: &Contract,
        payload: &[u8],
        envelope: &Envelope<'_>,
    ) -> Result<Event, Rejection> {
        let start = self.bytes.len();
        let replay = envelope.replay();
        let metadata = envelope.metadata(replay.as_ref());
        let event = self.append(contract, payload, &metadata).inspect_err(|_| self.bytes.truncate(start))?;
        let id = event_id::from_headers(|name| envelope.header(name)).map(|id| EventId {
            id,
            payload: PayloadHash::new(&event),
            is_replay: replay.is_some(),
        });
        let document = match contract.mode {
            Mode::Append { .. } | Mode::Upsert { .. } => Value::Null,
            Mode::Entity(_) | Mode::Changes(_) => event,
        };
        Ok(Event { document, row: start..self.bytes.len(), id })
    }

    fn append(&mut self, contract: &Contract, payload: &[u8], metadata: &Metadata<'_>) -> Result<Value, Rejection> {
        let event = json::parse(payload).map_err(|error| Rejection::new("not_json", format!("not JSON: {error}")))?;
        let checked = match self.destination {
            Destination::Postgresql => {
                if let Some(landing) = contract.landing() {
                    let columns = i16::try_from(landing.columns.len()).unwrap_or(i16::MAX);
                    self.bytes.extend(columns.to_be_bytes());
                }
                contract.check(payload, &event, Some(metadata), &mut self.bytes)
            }
            Destination::Bigquery => contract.check_for_bigquery(payload, &event, metadata, &mut self.bytes),
        };
        checked.map_err(|violations| {
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
            let rejection = Rejection::new("contract_violation", list.join("; "));
            violations.iter().take(1).fold(rejection, |rejection, first| rejection.at(&first.pointer))
        })?;
        Ok(event)
    }
}
