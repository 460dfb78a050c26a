//! A column as a contract file defines it.

use serde::Deserialize;
use serde_json::Value;

use super::column::ColumnType;
use super::landing::Column;
use super::metadata::{Meta, Source};
use super::pointer::Pointer;
use super::reach::{self, Strings};
use super::wrong::Wrong;

/// A column as it is written in the contract file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnDefinition {
    pub(super) from: Option<Pointer>,
    pub(super) meta: Option<Meta>,
    #[serde(rename = "type")]
    pub(super) ty: ColumnType,
}

impl ColumnDefinition {
    /// Validates the column. `columns` is the path of the member that lists the columns, within the `x-sluice` block.
    pub(super) fn read(&self, columns: &str, name: &str, schema: &Value) -> Result<Column, Wrong> {
        let (from, strings) = match (&self.from, self.meta) {
            (Some(pointer), None) => {
                check_member(schema, pointer, &format!("{columns}/{name}/from"))?;
                let strings = reach::check(schema, pointer, self.ty)
                    .map_err(|reason| Wrong::at(&format!("{columns}/{name}"), format!("column {name}: {reason}")))?;
                (Source::Event(pointer.clone()), strings)
            }
            (None, Some(meta)) if meta.types().contains(&self.ty) => (Source::Meta(meta), Strings::AsTyped),
            (None, Some(meta)) => {
                let types: Vec<&str> = meta.types().iter().map(|ty| ty.sql()).collect();
                let reason = format!("this metadata should go into a column of type {}", types.join(" or "));
                return Err(Wrong::at(&format!("{columns}/{name}/type"), reason));
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err(Wrong::at(&format!("{columns}/{name}"), "should have either `from` or `meta`"));
            }
        };
        Ok(Column { name: name.to_owned(), from, ty: self.ty, is_composed: false, strings })
    }
}

/// Rejects a pointer into a member that the schema does not name, if the schema allows no additional members. Such a
/// pointer can only be a typo.
pub(super) fn check_member(schema: &Value, pointer: &Pointer, member: &str) -> Result<(), Wrong> {
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    match (pointer.first(), schema.get("properties").and_then(Value::as_object)) {
        (Some(first), Some(properties)) if closed && !properties.contains_key(first) => Err(Wrong::at(
            member,
            format!("the schema has no property {first:?}, so the pointer {:?} leads nowhere", pointer.as_str()),
        )),
        _ => Ok(()),
    }
}
