//! Column types, and how values of each type are encoded.
//!
//! A value is encoded once, in PostgreSQL's binary format. The same bytes serve for COPY and as elements of arrays.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::decimal::Decimal;
use super::number_text::Form;

/// The types a column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ColumnType {
    /// `true` or `false`.
    #[serde(rename = "boolean")]
    Boolean,
    /// A 2-byte integer.
    #[serde(rename = "smallint")]
    Smallint,
    /// A 4-byte integer.
    #[serde(rename = "integer")]
    Integer,
    /// An 8-byte integer.
    #[serde(rename = "bigint")]
    Bigint,
    /// A 4-byte floating-point number.
    #[serde(rename = "real")]
    Real,
    /// An 8-byte floating-point number.
    #[serde(rename = "double precision")]
    Double,
    /// Any decimal number, stored exactly.
    #[serde(rename = "numeric")]
    Numeric,
    /// A string without U+0000.
    #[serde(rename = "text")]
    Text,
    /// A UUID, read from a string.
    #[serde(rename = "uuid")]
    Uuid,
    /// A date, read from a string such as `2019-05-07`.
    #[serde(rename = "date")]
    Date,
    /// A date and time, read from a string such as `2019-05-07 19:54:13.563` or `2019-05-07T19:54:13.563`.
    #[serde(rename = "timestamp")]
    Timestamp,
    /// A point in time, read from an RFC 3339 string or from a number of seconds since the Unix epoch.
    #[serde(rename = "timestamptz")]
    Timestamptz,
    /// Any JSON value.
    #[serde(rename = "jsonb")]
    Jsonb,
}

/// The error for a value that does not fit its column. The message says which values fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct Unfit(pub &'static str);

const NUMERIC: Unfit = Unfit("a number within the range of numeric");
const NUMERIC_WITHIN: Unfit = Unfit("JSON whose numbers are within the range of numeric");

/// The time from which PostgreSQL counts dates and times.
const POSTGRES_EPOCH: DateTime = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
const POSTGRES_EPOCH_UNIX_MICROS: i64 = 946_684_800_000_000;
/// The range of PostgreSQL's timestamps in microseconds since 2000: from 4713 BC to 294276 AD
/// (<https://www.postgresql.org/docs/current/datatype-datetime.html>).
const TIMESTAMP_MICROS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

