//! Decides whether a record matches the query.

use serde_json::Value;
use shared::contract::{Contract, Mode, json};
use shared::kafka::reader::LogRecord;
use shared::record::headers;

/// A key or an id to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The record's key.
    Key(Vec<u8>),
    /// The id in the event's own data (the value for the contract's `dedupe` column), or a CloudEvent's `id`.
    Id {
        /// The id as the caller gave it.
        text: String,
        /// The contract's column for the id, and the encoded id. `None` if the contract names no column, or if the
        /// column cannot hold the id.
        column: Option<(usize, Vec<u8>)>,
    },
    /// An `Idempotency-Key`.
    IdempotencyKey(String),
}

impl Wanted {
    /// Looks for a key. The key is first converted to the form that the keys of the stream's records have.
    pub(super) fn with_key(contract: &Contract, key: &str) -> Self {
        Self::Key(contract.record_key_from_text(key).into_bytes())
    }

    /// Looks for the id in an event's own data (the value for the contract's `dedupe` column), or for a CloudEvent's
    /// `id`.
    pub(super) fn with_id(contract: &Contract, id: &str) -> Self {
        let column = match &contract.mode {
            Mode::Append { landing, dedupe: Some(column) } => {
                // An id may be a number.
                let values = [Some(Value::from(id)), json::parse(id.as_bytes()).ok()].into_iter().flatten();
                let mut encoded = values.filter_map(|value| landing.comparable_cell(*column, &value).ok());
                encoded.next().map(|cell| (*column, cell))
            }
            Mode::Append { dedupe: None, .. } | Mode::Upsert { .. } | Mode::Entity(_) | Mode::Changes(_) => None,
        };
        Self::Id { text: id.to_owned(), column }
    }

    /// Looks for an `Idempotency-Key`.
    pub(super) fn with_idempotency_key(key: &str) -> Self {
        Self::IdempotencyKey(key.to_owned())
    }

    /// Returns the record key that all matching records share, if there is one.
    pub(super) fn record_key(&self) -> Option<&[u8]> {
        match self {
            Self::Key(key) => Some(key),
            Self::Id { .. } | Self::IdempotencyKey(_) => None,
        }
    }

    /// Returns whether a record matches.
    pub(super) fn is(&self, contract: &Contract, record: &LogRecord) -> bool {
        let header = |name: &str| record.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
        match self {
            Self::Key(key) => record.key.as_ref() == Some(key),
            Self::IdempotencyKey(key) => {
                let found = header(headers::IDEMPOTENCY_KEY);
                found.and_then(|found| found.strip_prefix(key.as_bytes())).is_some_and(is_index)
            }
            Self::Id { text, column } => {
                header(headers::CLOUD_EVENT_ID) == Some(text.as_bytes())
                    || column.as_ref().is_some_and(|(column, cell)| has_value(contract, record, *column, cell))
            }
        }
    }
}

/// Returns whether `rest` may follow the request's `Idempotency-Key` in the header of a record. If the events were
/// posted as a batch, a space and the event's index follow the key. Otherwise, nothing follows the key.
fn is_index(rest: &[u8]) -> bool {
    match rest.split_first() {
        None => true,
        Some((blank, digits)) => *blank == b' ' && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit),
    }
}

fn has_value(contract: &Contract, record: &LogRecord, column: usize, cell: &[u8]) -> bool {
    let (Some(landing), Some(value)) = (contract.landing(), record.value.as_deref()) else { return false };
    json::parse(value).is_ok_and(|event| landing.comparable_cells(&[column], &event).is_ok_and(|found| found == cell))
}
