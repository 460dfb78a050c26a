//! A form's fields as an event: text becomes what the contract's property is.

use serde_json::{Map, Number, Value};
use shared::contract::Contract;

use super::{Envelope, Posted};
use crate::error::Error;
use shared::http::fields::Fields;

/// The event that a form's fields make.
pub(super) fn event(fields: Fields, contract: &Contract) -> Result<Posted, Error> {
    let mut event = Map::new();
    for (name, text) in fields.into_inner() {
        let value = value(text, contract.document.pointer("/properties").and_then(|p| p.get(&name)));
        if event.contains_key(&name) {
            return Err(Error::malformed("a field is given twice"));
        }
        event.insert(name, value);
    }
    let body: bytes::Bytes = Value::Object(event).to_string().into();
    let place = 0..body.len();
    Ok(Posted { places: vec![place], body, is_batch: false, envelope: Envelope::None })
}

/// A field's value, by its property's types. What fits none of them stays text, and the contract says what is wrong.
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
