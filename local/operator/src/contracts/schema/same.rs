//! Decides whether two schemas are the same. Ignores keywords that have no effect on validation.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use shared::contract::canonical;
use shared::contract::keyword::{Form, form};

/// Keywords that validate nothing themselves. A schema in `$defs` counts only where a reference leads to it.
const WITHOUT_EFFECT: [&str; 10] = [
    "$comment",
    "$defs",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];

/// Returns whether a keyword of a schema has an effect on validation.
pub(crate) fn has_effect(keyword: &str) -> bool {
    !keyword.starts_with("x-") && !WITHOUT_EFFECT.contains(&keyword)
}

/// Compares parts of two documents.
#[derive(Debug)]
pub(super) struct Sameness<'s> {
    old: &'s Value,
    new: &'s Value,
    followed: BTreeSet<&'s str>,
}

impl<'s> Sameness<'s> {
    pub(super) fn new(old: &'s Value, new: &'s Value) -> Self {
        Self { old, new, followed: BTreeSet::new() }
    }

    /// Returns whether two schemas are the same.
    pub(super) fn schemas(&mut self, old: &'s Value, new: &'s Value) -> bool {
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                let names = |schema: &'s Map<String, Value>| {
                    schema.keys().map(String::as_str).filter(|keyword| has_effect(keyword)).collect::<Vec<_>>()
                };
                names(old) == names(new)
                    && names(old).into_iter().all(|name| self.keywords(name, &old[name], &new[name]))
            }
            (old, new) => old == new,
        }
    }

    /// Returns whether two values of a keyword are the same.
    pub(super) fn keywords(&mut self, name: &str, old: &'s Value, new: &'s Value) -> bool {
        match (form(name), old, new) {
            (Form::Schema, _, _) => self.schemas(old, new),
            (Form::Schemas, Value::Array(old), Value::Array(new)) => {
                old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.schemas(old, new))
            }
            (Form::Named, Value::Object(old), Value::Object(new)) => {
                old.len() == new.len()
                    && old.iter().all(|(name, old)| new.get(name).is_some_and(|new| self.schemas(old, new)))
            }
            (Form::Reference, Value::String(old), Value::String(new)) => old == new && self.targets(old),
            (Form::Data, _, _) => canonical::text(old) == canonical::text(new),
            (Form::Schemas | Form::Named | Form::Reference, _, _) => false,
        }
    }

    /// Returns whether a reference leads to the same schema in both documents.
    fn targets(&mut self, reference: &'s str) -> bool {
        let Some(pointer) = reference.strip_prefix('#') else { return false };
        // If this reference was followed before, its targets have already been compared, or are being compared now. That
        // comparison finds any difference.
        if !self.followed.insert(reference) {
            return true;
        }
        match (self.old.pointer(pointer), self.new.pointer(pointer)) {
            (Some(old), Some(new)) => self.schemas(old, new),
            _ => false,
        }
    }
}

/// Returns whether a document contains a keyword that changes how references are resolved. The comparison does not
/// support these keywords.
pub(super) fn is_opaque(document: &Value) -> bool {
    const RESOLVING: [&str; 6] =
        ["$dynamicAnchor", "$dynamicRef", "$id", "$recursiveAnchor", "$recursiveRef", "$vocabulary"];
    fn resolves(value: &Value, is_root: bool) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, member)| {
                RESOLVING.contains(&name.as_str()) && !(is_root && name == "$id") || resolves(member, false)
            }),
            Value::Array(elements) => elements.iter().any(|element| resolves(element, false)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    resolves(document, true)
}
