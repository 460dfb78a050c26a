//! Rows in PostgreSQL's binary format, encoded once and sent by COPY or as arrays.

use std::borrow::Cow;

use shared::contract::{ColumnType, Landing};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo, Postgres};
use sqlx::{Encode, Type};

/// The beginning of COPY's binary format: signature, flags, length of the extension
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format").
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of COPY's binary format.
pub(crate) const COPY_TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// A column's value, preceded by its length. NULL has the length -1.
pub(crate) type Cell<'a> = &'a [u8];

/// NULL as a cell.
pub(crate) const NULL: Cell<'static> = &(-1_i32).to_be_bytes();

/// Iterates over the cells of an encoded row, without COPY's prefix.
pub(crate) fn cells(mut row: &[u8]) -> impl Iterator<Item = Cell<'_>> {
    std::iter::from_fn(move || {
        let (length, _) = row.split_first_chunk()?;
        let end = 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let (cell, rest) = row.split_at_checked(end)?;
        row = rest;
        Some(cell)
    })
}

/// Returns the cells of a row's key, one after the other, in the form that serves to compare keys
/// ([`ColumnType::comparable`]). Each cell begins with its length, so different keys have different bytes. A key of one
/// column, which is by far the most frequent case, is usually borrowed.
pub(crate) fn key_cells<'a>(landing: &Landing, key: &[usize], row: &'a [u8]) -> Cow<'a, [u8]> {
    let cell = |column: usize| landing.columns[column].ty.comparable(cells(row).nth(column).unwrap_or_default());
    match key {
        [column] => cell(*column),
        columns => Cow::Owned(columns.iter().flat_map(|&column| cell(column).into_owned()).collect()),
    }
}

/// A one-dimensional array of cells, bound as a parameter.
#[derive(Debug)]
pub(crate) struct Cells<'a> {
    ty: ColumnType,
    cells: Vec<Cell<'a>>,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(ty: ColumnType, cells: Vec<Cell<'a>>) -> Self {
        Self { ty, cells }
    }

    /// Transposes rows into columns. All rows have the same number of cells, because they were encoded for the same
    /// contract.
    pub(crate) fn transpose(types: &[ColumnType], rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Self> {
        let count = rows.len();
        let mut columns: Vec<Self> = types.iter().map(|&ty| Self::new(ty, Vec::with_capacity(count))).collect();
        for row in rows {
            columns.iter_mut().zip(cells(row)).for_each(|(column, cell)| column.cells.push(cell));
        }
        columns
    }
}

impl Type<Postgres> for Cells<'_> {
    fn type_info() -> PgTypeInfo {
        // Never used, because `produces` returns the array's type.
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Cells<'_> {
    /// The format is that of `array_send` in PostgreSQL's source: number of dimensions, whether there are NULLs, the
    /// elements' type, the dimension's length and lower bound, then the elements with their lengths.
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let has_null = self.cells.contains(&NULL);
        buffer.extend(1_i32.to_be_bytes());
        buffer.extend(i32::from(has_null).to_be_bytes());
        buffer.extend(self.ty.oid().to_be_bytes());
        buffer.extend(i32::try_from(self.cells.len())?.to_be_bytes());
        buffer.extend(1_i32.to_be_bytes());
        for cell in &self.cells {
            buffer.extend_from_slice(cell);
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.ty.array_oid())))
    }
}
