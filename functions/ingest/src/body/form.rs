//! Turns a form's fields into an event. If the contract has a property with a field's name, the field's text is
//! converted to the type of that property.

use bytes::Bytes;
use serde_json::{Map, Number, Value};
use shared::contract::Contract;
use shared::http::fields::Fields;

use crate::error::Error;

/// Builds an event's JSON from a form's fields.
pub(super) fn event(fields: Fields, contract: &Contract) -> Result<Bytes, Error> {
    let mut event = Map::new();
    for (name, text) in fields.into_inner() {
        let value = value(text, contract.document.pointer("/properties").and_then(|p| p.get(&name)));
        if event.contains_key(&name) {
            return Err(Error::malformed("A form field appears twice."));
        }
        event.insert(name, value);
    }
    Ok(Value::Object(event).to_string().into())
}

/// Converts a field's text to one of the types that the contract allows for the property. Text that fits none of these
/// types stays a string, so that the event violates the contract.
fn value(text: String, property: Option<&Value>) -> Value {
    let types: Vec<&str> = match property.and_then(|property| property.get("type")) {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec!["string"],
    };
    let is = |name| types.contains(&name);
    if text.is_empty() && is("null") {
        return Value::Null;
    }
    if is("string") {
        return Value::String(text);
    }
    if (is("number") || is("integer"))
        && let Ok(number) = text.parse::<Number>()
    {
        return Value::Number(number);
    }
    match text.as_str() {
        "true" if is("boolean") => Value::Bool(true),
        "false" if is("boolean") => Value::Bool(false),
        _ => Value::String(text),
    }
}
