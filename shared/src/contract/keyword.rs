//! The keywords of JSON Schema (2020-12).

use serde_json::{Map, Value};

use super::pointer;
use super::spelling::Misspelling;
use super::wrong::Wrong;

/// The form of a keyword's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A schema.
    Schema,
    /// A list of schemas.
    Schemas,
    /// Schemas by name.
    Named,
    /// A reference to a schema.
    Reference,
    /// Anything else.
    Data,
}

/// Returns the form of a keyword's value.
pub fn form(keyword: &str) -> Form {
    match keyword {
        "additionalProperties"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Form::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Form::Schemas,
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties" => Form::Named,
        "$ref" => Form::Reference,
        _ => Form::Data,
    }
}

/// The keywords that restrict values.
const RESTRICTIONS: [&str; 43] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "then",
    "type",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
];

/// A schema within a document.
#[derive(Debug)]
pub(super) struct Subschema<'d> {
    /// The unescaped tokens of the pointer to the schema.
    tokens: Vec<String>,
    pub(super) schema: &'d Value,
}

impl Subschema<'_> {
    /// Returns the pointer to a part of the schema.
    pub(super) fn pointer_to(&self, part: &[&str]) -> String {
        pointer::join(self.tokens.iter().map(String::as_str).chain(part.iter().copied()))
    }

    /// Returns whether the pointer to the schema contains one of these tokens.
    pub(super) fn is_within(&self, tokens: &[&str]) -> bool {
        self.tokens.iter().any(|token| tokens.contains(&token.as_str()))
    }

    fn tokens_to(&self, part: &[&str]) -> Vec<String> {
        self.tokens.iter().cloned().chain(part.iter().map(|&token| token.to_owned())).collect()
    }
}

/// Lists the schemas of a document: the document itself, then the schemas within it. A schema comes before those that
/// it contains.
pub(super) fn schemas(document: &Value) -> Vec<Subschema<'_>> {
    let mut found = Vec::new();
    let mut to_visit = vec![Subschema { tokens: Vec::new(), schema: document }];
    while let Some(subschema) = to_visit.pop() {
        to_visit.extend(contained(&subschema));
        found.push(subschema);
    }
    found
}

/// Lists the schemas that the keywords of a schema contain.
fn contained<'d>(subschema: &Subschema<'d>) -> Vec<Subschema<'d>> {
    let mut found = Vec::new();
    for (keyword, value) in subschema.schema.as_object().into_iter().flatten() {
        match (form(keyword), value) {
            (Form::Schema, schema) => found.push(Subschema { tokens: subschema.tokens_to(&[keyword]), schema }),
            (Form::Schemas, Value::Array(list)) => found.extend(list.iter().enumerate().map(|(index, schema)| {
                let tokens = subschema.tokens_to(&[keyword, &index.to_string()]);
                Subschema { tokens, schema }
            })),
            (Form::Named, Value::Object(named)) => found.extend(
                named.iter().map(|(name, schema)| Subschema { tokens: subschema.tokens_to(&[keyword, name]), schema }),
            ),
            (Form::Schemas | Form::Named | Form::Reference | Form::Data, _) => {}
        }
    }
    found
}

/// Checks that no keyword of a schema is a misspelt restriction, such as `minlength`. JSON Schema ignores unknown
/// keywords, so a misspelt restriction would restrict nothing. Other unknown keywords are allowed, because they may be
/// annotations.
pub(super) fn check(document: &Value) -> Result<(), Wrong> {
    for subschema in schemas(document) {
        for keyword in subschema.schema.as_object().into_iter().flat_map(Map::keys) {
            if let Some(meant) = meant(keyword) {
                let reason = format!(
                    "JSON Schema has no keyword {keyword:?}, and would ignore it: write {meant:?} or, if this is an \
                     annotation, begin its name with \"x-\""
                );
                return Err(Wrong { pointer: subschema.pointer_to(&[keyword]), reason });
            }
        }
    }
    Ok(())
}

