//! `?validate_only=true`: checks events as usual and returns the rows that they would become, but sends nothing.
//!
//! Nothing here has access to the producer, so a dry run cannot send.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use shared::contract::{Column, Contract, Entity, Mode, Source, Unsent, Violation};
use shared::http::answer::json;
use shared::http::fields::Fields;

use crate::accept::AcceptOptions;
use crate::body::PostedEvents;
use crate::change_rows::change_rows;
use crate::check::{CheckedBatch, check_each};
use crate::entities::Operation;
use crate::error::Error;
use crate::event_error::EventError;
use crate::prefer::Prefer;

/// The name of the query parameter.
pub(crate) const VALIDATE_ONLY: &str = "validate_only";

/// The maximum total size of the rows in a response, in bytes. Lambda limits the whole response to 6 MiB.
const ROWS_BYTES: usize = 4 * 1_024 * 1_024;

/// Whether the events of a request are sent or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The events are checked and sent.
    Send,
    /// The events are only checked.
    ValidateOnly,
}

impl Purpose {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// The parameter appears twice, or its value is not `true`, `false` or empty.
    pub(crate) fn from_query(query: &Fields) -> Result<Self, Error> {
        match query.get(VALIDATE_ONLY)? {
            None | Some("false") => Ok(Self::Send),
            Some("true" | "") => Ok(Self::ValidateOnly),
            Some(_) => Err(Error::malformed("`validate_only` must be `true` or `false`.")),
        }
    }
}

/// Events that passed all checks and were not sent.
#[derive(Debug)]
pub(crate) struct Validated {
    prefer: Prefer,
    valid: usize,
    rows: Vec<Box<RawValue>>,
    omitted: usize,
    errors: Option<Vec<EventError>>,
}

/// Checks the caller's events as [`accept`](crate::accept::accept) does, and returns their rows. Sends nothing.
///
/// # Errors
/// The same errors as when the events are sent, except those of the broker. A change set also causes an error if it
/// would be rejected on landing no matter which tables exist.
pub(crate) fn validate(
    contract: &Contract,
    posted: &PostedEvents,
    operation: Option<Operation>,
    options: AcceptOptions<'_>,
) -> Result<Validated, Error> {
    let rules = options.rules(contract, operation);
    let unsent = Unsent { topic: &contract.topic, user: rules.user, traceparent: rules.traceparent };
    let (mut rows, mut omitted, mut bytes) = (Vec::new(), 0, 0);
    let CheckedBatch { valid, errors } = check_each(posted, rules, |index, event, encoded| {
        for row in shown(contract, index, event, encoded, &unsent)? {
            match to_raw_value(&row).ok().filter(|row| bytes + row.get().len() <= ROWS_BYTES && omitted == 0) {
                Some(row) => {
                    bytes += row.get().len();
                    rows.push(row);
                }
                None => omitted += 1,
            }
        }
        Ok(())
    })?;
    let errors = rules.is_lenient.then_some(errors);
    Ok(Validated { prefer: options.into_prefer().without_wait(), valid: valid.len(), rows, omitted, errors })
}

/// Returns the rows of an event: one row or, in mode `changes`, a row for each change.
///
/// # Errors
/// The event is a change set that would be rejected on landing, no matter which tables exist.
fn shown(
    contract: &Contract,
    index: usize,
    event: &Value,
    encoded: &[u8],
    unsent: &Unsent<'_>,
) -> Result<Vec<Map<String, Value>>, Vec<Violation>> {
    match &contract.mode {
        Mode::Append { landing, .. } | Mode::Upsert { landing, .. } => Ok(vec![landing.show(encoded, unsent)]),
        Mode::Entity(entity) => {
            let mut row = entity.landing.show(encoded, unsent);
            row.retain(|name, _| is_written(entity, event, name));
            Ok(vec![row])
        }
        Mode::Changes(changes) => change_rows(changes, index, event),
    }
}

/// Returns whether a column is in the row that is shown for a command. The row of a creation has all columns. The row
/// of an update has the columns that the update sets. The row of a deletion has only the key.
fn is_written(entity: &Entity, command: &Value, name: &str) -> bool {
    let is_given = |column: &Column| match &column.from {
        Source::Event(pointer) => pointer.get(command).is_some(),
        Source::Meta(_) => true,
    };
    let columns = &entity.landing.columns;
    match Operation::from_command(command) {
        Operation::Create => true,
        Operation::Update => columns.iter().any(|column| column.name == name && is_given(column)),
        Operation::Delete => entity.key.iter().any(|&key| columns[key].name == name),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    valid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a [Box<RawValue>]>,
    #[serde(skip_serializing_if = "is_zero")]
    omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [EventError]>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl IntoResponse for Validated {
    fn into_response(self) -> Response {
        let Self { prefer, valid, rows, omitted, errors } = self;
        let rows = (!prefer.is_minimal()).then_some(rows.as_slice());
        let omitted = if rows.is_some() { omitted } else { 0 };
        let mut response = json(StatusCode::OK, &Body { valid, rows, omitted, errors: errors.as_deref() });
        if let Some(applied) = prefer.applied() {
            response.headers_mut().insert("preference-applied", applied);
        }
        response
    }
}
