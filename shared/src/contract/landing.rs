//! A landing table and its columns.

use std::borrow::Cow;

use serde_json::Value;

use super::column::{ColumnType, Unfit};
use super::composed::composed;
use super::metadata::{Metadata, Source};
use super::pointer::Pointer;
use super::reach::Strings;
use super::violation::Violation;

/// A landing table and the columns that Sluice writes.
#[derive(Debug, Clone)]
pub struct Landing {
    /// The table.
    pub table: Table,
    /// The columns, sorted by name.
    pub columns: Vec<Column>,
}

/// A column of a landing table.
#[derive(Debug, Clone)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Where the column's value comes from.
    pub from: Source,
    /// The column's type.
    pub ty: ColumnType,
    /// Whether texts are [`composed`] before they are stored. This is true for text columns that hold an entity's key
    /// or the key of its parent.
    pub is_composed: bool,
    /// How the column reads strings: as its type defines, or as numbers.
    pub(super) strings: Strings,
}

/// A table's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// The schema.
    pub schema: String,
    /// The table's name within the schema.
    pub name: String,
}

impl Landing {
    /// Appends the event's row: every column's value in PostgreSQL's binary form, preceded by its length.
    ///
    /// # Errors
    /// The first value that does not fit its column.
    pub fn encode(&self, event: &Value, metadata: Option<&Metadata<'_>>, row: &mut Vec<u8>) -> Result<(), Violation> {
        self.columns.iter().try_for_each(|column| column.encode(event, metadata, row))
    }

    /// Returns the values of some columns in a form that serves to compare them ([`ColumnType::comparable`]). Columns
    /// that are filled from metadata are NULL. Two events have the same key if the cells of the key's columns are
    /// equal.
    ///
    /// # Errors
    /// The first value that does not fit its column.
    pub fn comparable_cells(&self, columns: &[usize], event: &Value) -> Result<Vec<u8>, Violation> {
        let (mut cells, mut cell) = (Vec::new(), Vec::new());
        for &column in columns {
            cell.clear();
            self.columns[column].encode(event, None, &mut cell)?;
            cells.extend_from_slice(&self.columns[column].ty.comparable(&cell));
        }
        Ok(cells)
    }

    /// Like [`Self::comparable_cells`], but for a value of one column.
    ///
    /// # Errors
    /// The value does not fit the column.
    pub fn comparable_cell(&self, column: usize, value: &Value) -> Result<Vec<u8>, Violation> {
        let (column, mut cell) = (&self.columns[column], Vec::new());
        let encoded = column.encode_value(Some(value), &mut cell);
        encoded.map_err(|unfit| Violation { pointer: String::new(), detail: unfit.to_string() })?;
        Ok(column.ty.comparable(&cell).into_owned())
    }

    pub(super) fn column_from(&self, pointer: &Pointer) -> Option<usize> {
        self.columns.iter().position(|column| column.from.pointer() == Some(pointer))
    }
}

impl Column {
    pub(super) fn encode(
        &self,
        event: &Value,
        metadata: Option<&Metadata<'_>>,
        row: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (pointer, encoded) = match &self.from {
            Source::Event(pointer) => (pointer.as_str(), self.encode_value(pointer.get(event), row)),
            Source::Meta(meta) => ("", meta.encode(metadata, self.ty, row)),
        };
        encoded.map_err(|unfit| Violation { pointer: pointer.to_owned(), detail: unfit.to_string() })
    }

    /// Returns whether the column reads strings as numbers. It does if the schema allows only strings that are numbers.
    pub fn reads_strings_as_numbers(&self) -> bool {
        match self.strings {
            Strings::Numbers(_) => true,
            Strings::AsTyped => false,
        }
    }

    pub(super) fn encode_value(&self, value: Option<&Value>, row: &mut Vec<u8>) -> Result<(), Unfit> {
        match (value, self.strings) {
            (Some(Value::String(text)), Strings::Numbers(form)) => self.ty.encode_number(text, form, row),
            (Some(Value::String(text)), Strings::AsTyped) if self.is_composed => match composed(text) {
                Cow::Borrowed(_) => self.ty.encode(value, row),
                Cow::Owned(text) => self.ty.encode(Some(&Value::String(text)), row),
            },
            (value, _) => self.ty.encode(value, row),
        }
    }
}

impl Table {
    /// Returns the table's name for SQL, quoted and with the schema.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// Quotes an identifier for SQL.
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