impl ColumnType {
    /// Returns the type's SQL name.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Smallint => "smallint",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Jsonb => "jsonb",
        }
    }

    /// Returns the type's object id, which never changes (`pg_type.dat` in PostgreSQL's source).
    pub fn oid(self) -> u32 {
        match self {
            Self::Boolean => 16,
            Self::Smallint => 21,
            Self::Integer => 23,
            Self::Bigint => 20,
            Self::Real => 700,
            Self::Double => 701,
            Self::Numeric => 1700,
            Self::Text => 25,
            Self::Uuid => 2950,
            Self::Date => 1082,
            Self::Timestamp => 1114,
            Self::Timestamptz => 1184,
            Self::Jsonb => 3802,
        }
    }

    /// Returns the object id of the type's array type.
    pub fn array_oid(self) -> u32 {
        match self {
            Self::Boolean => 1000,
            Self::Smallint => 1005,
            Self::Integer => 1007,
            Self::Bigint => 1016,
            Self::Real => 1021,
            Self::Double => 1022,
            Self::Numeric => 1231,
            Self::Text => 1009,
            Self::Uuid => 2951,
            Self::Date => 1182,
            Self::Timestamp => 1115,
            Self::Timestamptz => 1185,
            Self::Jsonb => 3807,
        }
    }

    /// Returns whether PostgreSQL and Sluice order the type's values in the same way. Only such a type can hold a
    /// version. Text cannot hold a version, because PostgreSQL orders text by the database's collation.
    pub fn is_ordered(self) -> bool {
        match self {
            Self::Smallint
            | Self::Integer
            | Self::Bigint
            | Self::Real
            | Self::Double
            | Self::Numeric
            | Self::Date
            | Self::Timestamp
            | Self::Timestamptz => true,
            Self::Boolean | Self::Text | Self::Uuid | Self::Jsonb => false,
        }
    }

    /// Returns whether the type's values are numbers.
    pub fn is_number(self) -> bool {
        match self {
            Self::Smallint | Self::Integer | Self::Bigint | Self::Real | Self::Double | Self::Numeric => true,
            Self::Boolean
            | Self::Text
            | Self::Uuid
            | Self::Date
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Jsonb => false,
        }
    }

    /// Appends the value, preceded by its length, as binary COPY and binary arrays expect it. NULL has the length -1.
    ///
    /// # Errors
    /// The value does not fit the column. The caller must then discard the bytes that were appended.
    pub fn encode(self, value: Option<&Value>, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let value = match value {
            None | Some(Value::Null) => {
                out.extend((-1_i32).to_be_bytes());
                return Ok(());
            }
            Some(value) => value,
        };
        with_length(out, |out| self.encode_value(value, out))
    }

    /// Like [`Self::encode`], but for a number in a string.
    ///
    /// # Errors
    /// The string is not a number of this form, or the column cannot hold the number.
    pub(super) fn encode_number(self, text: &str, form: Form, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let number = form.read(text);
        with_length(out, |out| match (self, form) {
            (Self::Numeric, _) => number.and_then(|number| number.to_numeric(out)).ok_or(NUMERIC),
            (ty, _) => ty.put_integer(number.and_then(|number| number.to_i64(0, false)), out),
        })
    }

    /// Appends an integer of 2, 4 or 8 bytes, depending on the type.
    fn put_integer(self, integer: Option<i64>, out: &mut Vec<u8>) -> Result<(), Unfit> {
        if self == Self::Smallint {
            let integer = integer.and_then(|integer| i16::try_from(integer).ok());
            out.extend(integer.ok_or(Unfit("an integer from -32768 to 32767"))?.to_be_bytes());
        } else if self == Self::Integer {
            let integer = integer.and_then(|integer| i32::try_from(integer).ok());
            out.extend(integer.ok_or(Unfit("an integer of 32 bits"))?.to_be_bytes());
        } else {
            out.extend(integer.ok_or(Unfit("an integer of 64 bits"))?.to_be_bytes());
        }
        Ok(())
    }

    fn encode_value(self, value: &Value, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Self::Boolean => out.push(value.as_bool().ok_or(Unfit("true or false"))?.into()),
            Self::Smallint | Self::Integer | Self::Bigint => self.put_integer(integer(value), out)?,
            Self::Real => {
                let number = value.as_number().and_then(|number| number.as_str().parse::<f32>().ok());
                let number = number.filter(|number| number.is_finite());
                out.extend(number.ok_or(Unfit("a number within the range of real"))?.to_be_bytes());
            }
            Self::Double => {
                let number = value.as_number().and_then(|number| number.as_str().parse::<f64>().ok());
                let number = number.filter(|number| number.is_finite());
                out.extend(number.ok_or(Unfit("a number within the range of double precision"))?.to_be_bytes());
            }
            Self::Numeric => value
                .as_number()
                .and_then(|number| Decimal::parse(number.as_str()))
                .and_then(|decimal| decimal.to_numeric(out))
                .ok_or(NUMERIC)?,
            Self::Text => {
                let text = value.as_str().filter(|text| !text.contains('\0'));
                out.extend(text.ok_or(Unfit("a string without U+0000"))?.as_bytes());
            }
            Self::Uuid => {
                let uuid = value.as_str().and_then(|text| uuid::Uuid::try_parse(text).ok());
                out.extend(uuid.ok_or(Unfit("a UUID"))?.into_bytes());
            }
            Self::Date => {
                let days = value
                    .as_str()
                    .and_then(date)
                    .and_then(|date| i32::try_from(date.duration_since(POSTGRES_EPOCH.date()).as_secs() / 86_400).ok());
                out.extend(days.ok_or(Unfit("a date such as 2019-05-07, without a time"))?.to_be_bytes());
            }
            Self::Timestamp => {
                const EXPECTED: Unfit = Unfit("a date and time without an offset, such as 2019-05-07 19:54:13.563");
                let time = value.as_str().and_then(date_time).ok_or(EXPECTED)?;
                out.extend(micros(time.duration_since(POSTGRES_EPOCH)).ok_or(EXPECTED)?.to_be_bytes());
            }
            Self::Timestamptz => {
                const EXPECTED: Unfit = Unfit("seconds since 1970, or a time such as 2019-05-07T19:54:13Z");
                out.extend(timestamptz(value).ok_or(EXPECTED)?.to_be_bytes());
            }
            Self::Jsonb => {
                const VERSION: u8 = 1;
                has_storable_numbers(value).then_some(()).ok_or(NUMERIC_WITHIN)?;
                out.push(VERSION);
                serde_json::to_writer(out, value).map_err(|_| Unfit("JSON"))?;
            }
        }
        Ok(())
    }
}

