//! Checks whether a column can hold the values that the schema allows at the column's pointer. If the schema allows a
//! type of value that the column can never hold, the process does not start, because it would reject every event with
//! such a value.

use serde_json::Value;

use super::column::ColumnType;
use super::number_text::Form;
use super::pointer::Pointer;
use super::schema::{Schemas, at, types, values};

/// How a column reads the strings that the schema allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    /// In the way that the column's type defines.
    AsTyped,
    /// As numbers, because the schema allows only strings that are numbers of this form.
    Numbers(Form),
}

/// Checks that a column can hold the values that the schema allows at `pointer`. Returns how the column reads strings.
///
/// # Errors
/// The schema allows values that the column cannot hold. The text says what the column needs and what the schema
/// allows.
pub(super) fn check(document: &Value, pointer: &Pointer, ty: ColumnType) -> Result<Strings, String> {
    let Some(alternatives) = at(document, pointer) else { return Ok(Strings::AsTyped) };
    let mut strings = Strings::AsTyped;
    for schemas in &alternatives {
        if let Some(form) = check_alternative(schemas, ty).map_err(|has| {
            format!("{} needs {}, but the schema allows {has} at {:?}", ty.sql(), needs(ty), pointer.as_str())
        })? {
            strings = Strings::Numbers(form);
        }
    }
    Ok(strings)
}

/// Checks one alternative of the schema. If its strings are numbers, returns the form of these numbers. The error says
/// which of the allowed values the column cannot hold.
fn check_alternative(schemas: &Schemas<'_>, ty: ColumnType) -> Result<Option<Form>, String> {
    if let Some(values) = values(schemas) {
        return check_values(&values, ty);
    }
    let Some(types) = types(schemas) else { return Ok(None) };
    let mut form = None;
    for name in types {
        match (name, number_form(ty)) {
            ("null", _) => {}
            ("string", Some(number_form)) if has_only_numbers(schemas, number_form) => form = Some(number_form),
            ("string", Some(number_form)) => {
                return Err(not_only_numbers(schemas, number_form));
            }
            ("string", None) => check_format(schemas, ty)?,
            (name, _) if holds(ty, name) => {}
            (name, _) => return Err(with_article(name)),
        }
    }
    Ok(form)
}

/// Checks the values of `enum` and `const`.
fn check_values(values: &[&Value], ty: ColumnType) -> Result<Option<Form>, String> {
    let mut form = None;
    for value in values {
        match (value, number_form(ty)) {
            (Value::String(text), Some(number_form)) if number_form.read(text).is_some() => form = Some(number_form),
            (value, _) if ty.encode(Some(value), &mut Vec::new()).is_ok() => {}
            (value, _) => return Err(value.to_string()),
        }
    }
    Ok(form)
}

/// Checks that the column can hold strings in the schema's format.
fn check_format(schemas: &Schemas<'_>, ty: ColumnType) -> Result<(), String> {
    let fits = |example: &&str| ty.encode(Some(&Value::from(*example)), &mut Vec::new()).is_ok();
    let misfit = schemas.iter().filter_map(|schema| schema.get("format")?.as_str()).find(|format| {
        let examples = examples(format);
        !examples.is_empty() && !examples.iter().any(fits)
    });
    match misfit {
        Some(format) => Err(format!("a string in the format {format}")),
        None if holds(ty, "string") => Ok(()),
        None => Err(with_article("string")),
    }
}

/// Returns example strings in a format. They show whether a column can hold strings in that format. A format that is
/// not listed here has no examples.
fn examples(format: &str) -> &'static [&'static str] {
    match format {
        "date" => &["2019-05-07"],
        "time" => &["19:54:13Z", "19:54:13.563+02:00"],
        "date-time" => &["2019-05-07T19:54:13Z", "2019-05-07T19:54:13.563+02:00"],
        "duration" => &["P1DT2H"],
        "uuid" => &["00000000-0000-0000-0000-000000000007"],
        "email" | "idn-email" => &["ann@example.com"],
        "hostname" | "idn-hostname" => &["example.com"],
        "ipv4" => &["192.0.2.1"],
        "ipv6" => &["2001:db8::1"],
        "uri" | "iri" => &["https://example.com/"],
        _ => &[],
    }
}

fn has_only_numbers(schemas: &Schemas<'_>, form: Form) -> bool {
    let may_be_empty = !schemas.iter().any(|schema| schema.get("minLength").and_then(Value::as_u64) > Some(0));
    let mut patterns = schemas.iter().filter_map(|schema| schema.get("pattern")?.as_str());
    patterns.any(|pattern| form.covers(pattern, may_be_empty))
}

