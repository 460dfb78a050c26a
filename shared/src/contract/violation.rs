//! Describes contract violations in plain English, without the value that violates the schema.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde::Serialize;
use serde_json::Value;

/// A contract violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The JSON pointer to the wrong value.
    pub pointer: String,
    /// What is wrong. The value itself is not quoted.
    pub detail: String,
}

/// The maximum number of permitted values or unexpected fields that a message lists.
const LISTED: usize = 20;

/// Says what the value at the error's pointer must be.
pub(super) fn detail(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Type { kind } => format!("must be {}", any_of(&type_names(kind))),
        ValidationErrorKind::Required { property } => format!("the field {property} is missing"),
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => not_allowed(unexpected),
        ValidationErrorKind::Constant { expected_value } => format!("must be {expected_value}"),
        ValidationErrorKind::Enum { options } => one_of(options),
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("must be at least {limit} characters long"),
        ValidationErrorKind::MaxLength { limit } => format!("must be at most {} long", count(*limit, "character")),
        ValidationErrorKind::Pattern { pattern } => format!("must match the pattern {pattern}"),
        ValidationErrorKind::Format { format } => format!("must be {}", format_name(format)),
        ValidationErrorKind::MinItems { limit } => format!("must have at least {}", count(*limit, "item")),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {}", count(*limit, "item")),
        ValidationErrorKind::AdditionalItems { limit } => {
            format!("must have at most {}", count(u64::try_from(*limit).unwrap_or(u64::MAX), "item"))
        }
        ValidationErrorKind::UnevaluatedItems { .. } => "has more items than the contract allows".to_owned(),
        ValidationErrorKind::UniqueItems => "must not contain the same item twice".to_owned(),
        ValidationErrorKind::Contains => "contains no item of the kind that the contract requires".to_owned(),
        ValidationErrorKind::MinProperties { limit } => format!("must have at least {}", count(*limit, "field")),
        ValidationErrorKind::MaxProperties { limit } => format!("must have at most {}", count(*limit, "field")),
        // The message of `jsonschema` is not used, because that message quotes the name.
        ValidationErrorKind::PropertyNames { error } => format!("has a field with a bad name: it {}", detail(error)),
        ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. } => {
            "must match one of the alternatives in the contract".to_owned()
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "must match exactly one of the alternatives in the contract, but matches several".to_owned()
        }
        ValidationErrorKind::Not { .. } => "has a form that the contract forbids".to_owned(),
        ValidationErrorKind::FalseSchema => "must not be present".to_owned(),
        ValidationErrorKind::ContentEncoding { content_encoding } => format!("must be encoded in {content_encoding}"),
        ValidationErrorKind::ContentMediaType { content_media_type } => format!("must hold {content_media_type}"),
        ValidationErrorKind::FromUtf8 { .. } => "must encode UTF-8".to_owned(),
        ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. } => {
            "is too complex to check against the contract's pattern".to_owned()
        }
        // The keywords in `limits` provide their own messages.
        ValidationErrorKind::Custom { message, .. } => message.clone(),
        ValidationErrorKind::Minimum { .. }
        | ValidationErrorKind::Maximum { .. }
        | ValidationErrorKind::ExclusiveMinimum { .. }
        | ValidationErrorKind::ExclusiveMaximum { .. }
        | ValidationErrorKind::MultipleOf { .. } => "is a number outside the contract's limits".to_owned(),
        ValidationErrorKind::Referencing(_) => "cannot be checked, because a $ref of the contract fails".to_owned(),
    }
}

fn type_names(kind: &TypeKind) -> Vec<String> {
    let name = |ty: JsonType| match ty {
        JsonType::Array => "an array",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    };
    match kind {
        TypeKind::Single(ty) => vec![name(*ty).to_owned()],
        TypeKind::Multiple(types) => types.iter().map(|ty| name(ty).to_owned()).collect(),
    }
}

