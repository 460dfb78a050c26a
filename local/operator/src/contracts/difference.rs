//! Lists the differences between two schemas. Ignores keywords that have no effect on validation.

use serde_json::{Map, Value};
use shared::contract::keyword::{Form, form};
use shared::contract::{canonical, pointer};

use super::schema::has_effect;

/// The number of characters after which a value is cut off.
const SHOWN_CHARACTERS: usize = 80;

/// A difference between two schemas.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The JSON pointer of the changed or added value in the new document, or of the removed value in the old document.
    pub(super) pointer: String,
    /// What has changed there.
    pub(super) text: String,
}

/// Returns the differences between two schemas at `pointer`.
pub(super) fn differences(old: &Value, new: &Value, pointer: &str) -> Vec<Difference> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            // A reference's target is compared in `$defs` or `definitions`, not where the reference is.
            let is_listed = |name: &str| has_effect(name) || matches!(name, "$defs" | "definitions");
            members(old, new, pointer, is_listed, |name, old, new, at| match (form(name), old, new) {
                (Form::Schema, _, _) => differences(old, new, at),
                (Form::Schemas, Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
                    let pairs = old.iter().zip(new).enumerate();
                    pairs.flat_map(|(index, (old, new))| differences(old, new, &format!("{at}/{index}"))).collect()
                }
                (Form::Named, Value::Object(old), Value::Object(new)) => {
                    members(old, new, at, |_| true, |_, old, new, at| differences(old, new, at))
                }
                _ => data(old, new, at),
            })
        }
        (old, new) => data(old, new, pointer),
    }
}

fn members<'v>(
    old: &'v Map<String, Value>,
    new: &'v Map<String, Value>,
    pointer: &str,
    is_listed: impl Fn(&str) -> bool,
    both: impl Fn(&str, &'v Value, &'v Value, &str) -> Vec<Difference>,
) -> Vec<Difference> {
    let only_new = new.keys().filter(|name| !old.contains_key(*name));
    let mut found = Vec::new();
    for name in old.keys().chain(only_new).filter(|name| is_listed(name)) {
        let at = pointer.to_owned() + &pointer::join([name.as_str()]);
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => found.extend(both(name, old, new, &at)),
            (Some(_), None) => found.push(Difference { pointer: at, text: "removed".to_owned() }),
            (None, new) => found.push(Difference { pointer: at, text: format!("added: {}", shown(new)) }),
        }
    }
    found
}

fn data(old: &Value, new: &Value, pointer: &str) -> Vec<Difference> {
    if canonical::text(old) == canonical::text(new) {
        return Vec::new();
    }
    vec![Difference { pointer: pointer.to_owned(), text: changed(Some(old), Some(new)) }]
}

/// Describes a changed value.
pub(super) fn changed(old: Option<&Value>, new: Option<&Value>) -> String {
    format!("was {}, is {}", shown(old), shown(new))
}

/// Returns a value as JSON text, which is cut off after [`SHOWN_CHARACTERS`]. Returns `absent` if there is no value.
fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "absent".to_owned() };
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}