/// Describes the strings of a schema that also allows strings other than numbers of this form.
fn not_only_numbers(schemas: &Schemas<'_>, form: Form) -> String {
    match schemas.iter().find_map(|schema| schema.get("pattern")?.as_str()) {
        Some(pattern) => format!("a string whose pattern {pattern} allows more than {}", form.name()),
        None => format!("a string without a pattern for {}", form.name()),
    }
}

/// Returns the form of the numbers that a column of this type reads from strings, if it reads any.
fn number_form(ty: ColumnType) -> Option<Form> {
    match ty {
        ColumnType::Smallint | ColumnType::Integer | ColumnType::Bigint => Some(Form::Integer),
        ColumnType::Numeric => Some(Form::Decimal),
        ColumnType::Boolean
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Text
        | ColumnType::Uuid
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::Timestamptz
        | ColumnType::Jsonb => None,
    }
}

/// Returns whether a column of type `ty` can hold at least some values of the JSON type `name`.
fn holds(ty: ColumnType, name: &str) -> bool {
    match ty {
        ColumnType::Boolean => name == "boolean",
        ColumnType::Smallint
        | ColumnType::Integer
        | ColumnType::Bigint
        | ColumnType::Real
        | ColumnType::Double
        | ColumnType::Numeric => matches!(name, "integer" | "number"),
        ColumnType::Text | ColumnType::Uuid | ColumnType::Date | ColumnType::Timestamp => name == "string",
        ColumnType::Timestamptz => matches!(name, "integer" | "number" | "string"),
        ColumnType::Jsonb => true,
    }
}

