//! Finds the events in a body.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use shared::contract::{NotJson, json};

use crate::error::Error;

/// The maximum number of events in a batch.
pub(crate) const MAX_EVENTS: usize = 10_000;

const TOO_MANY: Error = Error::TooLarge("A batch must not have more than 10,000 events.");

/// Returns the range of a body without the white space at its ends.
pub(super) fn trimmed(body: &[u8]) -> Range<usize> {
    trim(body, 0..body.len())
}

/// Returns whether the body begins like a JSON array.
pub(super) fn is_array(body: &[u8]) -> bool {
    body.get(trimmed(body).start) == Some(&b'[')
}

/// Returns the ranges of the lines that are not blank.
pub(super) fn lines(body: &[u8]) -> Result<Vec<Range<usize>>, Error> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in body.split(|byte| *byte == b'\n') {
        let place = trim(body, start..start + line.len());
        start += line.len() + 1;
        if !place.is_empty() {
            if lines.len() == MAX_EVENTS {
                return Err(TOO_MANY);
            }
            lines.push(place);
        }
    }
    Ok(lines)
}

/// Returns the ranges of an array's elements.
pub(super) fn elements(body: &[u8]) -> Result<Vec<Range<usize>>, Error> {
    let mut elements: Vec<&RawValue> = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let read = Elements(&mut elements).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if elements.len() > MAX_EVENTS {
        return Err(TOO_MANY);
    }
    read.map_err(|error| Error::NotJson(json::not_json(&error)))?;
    let place = |element: &RawValue| {
        let start = element.get().as_ptr().addr() - body.as_ptr().addr();
        start..start + element.get().len()
    };
    Ok(elements.into_iter().map(place).collect())
}

/// Collects an array's elements up to the limit.
struct Elements<'c, 'b>(&'c mut Vec<&'b RawValue>);

impl<'b> DeserializeSeed<'b> for Elements<'_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'b> Visitor<'b> for Elements<'_, 'b> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            self.0.push(element);
            if self.0.len() > MAX_EVENTS {
                return Err(A::Error::custom("too many elements"));
            }
        }
        Ok(())
    }
}

/// Converts the place of an error within an event to the place within the body. The event starts at byte `start`.
pub(super) fn in_body(body: &[u8], start: usize, error: NotJson) -> NotJson {
    let before = body.get(..start).unwrap_or_default();
    let lines_before = before.iter().filter(|byte| **byte == b'\n').count();
    let columns_before = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    NotJson {
        line: lines_before + error.line,
        column: if error.line == 1 { columns_before + error.column } else { error.column }.max(1),
        detail: error.detail,
    }
}

/// Trims JSON's white space at both ends.
fn trim(body: &[u8], range: Range<usize>) -> Range<usize> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let text = body.get(range.clone()).unwrap_or_default();
    let leading = text.iter().take_while(|byte| is_blank(byte)).count();
    let trailing = text[leading..].iter().rev().take_while(|byte| is_blank(byte)).count();
    range.start + leading..range.end - trailing
}
