//! Encodes rows as protocol buffers.
//!
//! A value is first encoded for PostgreSQL, so both destinations read a value in the same way, and BigQuery gets no
//! value that PostgreSQL would reject. In addition, this module rejects values that PostgreSQL can hold but BigQuery
//! cannot. The types of the fields follow <https://cloud.google.com/bigquery/docs/supported-data-types>. The fields are
//! numbered from 1, in the order of the columns.

use serde_json::Value;

use super::super::column::{ColumnType, Unfit};
use super::super::decimal::Decimal;
use super::super::decode::{take_cell, time};
use super::super::metadata::{Metadata, Source};
use super::super::violation::Violation;
use super::{BigQueryColumn, BigQueryType};

/// The types of protocol buffer fields that rows use, with the numbers of these types in `FieldDescriptorProto.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtoType {
    /// An 8-byte floating-point number.
    Double = 1,
    /// An 8-byte integer.
    Int64 = 3,
    /// A 4-byte integer.
    Int32 = 5,
    /// `true` or `false`.
    Bool = 8,
    /// A text.
    String = 9,
}

const NUMERIC: Unfit = Unfit("a number with at most 29 digits before the point and 9 after it, for NUMERIC");
const BIGNUMERIC: Unfit = Unfit("a number within the range of BIGNUMERIC, with at most 38 digits after the point");
const YEAR: Unfit = Unfit("a date or time in the years 1 to 9999, for BigQuery");
/// The error for an encoded cell that does not match its column's type. Only a bug in Sluice can cause this error.
const ENCODING: Unfit = Unfit("a value that its column can hold");

/// The days of the years 1 to 9999, counted from 2000, PostgreSQL's epoch.
const DAYS: std::ops::Range<i64> = -730_119..2_921_940;
const DAY_MICROS: i64 = 86_400_000_000;
/// The number of days from 1970, BigQuery's epoch, to 2000.
const DAYS_FROM_1970: i64 = 10_957;

impl BigQueryType {
    /// Returns the type of the field that carries a column's values.
    pub fn proto_type(self) -> ProtoType {
        match self {
            Self::Bool => ProtoType::Bool,
            Self::Int64 | Self::Timestamp => ProtoType::Int64,
            Self::Float64 => ProtoType::Double,
            Self::Date => ProtoType::Int32,
            Self::Numeric | Self::Bignumeric | Self::String | Self::Datetime | Self::Json => ProtoType::String,
        }
    }
}

impl BigQueryColumn {
    /// Appends an event's row.
    ///
    /// # Errors
    /// The first value that does not fit its column. The caller must then discard the bytes that were appended.
    pub fn encode_row(
        columns: &[Self],
        event: &Value,
        metadata: Option<&Metadata<'_>>,
        row: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let mut encoded = Vec::new();
        for (column, number) in columns.iter().zip(1_u64..) {
            encoded.clear();
            column.column.encode(event, metadata, &mut encoded)?;
            let Some(cell) = take_cell(&mut encoded.as_slice()) else { continue };
            column.put(number, cell, row).map_err(|unfit| Violation {
                pointer: match &column.column.from {
                    Source::Event(pointer) => pointer.as_str().to_owned(),
                    Source::Meta(_) => String::new(),
                },
                detail: unfit.to_string(),
            })?;
        }
        Ok(())
    }

    /// Appends a field. `cell` is the value in PostgreSQL's binary form.
    fn put(&self, number: u64, cell: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        const VARINT: u64 = 0;
        const FIXED64: u64 = 1;
        let tag = |wire_type: u64| number << 3 | wire_type;
        match self.ty {
            BigQueryType::Bool => {
                put_varint(tag(VARINT), out);
                put_varint(u64::from(cell != [0]), out);
            }
            BigQueryType::Int64 => {
                let integer = integer(cell).ok_or(ENCODING)?;
                put_varint(tag(VARINT), out);
                put_varint(integer.cast_unsigned(), out);
            }
            BigQueryType::Float64 => {
                put_varint(tag(FIXED64), out);
                out.extend(double(cell).ok_or(ENCODING)?.to_le_bytes());
            }
            BigQueryType::Numeric => put_text(number, &decimal(cell, 29, 9).ok_or(NUMERIC)?, out),
            BigQueryType::Bignumeric => put_text(number, &bignumeric(cell).ok_or(BIGNUMERIC)?, out),
            BigQueryType::String => match <[u8; 16]>::try_from(cell) {
                Ok(bytes) if self.column.ty == ColumnType::Uuid => {
                    put_text(number, &uuid::Uuid::from_bytes(bytes).to_string(), out);
                }
                Ok(_) | Err(_) => put_bytes(number, cell, out),
            },
            BigQueryType::Date => {
                let days = integer(cell).filter(|days| DAYS.contains(days)).ok_or(YEAR)?;
                put_varint(tag(VARINT), out);
                put_varint((days + DAYS_FROM_1970).cast_unsigned(), out);
            }
            BigQueryType::Datetime => put_text(number, &time(micros(cell)?, ""), out),
            BigQueryType::Timestamp => {
                let micros = micros(cell)?;
                put_varint(tag(VARINT), out);
                put_varint((micros + DAYS_FROM_1970 * DAY_MICROS).cast_unsigned(), out);
            }
            // The first byte is the version of jsonb.
            BigQueryType::Json => put_bytes(number, cell.get(1..).ok_or(ENCODING)?, out),
        }
        Ok(())
    }
}

