//! The keywords of JSON Schema (2020-12).

use serde_json::Value;

use super::pointer;
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

/// Checks that no keyword of a schema is a misspelt restriction, such as `minlength`. JSON Schema ignores unknown
/// keywords, so a misspelt restriction would restrict nothing. Other unknown keywords are allowed, because they may be
/// annotations.
pub(super) fn check(document: &Value) -> Result<(), Wrong> {
    let mut schemas = vec![(Vec::new(), document)];
    while let Some((path, schema)) = schemas.pop() {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            let at = |tokens: &[&str]| -> Vec<String> {
                path.iter().cloned().chain(tokens.iter().map(|&token| token.to_owned())).collect()
            };
            if let Some(meant) = meant(keyword) {
                let pointer = pointer::join(at(&[keyword]).iter().map(String::as_str));
                let reason = format!(
                    "JSON Schema has no keyword {keyword:?}, and would ignore it: write {meant:?}, or begin the name of an \
                     annotation with \"x-\""
                );
                return Err(Wrong { pointer, reason });
            }
            match (form(keyword), value) {
                (Form::Schema, schema) => schemas.push((at(&[keyword]), schema)),
                (Form::Schemas, Value::Array(list)) => {
                    let indexed = list.iter().enumerate();
                    schemas.extend(indexed.map(|(index, schema)| (at(&[keyword, &index.to_string()]), schema)));
                }
                (Form::Named, Value::Object(named)) => {
                    schemas.extend(named.iter().map(|(name, schema)| (at(&[keyword, name]), schema)));
                }
                (Form::Schemas | Form::Named | Form::Reference | Form::Data, _) => {}
            }
        }
    }
    Ok(())
}

/// Returns the restriction that `keyword` misspells, if there is one. Differences in case, `_` and `-` are ignored. If
/// the restriction is long, one typing error is ignored, too.
fn meant(keyword: &str) -> Option<&'static str> {
    const LONG: usize = 6;
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let typed = plain(keyword);
    if RESTRICTIONS.contains(&keyword) || keyword.starts_with("x-") {
        return None;
    }
    let same = RESTRICTIONS.into_iter().find(|known| plain(known) == typed);
    same.or_else(|| {
        let mut long = RESTRICTIONS.into_iter().filter(|known| known.len() >= LONG);
        long.find(|known| strsim::osa_distance(&plain(known), &typed) == 1)
    })
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
            (json!({"items": {"propertys": {}, "Enum": []}}), "/items/Enum", "enum"),
            (
                json!({"allOf": [{}, {"additionalproperties": false}]}),
                "/allOf/1/additionalproperties",
                "additionalProperties",
            ),
            (json!({"$defs": {"a/b": {"patern": "a"}}}), "/$defs/a~1b/patern", "pattern"),
        ] {
            let expected = format!("JSON Schema has no keyword {:?}", at.rsplit('/').next().unwrap_or_default());
            let refusal = refusal(&document).unwrap_or_default();
            assert!(refusal.starts_with(&format!("{at}: {expected}")), "{refusal}");
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
        ] {
            assert_eq!(refusal(&document), None, "{document}");
        }
    }
}
