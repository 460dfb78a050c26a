//! Compiles the schemas of contracts, or parts of them.

use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Value, json};

use super::limits;

/// Compiles a schema.
pub(super) fn compile(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    limits::exact(jsonschema::options())
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // The regex engine does not backtrack, so no event can make a pattern slow.
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
}

/// A part of a contract's schema, compiled by itself.
#[derive(Debug)]
pub struct Part(Validator);

impl Part {
    /// Compiles the part of a document at a JSON pointer. The part's references are resolved in the whole document.
    /// Returns `None` if the part cannot be compiled.
    pub fn compile(document: &Value, pointer: &str) -> Option<Self> {
        const DOCUMENT: &str = "urn:sluice:contract";
        let mut embedded = document.clone();
        // References in the embedded document are resolved in that document, because it has an id.
        embedded.as_object_mut()?.insert("$id".to_owned(), DOCUMENT.into());
        let schema = json!({
            "$id": "urn:sluice:part", "$ref": format!("{DOCUMENT}#{pointer}"), "$defs": {"document": embedded}
        });
        compile(&schema).ok().map(Self)
    }

    /// Returns whether a value conforms to this part.
    pub fn accepts(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_checked_with_the_references_of_its_document() {
        let document = json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/small"}, "b~/": {"type": "string"}},
            "$defs": {"small": {"type": "integer", "maximum": 9}}
        });
        let accepts = |pointer: &str, value: Value| Part::compile(&document, pointer).map(|part| part.accepts(&value));
        assert_eq!(accepts("/properties/a", json!(9)), Some(true));
        assert_eq!(accepts("/properties/a", json!(10)), Some(false));
        assert_eq!(accepts("/$defs/small", json!("9")), Some(false));
        assert_eq!(accepts("/properties/b~0~1", json!("9")), Some(true));
        assert_eq!(accepts("", json!({"a": 10})), Some(false));
        assert_eq!(accepts("", json!({"a": 1})), Some(true));
        assert_eq!(accepts("/properties/none", json!(1)), None);
    }
}
