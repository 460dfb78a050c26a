//! Defines a change to a contract, and its severity: what the change means for events and readers.

use std::fmt;

use shared::contract::Pointer;

/// What a change means for people who send events and people who read the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Every event that the old contract accepts is still accepted, and its row is the same.
    Safe,
    /// An event that the old contract accepts may be rejected.
    Stricter,
    /// Events land differently or not at all, readers miss values, or the new contract rejects real events.
    Breaking,
}

impl Severity {
    /// Returns the severity's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Stricter => "stricter",
            Self::Breaking => "breaking",
        }
    }
}

/// The JSON pointer to the list of tables that a contract in mode `changes` allows.
pub(super) const TABLES: &str = "/x-sluice/tables";

/// The real events that a change affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Affects {
    /// No event is affected, or the events themselves do not show which of them are affected.
    Nothing,
    /// All events.
    All,
    /// The events that violate this keyword of the new contract. If `field` is given, an event counts only if it has a
    /// value at that pointer.
    Violating { keyword: String, field: Option<Pointer> },
    /// The events that have a value at one of the pointers.
    Filling(Vec<Pointer>),
    /// The events whose record key differs under the new contract.
    Rekeyed,
}

/// A change to a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The stream.
    pub stream: String,
    /// The JSON pointer to the changed part of the contract. Empty if the whole contract has changed.
    pub pointer: String,
    /// What the change means for events and readers.
    pub severity: Severity,
    /// What has changed.
    pub text: String,
    pub(super) affects: Affects,
    /// The number of events that the change affects, and the number of events that were checked. `None` if no events
    /// were checked for this change.
    pub(super) events: Option<(usize, usize)>,
}

impl Change {
    pub(super) fn new(
        stream: &str,
        pointer: impl Into<String>,
        severity: Severity,
        text: impl Into<String>,
        affects: Affects,
    ) -> Self {
        Self { stream: stream.to_owned(), pointer: pointer.into(), severity, text: text.into(), affects, events: None }
    }

    /// Records how many real events the change affects. A stricter change that rejects real events becomes breaking.
    pub(super) fn count(&mut self, affected: usize, checked: usize) {
        self.events = Some((affected, checked));
        if self.severity == Severity::Stricter && affected > 0 {
            self.severity = Severity::Breaking;
        }
    }
}

/// Formats the change as one line: `stricter order /properties/total/maximum: … (0 of 1000 events)`.
impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = if self.pointer.is_empty() { "/" } else { &self.pointer };
        write!(formatter, "{:8} {} {pointer}: {}", self.severity.name(), self.stream, self.text)?;
        match self.events {
            Some((affected, checked)) => write!(formatter, " ({affected} of {checked} events)"),
            None => Ok(()),
        }
    }
}

/// Returns whether two JSON pointers are equal, or whether one of them leads to a part of the other's value. `then` and
/// `else` count as `if`, and `minContains` and `maxContains` count as `contains`.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    let tokens = |pointer: &str| -> Vec<String> {
        let family = |token: &str| match token {
            "then" | "else" => "if".to_owned(),
            "minContains" | "maxContains" => "contains".to_owned(),
            token => token.to_owned(),
        };
        pointer.split('/').skip(1).map(family).collect()
    };
    tokens(a).iter().zip(&tokens(b)).all(|(a, b)| a == b)
}