fn format_name(format: &str) -> String {
    match format {
        "uuid" => "a UUID",
        "date" => "a date such as 2019-05-07",
        "time" => "a time such as 19:54:13Z",
        "date-time" => "a time such as 2019-05-07T19:54:13Z",
        "email" => "an e-mail address",
        "uri" => "a URI",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        other => return format!("in the format {other}"),
    }
    .to_owned()
}

fn one_of(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let listed: Vec<String> = options.iter().take(LISTED).map(Value::to_string).collect();
    match (options.len() > LISTED, listed.as_slice()) {
        (true, listed) => {
            format!("must be one of the {} values in the contract: {}, …", options.len(), listed.join(", "))
        }
        (false, [only]) => format!("must be {only}"),
        (false, listed) => format!("must be {}", any_of(listed)),
    }
}

fn not_allowed(unexpected: &[String]) -> String {
    let mut listed: Vec<String> = unexpected.iter().take(LISTED).map(|name| format!("{name:?}")).collect();
    if unexpected.len() > LISTED {
        listed.push("…".to_owned());
    }
    let s = if unexpected.len() == 1 { "" } else { "s" };
    format!("the field{s} {} must not be present", listed.join(", "))
}

/// Formats a list: `a`, `a or b`, `a, b or c`.
fn any_of(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

fn count(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::super::limits;
    use super::*;
    use serde_json::json;

    fn details(schema: &Value, event: &Value) -> Vec<String> {
        let options = limits::exact(jsonschema::draft202012::options());
        match options.should_validate_formats(true).build(schema) {
            Ok(validator) => validator.iter_errors(event).map(|error| detail(&error)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn a_violation_says_what_would_be_right_and_never_repeats_the_value() {
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        for (schema, event, expected) in [
            (
                json!({"enum": ["placed", "paid", "shipped", 4]}),
                json!("secret"),
                r#"must be "placed", "paid", "shipped" or 4"#,
            ),
            (json!({"enum": ["placed"]}), json!("secret"), r#"must be "placed""#),
            (json!({"const": 4}), json!("secret"), "must be 4"),
            (json!({"type": "integer"}), json!("secret"), "must be an integer"),
            (json!({"type": ["string", "null"]}), json!(["secret"]), "must be null or a string"),
            (json!({"required": ["name"]}), json!({"secret": 1}), r#"the field "name" is missing"#),
            (
                json!({"properties": {"a": true}, "additionalProperties": false}),
                json!({"x": "secret"}),
                r#"the field "x" must not be present"#,
            ),
            (json!({"minimum": 5}), json!(4), "must be at least 5"),
            (json!({"exclusiveMaximum": 5}), json!(6), "must be less than 5"),
            (json!({"minLength": 1}), json!(""), "must not be empty"),
            (json!({"minLength": 9}), json!("secret"), "must be at least 9 characters long"),
            (json!({"maxLength": 1}), json!("secret"), "must be at most 1 character long"),
            (json!({"pattern": "^[0-9]+$"}), json!("secret"), "must match the pattern ^[0-9]+$"),
            (json!({"format": "uuid"}), json!("secret"), "must be a UUID"),
            (json!({"prefixItems": [true], "items": false}), json!(["secret", "secret"]), "must not be present"),
            (json!({"minItems": 2}), json!(["secret"]), "must have at least 2 items"),
            (json!({"uniqueItems": true}), json!(["secret", "secret"]), "must not contain the same item twice"),
            (
                json!({"propertyNames": {"maxLength": 3}}),
                json!({"secret": 1}),
                "has a field with a bad name: it must be at most 3 characters long",
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"type": "integer"}]}),
                json!("secret"),
                "must match one of the alternatives in the contract",
            ),
            (
                json!({"enum": letters}),
                json!("secret"),
                r#"must be one of the 26 values in the contract: "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", …"#,
            ),
        ] {
            assert_eq!(details(&schema, &event), [expected], "{schema}");
        }
    }
}