fn needs(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Boolean => "true or false",
        ColumnType::Smallint => "an integer from -32768 to 32767, or a string whose pattern allows only integers",
        ColumnType::Integer => "an integer of 32 bits, or a string whose pattern allows only integers",
        ColumnType::Bigint => "an integer of 64 bits, or a string whose pattern allows only integers",
        ColumnType::Real | ColumnType::Double => "a number",
        ColumnType::Numeric => "a number, or a string whose pattern allows only decimals",
        ColumnType::Text => "a string",
        ColumnType::Uuid => "a string that holds a UUID",
        ColumnType::Date => "a string such as \"2019-05-07\"",
        ColumnType::Timestamp => "a string such as \"2019-05-07 19:54:13.563\"",
        ColumnType::Timestamptz => "a number of seconds since 1970, or a string such as \"2019-05-07T19:54:13Z\"",
        ColumnType::Jsonb => "JSON",
    }
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reach(schema: Value, ty: ColumnType) -> Result<Strings, String> {
        let pointer = Pointer::try_from("/a".to_owned())?;
        check(
            &json!({"type": "object", "properties": {"a": schema}, "$defs": {"money": {"type": "string", "pattern": r"^\d+\.\d\d$"}}}),
            &pointer,
            ty,
        )
    }

    const DECIMALS: Result<Strings, String> = Ok(Strings::Numbers(Form::Decimal));
    const TYPED: Result<Strings, String> = Ok(Strings::AsTyped);

    #[test]
    fn a_schema_whose_values_fit_the_column_is_accepted() {
        use ColumnType::{Bigint, Boolean, Date, Double, Jsonb, Numeric, Smallint, Text, Timestamp, Timestamptz, Uuid};
        for (schema, ty, expected) in [
            (json!({"type": "string", "pattern": r"^-?\d+(\.\d+)?$"}), Numeric, DECIMALS),
            (json!({"type": ["string", "number", "null"], "pattern": r"^\d+$"}), Numeric, DECIMALS),
            (json!({"$ref": "#/$defs/money"}), Numeric, DECIMALS),
            (json!({"$ref": "#/%24defs/money"}), Numeric, DECIMALS),
            (json!({"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}, {"type": "number"}]}), Numeric, DECIMALS),
            (json!({"allOf": [{"type": "string"}, {"pattern": r"^\d+$"}]}), Numeric, DECIMALS),
            (json!({"enum": ["0.5", "1.50", 2, null]}), Numeric, DECIMALS),
            (json!({"type": "string", "pattern": r"^\d{1,18}$"}), Bigint, Ok(Strings::Numbers(Form::Integer))),
            (
                json!({"type": "string", "pattern": "^[0-9]*$", "minLength": 1}),
                Bigint,
                Ok(Strings::Numbers(Form::Integer)),
            ),
            (json!({"type": "number"}), Bigint, TYPED),
            (json!({"type": "integer"}), Double, TYPED),
            (json!({"type": ["boolean", "null"]}), Boolean, TYPED),
            (json!({"type": "string"}), Uuid, TYPED),
            (json!({"type": "string", "format": "uuid"}), Uuid, TYPED),
            (json!({"type": "string", "format": "date"}), Date, TYPED),
            (json!({"type": "string", "format": "date-time"}), Timestamptz, TYPED),
            (json!({"type": "number"}), Timestamptz, TYPED),
            (json!({"type": "string"}), Timestamp, TYPED),
            (json!({"type": "array"}), Jsonb, TYPED),
            (json!({"enum": [1, 2]}), Smallint, TYPED),
            (json!({}), Numeric, TYPED),
            (json!(true), Uuid, TYPED),
            (json!({"pattern": "^x$"}), Numeric, TYPED),
            (json!({"type": "string", "format": "email"}), Text, TYPED),
            (json!({"$ref": "https://example.com/money.json"}), Numeric, TYPED),
            (json!({"type": "object", "oneOf": [false, {"type": "string"}]}), Numeric, TYPED),
        ] {
            assert_eq!(reach(schema.clone(), ty), expected, "{schema} {ty:?}");
        }
    }

    #[test]
    fn a_schema_is_refused_if_it_allows_a_value_that_never_fits_the_column() {
        use ColumnType::{Bigint, Boolean, Date, Double, Numeric, Smallint, Text, Timestamp, Timestamptz, Uuid};
        for (schema, ty, has) in [
            (json!({"type": "string"}), Numeric, "a string without a pattern for decimals"),
            (
                json!({"type": "string", "pattern": r"^\d+"}),
                Numeric,
                r"a string whose pattern ^\d+ allows more than decimals",
            ),
            (json!({"type": ["number", "string"]}), Numeric, "a string without a pattern for decimals"),
            (json!({"$ref": "#/$defs/money"}), Bigint, r"a string whose pattern ^\d+\.\d\d$ allows more than integers"),
            (json!({"anyOf": [{"type": "number"}, {"type": "array"}]}), Numeric, "an array"),
            (json!({"type": "string", "pattern": r"^\d+$"}), Double, "a string"),
            (json!({"type": "array"}), Uuid, "an array"),
            (json!({"type": "integer"}), Uuid, "an integer"),
            (json!({"type": "object"}), Text, "an object"),
            (json!({"type": ["string", "integer"]}), Text, "an integer"),
            (json!({"type": "string"}), Boolean, "a string"),
            (json!({"type": "number"}), Date, "a number"),
            (json!({"type": "integer"}), Timestamp, "an integer"),
            (json!({"type": "boolean"}), Timestamptz, "a boolean"),
            (json!({"type": "string", "format": "date"}), Timestamptz, "a string in the format date"),
            (json!({"type": "string", "format": "email"}), Uuid, "a string in the format email"),
            (json!({"enum": ["paid", "placed"]}), Smallint, "\"paid\""),
            (json!({"const": 70_000}), Smallint, "70000"),
            (json!({"enum": ["1.5", "free"]}), Numeric, "\"free\""),
        ] {
            let reason = reach(schema.clone(), ty).err().unwrap_or_default();
            let expected = format!("but the schema allows {has} at \"/a\"");
            assert!(reason.starts_with(ty.sql()) && reason.ends_with(&expected), "{schema} {ty:?}: {reason}");
        }
    }

    #[test]
    fn a_pointer_is_followed_through_objects_arrays_and_alternatives() {
        let document = json!({
            "type": "object",
            "properties": {
                "items": {"type": ["array", "null"], "prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
                "address": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/address"}]}
            },
            "additionalProperties": {"type": "boolean"},
            "$defs": {"address": {"type": "object", "properties": {"city": {"type": "string"}}}}
        });
        for (pointer, ty, is_right) in [
            ("/items/0", ColumnType::Text, true),
            ("/items/0", ColumnType::Bigint, false),
            ("/items/1", ColumnType::Bigint, true),
            ("/items/1", ColumnType::Text, false),
            ("/address/city", ColumnType::Text, true),
            ("/address/city", ColumnType::Boolean, false),
            ("/other", ColumnType::Boolean, true),
            ("/other", ColumnType::Text, false),
            ("", ColumnType::Jsonb, true),
            ("", ColumnType::Text, false),
        ] {
            let reached = Pointer::try_from(pointer.to_owned()).and_then(|pointer| check(&document, &pointer, ty));
            assert_eq!(reached.is_ok(), is_right, "{pointer} {ty:?}");
        }
    }
}
