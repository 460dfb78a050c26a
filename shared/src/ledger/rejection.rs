//! Why an event could not be written.

/// Why an event could not be written. A rejection contains no value of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code, such as `already_exists`, or an SQLSTATE.
    pub code: String,
    /// A sentence for people.
    pub reason: String,
    /// The constraint that refused the row, if PostgreSQL names it.
    pub constraint: Option<Box<str>>,
    /// The table that PostgreSQL names, without its schema.
    pub table: Option<Box<str>>,
    /// The column that PostgreSQL names.
    pub column: Option<Box<str>>,
    /// The JSON pointer of the wrong value in the payload, if known.
    pub pointer: Option<Box<str>>,
}

impl Rejection {
    /// Creates a rejection without a constraint, table, column or pointer.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        let (code, reason) = (code.into(), without_nul(reason.into()));
        Self { code, reason, constraint: None, table: None, column: None, pointer: None }
    }

    /// Adds the JSON pointer of the wrong value.
    #[must_use]
    pub fn at(self, pointer: &str) -> Self {
        Self { pointer: Some(without_nul(pointer.to_owned()).into()), ..self }
    }
}

/// Writes U+0000 as its JSON escape. A member's name can contain U+0000, but PostgreSQL's type `text` cannot.
fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\\u0000") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_can_be_stored_whatever_the_members_of_the_event_are_called() {
        let rejection = Rejection::new("contract", "/a\0b is wrong").at("/a\0b");
        assert_eq!((&rejection.reason[..], rejection.pointer.as_deref()), (r"/a\u0000b is wrong", Some(r"/a\u0000b")));
    }
}