/// Appends the bytes that `encode` writes, preceded by their length.
fn with_length(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfit>) -> Result<(), Unfit> {
    let start = out.len();
    out.extend([0; 4]);
    encode(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(|_| Unfit("shorter than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Converts a time from milliseconds since the Unix epoch to PostgreSQL's microseconds since 2000.
pub(super) fn timestamptz_micros(unix_ms: i64) -> Option<i64> {
    let micros = unix_ms.checked_mul(1_000)?.checked_sub(POSTGRES_EPOCH_UNIX_MICROS)?;
    TIMESTAMP_MICROS.contains(&micros).then_some(micros)
}

/// Reads an integer in any notation: in JSON Schema, 5.0 and 1e3 are integers, too.
fn integer(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| Decimal::parse(number.as_str())?.to_i64(0, false))
}

fn micros(duration: SignedDuration) -> Option<i64> {
    let half = SignedDuration::from_nanos(if duration.is_negative() { -500 } else { 500 });
    i64::try_from(duration.checked_add(half)?.as_micros()).ok()
}

/// Reads a date. A date with a time is refused, because the column would lose the time.
fn date(text: &str) -> Option<Date> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    text.parse().ok().filter(|date: &Date| is_plain && date.year() > 0)
}

/// Reads a date and time. A time with an offset is refused, because the column would lose the offset.
fn date_time(text: &str) -> Option<DateTime> {
    let (day, time) = text.split_once(['T', 't', ' '])?;
    let is_plain = time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b','));
    let time: Time = time.parse().ok().filter(|_| is_plain && time.contains(':'))?;
    Some(DateTime::from_parts(date(day)?, time))
}

