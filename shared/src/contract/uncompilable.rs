//! Says in plain words why a schema cannot be compiled.

use jsonschema::ValidationError;
use serde_json::{Map, Value};

use super::keyword::schemas;
use super::spelling::nearest;
use super::wrong::Wrong;
use super::{pattern, validator};

/// The names of the types.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// The formats that events are checked against.
const FORMATS: [&str; 17] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// Converts the error of a document that cannot be compiled. The message of `jsonschema` is used only if the error is
/// not about a type, a format or a pattern.
pub(super) fn wrong(document: &Value, error: &ValidationError<'_>) -> Wrong {
    let pointer = error.instance_path().to_string();
    let reason = reason(document, &pointer).unwrap_or_else(|| error.to_string());
    Wrong { pointer, reason }
}

/// Says what is wrong with the type, the format or the pattern at a pointer. Returns `None` if something else is there,
/// such as a property that is named `type`.
fn reason(document: &Value, pointer: &str) -> Option<String> {
    schemas(document).iter().find_map(|place| {
        let is_at = |tokens: &[&str]| place.pointer_to(tokens) == pointer;
        let keyword = |name: &str| place.schema.get(name).filter(|_| is_at(&[name]));
        let patterns = place.schema.get("patternProperties").and_then(Value::as_object);
        let mut patterns = patterns.into_iter().flat_map(Map::keys);
        keyword("type")
            .and_then(type_fault)
            .or_else(|| format_fault(keyword("format")?.as_str()?))
            .or_else(|| pattern_fault(keyword("pattern")?.as_str()?))
            .or_else(|| pattern_fault(patterns.find(|pattern| is_at(&["patternProperties", pattern.as_str()]))?))
    })
}

fn type_fault(value: &Value) -> Option<String> {
    let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let unknown = names.iter().find(|name| name.as_str().is_none_or(|name| !TYPES.contains(&name)))?;
    Some(format!("{unknown} is not a type: a type is one of {}", TYPES.join(", ")))
}

fn format_fault(format: &str) -> Option<String> {
    if FORMATS.contains(&format) {
        return None;
    }
    let meant = nearest(format, FORMATS).map(|near| format!("write {near:?}; ")).unwrap_or_default();
    Some(format!("there is no format {format:?}: {meant}the known formats are {}", FORMATS.join(", ")))
}

fn pattern_fault(pattern: &str) -> Option<String> {
    let is_right = validator::compile(&serde_json::json!({"pattern": pattern})).is_ok();
    (!is_right).then(|| format!("the pattern {pattern:?} cannot be used: {}", pattern::fault(pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(document: &Value) -> Option<String> {
        let error = validator::compile(document).err()?;
        let Wrong { pointer, reason } = wrong(document, &error);
        Some(format!("{pointer}: {reason}"))
    }

    #[test]
    fn the_known_formats_are_those_that_a_schema_may_name() {
        for format in FORMATS {
            assert_eq!(refusal(&json!({"format": format})), None, "{format}");
        }
        for format in ["idn-email", "idn-hostname", "password", "int64"] {
            let refusal = refusal(&json!({"format": format})).unwrap_or_default();
            assert!(refusal.starts_with(&format!("/format: there is no format {format:?}: ")), "{refusal}");
        }
    }

    #[test]
    fn an_unknown_format_is_refused_with_the_nearest_and_the_known_formats() {
        let known = "the known formats are date, date-time, duration, email, hostname, ipv4, ipv6, iri, iri-reference, \
                     json-pointer, regex, relative-json-pointer, time, uri, uri-reference, uri-template, uuid";
        for (format, meant) in
            [("datetime", "write \"date-time\"; "), ("url", "write \"uri\"; "), ("phone", ""), ("timestamp", "")]
        {
            let refusal = refusal(&json!({"properties": {"a": {"format": format}}}));
            let expected = format!("/properties/a/format: there is no format {format:?}: {meant}{known}");
            assert_eq!(refusal, Some(expected));
        }
    }

    #[test]
    fn an_unknown_type_is_refused_with_the_types() {
        for (types, unknown) in [(json!("int"), "\"int\""), (json!(["string", "date"]), "\"date\""), (json!(5), "5")] {
            let expected = format!(
                "/items/type: {unknown} is not a type: a type is one of array, boolean, integer, null, number, object, \
                 string"
            );
            assert_eq!(refusal(&json!({"items": {"type": types}})), Some(expected));
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused_with_the_reason_in_a_few_words() {
        for (pattern, reason) in [
            ("^(?!a)b", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("(", "unclosed group"),
            ("*a", "repetition operator missing expression"),
            (r"^\p{Nope}$", "Unicode property not found"),
            (r"^(\w{1,1000}){1,1000}$", "it becomes too large when it is compiled; use smaller numbers of repetitions"),
        ] {
            let expected = format!("the pattern {pattern:?} cannot be used: {reason}");
            assert_eq!(refusal(&json!({"pattern": pattern})), Some(format!("/pattern: {expected}")));
            let name = refusal(&json!({"patternProperties": {pattern: {}}}));
            assert_eq!(name, Some(format!("/patternProperties/{pattern}: {expected}")));
        }
    }

    #[test]
    fn properties_that_are_named_like_keywords_are_not_mistaken_for_keywords() {
        for name in ["type", "format", "pattern"] {
            let refusal = refusal(&json!({"properties": {name: "("}})).unwrap_or_default();
            assert!(refusal.starts_with(&format!("/properties/{name}: \"(\" is not of types")), "{refusal}");
        }
    }
}
