//! An error in an event, as the response lists it.

use serde::Serialize;
use shared::contract::NotJson;

/// The maximum length of a violation's pointer or detail. Longer texts are cut, because they may repeat long names from
/// the event.
const TEXT_CHARACTERS: usize = 1_000;

/// One error in an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventError {
    /// The event's index in the batch, 0 for a single event.
    pub(crate) index: usize,
    /// A JSON pointer into the posted event.
    pub(crate) pointer: String,
    /// What is wrong, without the value.
    pub(crate) detail: String,
    /// The HTTP header that is wrong, if the error is in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<String>,
    /// The place in the body where the JSON is invalid.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<BodyPosition>,
}

/// A place in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct BodyPosition {
    line: usize,
    column: usize,
}

impl EventError {
    /// Creates an error of the event at `index`.
    pub(crate) fn new(index: usize, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            index,
            pointer: shortened(pointer.into()),
            detail: shortened(detail.into()),
            header: None,
            position: None,
        }
    }

    /// Returns the number of events with errors. The errors of one event must be adjacent.
    pub(crate) fn count_events(errors: &[Self]) -> usize {
        errors.chunk_by(|a, b| a.index == b.index).count()
    }

    /// Creates the error of an event that is not JSON. The error includes the place in the body where the JSON is
    /// invalid.
    pub(crate) fn not_json(index: usize, error: NotJson) -> Self {
        let position = Some(BodyPosition { line: error.line, column: error.column });
        Self { position, ..Self::new(index, "", format!("is not JSON: {}", error.detail)) }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}