fn timestamptz(value: &Value) -> Option<i64> {
    let micros = match value {
        Value::Number(seconds) => {
            Decimal::parse(seconds.as_str())?.to_i64(6, true)?.checked_sub(POSTGRES_EPOCH_UNIX_MICROS)?
        }
        Value::String(text) => {
            let time: Timestamp = text.parse().ok()?;
            micros(time.as_duration())? - POSTGRES_EPOCH_UNIX_MICROS
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    TIMESTAMP_MICROS.contains(&micros).then_some(micros)
}

/// Returns whether PostgreSQL can store the numbers in a JSON value. `jsonb` stores them as `numeric`.
fn has_storable_numbers(value: &Value) -> bool {
    match value {
        // The common case: a number that is this short and has no exponent always fits.
        Value::Number(number) if number.as_str().len() < 100 && !number.as_str().contains(['e', 'E']) => true,
        Value::Number(number) => {
            Decimal::parse(number.as_str()).is_some_and(|decimal| decimal.to_numeric(&mut Vec::new()).is_some())
        }
        Value::Array(elements) => elements.iter().all(has_storable_numbers),
        Value::Object(members) => members.values().all(has_storable_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(ty: ColumnType, value: &Value) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        ty.encode(Some(value), &mut out).ok()?;
        let (length, bytes) = out.split_at(4);
        assert_eq!(length, u32::try_from(bytes.len()).ok()?.to_be_bytes());
        Some(bytes.to_vec())
    }

    #[test]
    fn a_null_or_absent_value_is_encoded_as_null() {
        for value in [None, Some(&Value::Null)] {
            let mut out = Vec::new();
            assert_eq!(ColumnType::Text.encode(value, &mut out), Ok(()));
            assert_eq!(out, (-1_i32).to_be_bytes());
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_column_is_refused() {
        for (ty, value) in [
            (ColumnType::Boolean, json!("true")),
            (ColumnType::Smallint, json!(32_768)),
            (ColumnType::Integer, json!(2_147_483_648_i64)),
            (ColumnType::Bigint, json!(1.5)),
            (ColumnType::Text, json!("a\0b")),
            (ColumnType::Text, json!(5)),
            (ColumnType::Uuid, json!("5")),
            (ColumnType::Date, json!("2019-02-30")),
            // PostgreSQL has no year 0, and would store the year 1 BC.
            (ColumnType::Date, json!("0000-01-01")),
            (ColumnType::Timestamp, json!("0000-12-31 23:59:59")),
            (ColumnType::Timestamp, json!("2019-05-07")),
            // The column would lose the offset or the time.
            (ColumnType::Timestamp, json!("2019-05-07T19:54:13+02:00")),
            (ColumnType::Timestamp, json!("2019-05-07T19:54:13-08:00")),
            (ColumnType::Timestamp, json!("2019-05-07T19:54:13Z")),
            (ColumnType::Timestamp, json!("2019-05-07T19:54:13[UTC]")),
            (ColumnType::Date, json!("2019-05-07T19:54:13")),
            (ColumnType::Date, json!("2019-05-07T19:54:13-08:00")),
            (ColumnType::Date, json!("2019-05-07[u-ca=hebrew]")),
            (ColumnType::Timestamptz, json!("2019-05-07 19:54")),
            (ColumnType::Timestamptz, json!(1e13)),
        ] {
            assert_eq!(encoded(ty, &value), None, "{ty:?} {value}");
        }
        let huge: Value = serde_json::from_str("1e400").unwrap_or_default();
        assert_eq!(encoded(ColumnType::Double, &huge), None);
        assert_eq!(encoded(ColumnType::Real, &json!(1e39)), None);
        assert!(encoded(ColumnType::Numeric, &huge).is_some());
        for (number, fits) in [("1e400", true), ("1e131071", true), ("1e131072", false), ("1e-16384", false)] {
            let number: Value = serde_json::from_str(number).unwrap_or_default();
            let (bare, within) = (encoded(ColumnType::Numeric, &number), json!({"a": [{"b": number}]}));
            assert_eq!((bare.is_some(), encoded(ColumnType::Jsonb, &within).is_some()), (fits, fits), "{within}");
        }
    }

    #[test]
    fn a_time_written_in_three_ways_is_the_same_time() {
        let of = |ty, value| encoded(ty, &value).and_then(|bytes| bytes.try_into().ok()).map(i64::from_be_bytes);
        let expected = Some(610_574_053_563_000);
        assert_eq!(of(ColumnType::Timestamptz, json!(1_557_258_853.563)), expected);
        assert_eq!(of(ColumnType::Timestamptz, json!("2019-05-07T21:54:13.563+02:00")), expected);
        assert_eq!(of(ColumnType::Timestamp, json!("2019-05-07 19:54:13.563")), expected);
    }
}