/// Reads an integer of 2, 4 or 8 bytes.
fn integer(cell: &[u8]) -> Option<i64> {
    match cell.len() {
        2 => Some(i16::from_be_bytes(cell.try_into().ok()?).into()),
        4 => Some(i32::from_be_bytes(cell.try_into().ok()?).into()),
        _ => Some(i64::from_be_bytes(cell.try_into().ok()?)),
    }
}

/// Reads a floating-point number of 4 or 8 bytes. A 4-byte number is first converted to its shortest decimal text,
/// which PostgreSQL would also show, so that 0.1 stays 0.1.
fn double(cell: &[u8]) -> Option<f64> {
    match cell.len() {
        4 => f32::from_be_bytes(cell.try_into().ok()?).to_string().parse().ok(),
        _ => Some(f64::from_be_bytes(cell.try_into().ok()?)),
    }
}

/// Reads a time in microseconds since 2000. Rejects years that BigQuery does not have.
fn micros(cell: &[u8]) -> Result<i64, Unfit> {
    let micros = integer(cell).ok_or(ENCODING)?;
    DAYS.contains(&micros.div_euclid(DAY_MICROS)).then_some(micros).ok_or(YEAR)
}

/// Reads a decimal number and drops trailing zeros after the point. Returns `None` if more than `integral` digits
/// remain before the point, or more than `fractional` digits after it.
fn decimal(cell: &[u8], integral: usize, fractional: usize) -> Option<String> {
    // The text has an exponent only if it would otherwise have hundreds of zeros. BigQuery cannot hold such a number.
    let text = Some(Decimal::from_numeric(cell)?.as_stored()).filter(|text| !text.contains('e'))?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = whole.trim_start_matches('-').trim_start_matches('0');
    if digits.len() > integral || fraction.len() > fractional {
        return None;
    }
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// Reads a number in the range of BIGNUMERIC. A BIGNUMERIC is a 256-bit integer divided by 10^38.
fn bignumeric(cell: &[u8]) -> Option<String> {
    /// 2^255.
    const LIMIT: &str = "57896044618658097711785492504343953926634992332820282019728792003956564819968";
    let text = decimal(cell, 39, 38)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let scaled = format!("{:0>39}{fraction:0<38}", whole.trim_start_matches('-'));
    let is_in_range = if text.starts_with('-') { scaled.as_str() <= LIMIT } else { scaled.as_str() < LIMIT };
    is_in_range.then_some(text)
}

fn put_text(number: u64, text: &str, out: &mut Vec<u8>) {
    put_bytes(number, text.as_bytes(), out);
}

fn put_bytes(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    const LENGTH_DELIMITED: u64 = 2;
    put_varint(number << 3 | LENGTH_DELIMITED, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a varint (<https://protobuf.dev/programming-guides/encoding/#varints>).
fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::super::{Contract, json as contract_json};
    use super::super::Target;
    use super::*;

    /// Encodes one value, given as JSON text. Returns the field as text, or the violation.
    fn encoded(ty: &str, value: &str) -> Result<String, String> {
        let contract = json!({
            "x-sluice": {
                "topic": "t", "partitions": 1, "mode": "append", "table": "public.t",
                "columns": {"v": {"from": "/v", "type": if ty == "bignumeric" { "numeric" } else { ty }}},
                "bigquery": {"table": "d.t", "columns": {"v": {"from": "/v", "type": ty}}}
            }
        });
        let contract = Contract::compile(Path::new("t.json"), contract.to_string().as_bytes()).unwrap();
        let Some(Target::Table { columns, .. }) = contract.bigquery.map(|bigquery| bigquery.target) else { panic!() };
        let event = contract_json::parse(format!("{{\"v\": {value}}}").as_bytes()).unwrap();
        let mut row = Vec::new();
        match BigQueryColumn::encode_row(&columns, &event, None, &mut row) {
            Ok(()) => Ok(shown(&row)),
            Err(violation) => {
                assert_eq!(violation.pointer, "/v");
                Err(violation.detail)
            }
        }
    }

    /// Decodes a row with at most one field.
    fn shown(row: &[u8]) -> String {
        let varint = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
        match row {
            [] => "NULL".to_owned(),
            [0b1000, integer @ ..] => varint(integer).cast_signed().to_string(),
            [0b1001, double @ ..] => f64::from_le_bytes(double.try_into().unwrap()).to_string(),
            [0b1010, rest @ ..] => {
                let length = rest.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
                let (length, text) = rest.split_at(length);
                assert_eq!(varint(length), text.len() as u64);
                String::from_utf8(text.to_vec()).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_type_is_encoded_at_its_limits() {
        let (long, largest) = (format!("{:?}", "x".repeat(10_000_000)), f64::MAX.to_string());
        for (ty, value, expected) in [
            ("boolean", "true", "1"),
            ("boolean", "false", "0"),
            ("boolean", "null", "NULL"),
            ("smallint", "-32768", "-32768"),
            ("integer", "2147483647", "2147483647"),
            ("bigint", "-9223372036854775808", "-9223372036854775808"),
            ("bigint", "9223372036854775807", "9223372036854775807"),
            ("real", "0.1", "0.1"),
            ("double precision", "1.7976931348623157e308", largest.as_str()),
            ("numeric", "99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999"),
            ("numeric", "-99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999"),
            ("numeric", "1.500000000000", "1.5"),
            ("numeric", "1e28", "10000000000000000000000000000"),
            ("numeric", "0.000", "0"),
            (
                "bignumeric",
                "578960446186580977117854925043439539266.34992332820282019728792003956564819967",
                "578960446186580977117854925043439539266.34992332820282019728792003956564819967",
            ),
            (
                "bignumeric",
                "-578960446186580977117854925043439539266.34992332820282019728792003956564819968",
                "-578960446186580977117854925043439539266.34992332820282019728792003956564819968",
            ),
            ("text", "\"ä\"", "ä"),
            ("text", "\"\"", ""),
            ("text", &long, long.trim_matches('"')),
            ("uuid", "\"1B671A64-40D5-491E-99B0-DA01FF1F3341\"", "1b671a64-40d5-491e-99b0-da01ff1f3341"),
            // The expected numbers are days or microseconds since 1970.
            ("date", "\"0001-01-01\"", "-719162"),
            ("date", "\"9999-12-31\"", "2932896"),
            ("timestamp", "\"0001-01-01 00:00:00\"", "0001-01-01T00:00:00"),
            ("timestamp", "\"9999-12-31 23:59:59.999999\"", "9999-12-31T23:59:59.999999"),
            ("timestamptz", "\"0001-01-01T00:00:00Z\"", "-62135596800000000"),
            ("timestamptz", "253402300799.999999", "253402300799999999"),
            ("jsonb", "{\"a\": [1, null]}", "{\"a\":[1,null]}"),
        ] {
            let row = encoded(ty, value);
            assert!(row == Ok(expected.to_owned()), "{ty} {:.80}: {:.80?}", value, row);
        }
    }

    #[test]
    fn a_value_beyond_the_limits_of_its_type_is_refused_and_never_rounded() {
        for (ty, value, expected) in [
            ("numeric", "100000000000000000000000000000", NUMERIC),
            ("numeric", "0.0000000001", NUMERIC),
            ("numeric", "1e500", NUMERIC),
            ("numeric", "1e-500", NUMERIC),
            ("bignumeric", "1e-39", BIGNUMERIC),
            (
                "bignumeric",
                "578960446186580977117854925043439539266.34992332820282019728792003956564819968",
                BIGNUMERIC,
            ),
            (
                "bignumeric",
                "-578960446186580977117854925043439539266.34992332820282019728792003956564819969",
                BIGNUMERIC,
            ),
            ("bignumeric", "1e39", BIGNUMERIC),
            ("timestamptz", "253402300800", YEAR),
            ("timestamptz", "-62135596800.000001", YEAR),
            ("timestamp", "\"9999-12-31 23:59:59.9999999\"", YEAR),
        ] {
            assert_eq!(encoded(ty, value), Err(expected.to_string()), "{ty} {value}");
        }
    }
}