/// Returns the restriction that `keyword` misspells, if there is one. A keyword counts as misspelt if it differs from a
/// restriction only in case, `_` or `-`, or by a swap of two neighbouring letters. A difference of one letter counts
/// only if the restriction is long, because `note` and `when` are words of their own, and not misspelt forms of `not`
/// and `then`. If the restriction is very long, two edits count, too, as in `propertys`.
fn meant(keyword: &str) -> Option<&'static str> {
    const LONG: usize = 6;
    const VERY_LONG: usize = 10;
    // Two letters are too few: `fi` may be the code of a language, and not a misspelt `if`.
    const LONG_ENOUGH_FOR_SWAP: usize = 3;
    if RESTRICTIONS.contains(&keyword) || keyword.starts_with("x-") {
        return None;
    }
    let compared = RESTRICTIONS.into_iter().map(|known| (Misspelling::between(keyword, known), known));
    let similar = compared.filter(|(misspelling, known)| match misspelling {
        Misspelling::Nothing => true,
        Misspelling::Swap => known.len() >= LONG_ENOUGH_FOR_SWAP,
        // `enum` is short, but an annotation is unlikely to have a name this close to `enum`.
        Misspelling::Letter => known.len() >= LONG || *known == "enum",
        Misspelling::TwoEdits => known.len() >= VERY_LONG,
        Misspelling::More => false,
    });
    similar.min_by_key(|(misspelling, _)| *misspelling).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(document: &Value) -> Option<String> {
        check(document).err().map(|Wrong { pointer, reason }| format!("{pointer}: {reason}"))
    }

    #[test]
    fn a_misspelt_restriction_is_refused_wherever_a_schema_can_be() {
        for (document, at, meant) in [
            (json!({"minlength": 1}), "/minlength", "minLength"),
            (json!({"properties": {"a": {"max_length": 1}}}), "/properties/a/max_length", "maxLength"),
            (json!({"requried": ["a"]}), "/requried", "required"),
            (json!({"items": {"Enum": []}}), "/items/Enum", "enum"),
            (
                json!({"allOf": [{}, {"additionalproperties": false}]}),
                "/allOf/1/additionalproperties",
                "additionalProperties",
            ),
            (json!({"$defs": {"a/b": {"patern": "a"}}}), "/$defs/a~1b/patern", "pattern"),
            (json!({"propertys": {}}), "/propertys", "properties"),
            (json!({"items": {"additionalPropertys": false}}), "/items/additionalPropertys", "additionalProperties"),
        ] {
            let expected = format!("JSON Schema has no keyword {:?}", at.rsplit('/').next().unwrap_or_default());
            let refusal = refusal(&document).unwrap_or_default();
            assert!(refusal.starts_with(&format!("{at}: {expected}")), "{refusal}");
            assert!(refusal.contains(&format!("write {meant:?}")), "{refusal}");
        }
    }

    #[test]
    fn a_misspelt_enum_and_a_swap_of_neighbouring_letters_are_refused_although_these_restrictions_are_short() {
        for (keyword, meant) in [
            ("enmu", "enum"),
            ("enun", "enum"),
            ("tpye", "type"),
            ("cosnt", "const"),
            ("itmes", "items"),
            ("oenOf", "oneOf"),
            ("esle", "else"),
            ("nto", "not"),
            ("$erf", "$ref"),
        ] {
            let refusal = refusal(&json!({"properties": {"a": {keyword: []}}})).unwrap_or_default();
            assert!(refusal.starts_with(&format!("/properties/a/{keyword}: ")), "{refusal}");
            assert!(refusal.contains(&format!("write {meant:?}")), "{refusal}");
        }
    }

    #[test]
    fn annotations_and_names_of_properties_are_not_keywords() {
        for document in [
            json!({"properties": {"minlength": {"type": "string"}, "Required": true}, "required": ["minlength"]}),
            json!({"title": "A", "description": "b", "examples": [{"minlength": 1}], "default": {"Enum": 1}}),
            json!({"$schema": "x", "$id": "y", "$comment": "z", "$anchor": "a", "deprecated": true, "readOnly": true}),
            json!({"x-minlength": 1, "note": "n", "id": 1, "example": 5, "nullable": true, "enum": ["Enum", {"Type": 1}]}),
            json!({"definitions": {}, "dependencies": {}, "const": {"minlength": 1}, "types": 1, "when": 1}),
            json!({"fi": "suomeksi", "x-enmu": 1, "unit": "kg", "tags": [], "name": "a", "version": 1, "source": "s"}),
        ] {
            assert_eq!(refusal(&document), None, "{document}");
        }
    }
}
