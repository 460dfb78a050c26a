//! Defines the conditions under which a keyword of the new schema accepts every value that the old schema accepts.

use serde_json::{Map, Value};
use shared::contract::pointer;

/// A place at which the new schema may reject a value that the old schema accepts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Narrowing {
    /// A JSON pointer into the new contract. If the new contract no longer has this place, the pointer leads into the
    /// old contract.
    pub(crate) pointer: String,
    /// The pointer of the keyword that rejects the value.
    pub(crate) keyword: String,
    /// What is no longer accepted.
    pub(crate) text: String,
}

impl Narrowing {
    /// Creates a narrowing at a keyword.
    pub(super) fn at(pointer: &str, text: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), keyword: pointer.to_owned(), text: text.into() }
    }
}

/// A condition under which a keyword accepts every value that the old schema accepts.
#[derive(Debug)]
pub(super) enum Obligation<'s> {
    /// The condition is not met, or the comparison cannot show that it is met.
    Fails(Narrowing),
    /// `new` accepts every value that is valid under every schema in `old`.
    Subset { old: Vec<&'s Value>, new: &'s Value, at: String },
    /// The new schema at a pointer accepts each of these values.
    Values { values: Vec<Value>, at: String },
    /// No value is accepted by all of `old`. If the comparison cannot show this, it reports `narrowing`.
    Gone { old: Vec<&'s Value>, narrowing: Narrowing },
}

/// A keyword of the new schema, with its siblings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyword<'s, 'p> {
    /// The keyword's name.
    pub(super) name: &'s str,
    /// The keyword's value.
    pub(super) value: &'s Value,
    /// The schema object that contains the keyword.
    pub(super) schema: &'s Map<String, Value>,
    /// The pointer of that object.
    pub(super) pointer: &'p str,
}

impl<'s> Keyword<'s, '_> {
    /// Returns the keyword's own pointer.
    pub(super) fn at(&self) -> String {
        self.below(&[])
    }

    /// Returns the pointer of a part of the keyword.
    pub(super) fn below(&self, tokens: &[&str]) -> String {
        self.pointer.to_owned() + &pointer::join([self.name].into_iter().chain(tokens.iter().copied()))
    }

    /// Returns the pointer of a sibling of the keyword, or of a part of the sibling.
    pub(super) fn beside(&self, tokens: &[&str]) -> String {
        self.pointer.to_owned() + &pointer::join(tokens.iter().copied())
    }

    /// Returns a failure at the keyword.
    pub(super) fn fails<'o>(&self, text: impl Into<String>) -> Vec<Obligation<'o>> {
        vec![Obligation::Fails(Narrowing::at(&self.at(), text))]
    }

    /// Returns no obligation if `holds` is true, and otherwise a failure at the keyword.
    pub(super) fn holds<'o>(&self, holds: bool, text: impl Into<String>) -> Vec<Obligation<'o>> {
        if holds { Vec::new() } else { self.fails(text) }
    }

    /// Returns the members of the keyword's value if this value is an object.
    pub(super) fn members(self) -> impl Iterator<Item = (&'s String, &'s Value)> {
        self.value.as_object().into_iter().flatten()
    }

    /// Returns the elements of the keyword's value if this value is an array.
    pub(super) fn elements(self) -> impl Iterator<Item = (usize, &'s Value)> {
        self.value.as_array().into_iter().flatten().enumerate()
    }
}

/// Returns whether a schema accepts everything.
pub(super) fn is_trivial(schema: &Value) -> bool {
    schema == &Value::Bool(true) || schema.as_object().is_some_and(Map::is_empty)
}
