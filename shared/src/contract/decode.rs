//! Shows encoded rows as JSON, exactly as PostgreSQL's `row_to_json` would show the written rows.
//!
//! Rows are decoded from the bytes that would be sent to PostgreSQL, so the JSON shows the values that would be stored.

use serde_json::{Map, Number, Value};

use super::column::ColumnType;
use super::decimal::Decimal;
use super::metadata::Unsent;
use super::{Column, Landing, Source, json};

impl Landing {
    /// Decodes a row that [`Contract::check`](super::Contract::check) encoded without metadata. Columns that only Kafka
    /// can fill are null.
    pub fn show(&self, row: &[u8], unsent: &Unsent<'_>) -> Map<String, Value> {
        let mut cells = row;
        self.columns.iter().map(|column| (column.name.clone(), column.show(take_cell(&mut cells), unsent))).collect()
    }
}

impl Column {
    fn show(&self, cell: Option<&[u8]>, unsent: &Unsent<'_>) -> Value {
        match &self.from {
            Source::Event(_) => cell.and_then(|bytes| self.ty.show(bytes)).unwrap_or_default(),
            Source::Meta(meta) => meta.show(unsent),
        }
    }
}

/// Takes the next cell from an encoded row. Returns `None` if the cell is NULL.
pub(super) fn take_cell<'r>(row: &mut &'r [u8]) -> Option<&'r [u8]> {
    let (length, rest) = row.split_first_chunk()?;
    *row = rest;
    let (cell, rest) = rest.split_at_checked(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
    *row = rest;
    Some(cell)
}

impl ColumnType {
    /// Decodes a value that [`Self::encode`] wrote. `cell` does not include the length.
    pub(super) fn show(self, cell: &[u8]) -> Option<Value> {
        Some(match self {
            Self::Boolean => Value::Bool(cell != [0]),
            Self::Smallint => i16::from_be_bytes(cell.try_into().ok()?).into(),
            Self::Integer => i32::from_be_bytes(cell.try_into().ok()?).into(),
            Self::Bigint => i64::from_be_bytes(cell.try_into().ok()?).into(),
            Self::Real => rounded(&f32::from_be_bytes(cell.try_into().ok()?).into())?,
            Self::Double => rounded(&f64::from_be_bytes(cell.try_into().ok()?).into())?,
            Self::Numeric => number(&Decimal::from_numeric(cell)?.as_stored())?,
            Self::Text => std::str::from_utf8(cell).ok()?.into(),
            Self::Uuid => uuid::Uuid::from_slice(cell).ok()?.to_string().into(),
            Self::Date => date(i32::from_be_bytes(cell.try_into().ok()?).into(), "").into(),
            Self::Timestamp => time(i64::from_be_bytes(cell.try_into().ok()?), "").into(),
            Self::Timestamptz => time(i64::from_be_bytes(cell.try_into().ok()?), "+00:00").into(),
            // The first byte is the version of `jsonb`.
            Self::Jsonb => stored_json(json::parse(cell.get(1..)?).ok()?),
        })
    }
}

fn number(text: &str) -> Option<Value> {
    text.parse::<Number>().ok().map(Value::Number)
}

/// Removes the `.0` that `serde_json` adds to floating-point numbers without a fraction.
fn rounded(value: &Value) -> Option<Value> {
    let text = value.as_number()?.as_str();
    number(text.strip_suffix(".0").unwrap_or(text))
}

/// Rewrites the numbers in a JSON value as `jsonb` stores them: `1e3` becomes `1000`.
fn stored_json(value: Value) -> Value {
    match value {
        Value::Number(written) => {
            let stored = Decimal::parse(written.as_str()).and_then(|decimal| number(&decimal.as_stored()));
            stored.unwrap_or(Value::Number(written))
        }
        Value::Array(elements) => elements.into_iter().map(stored_json).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(name, member)| (name, stored_json(member))).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

/// Formats a time, given in microseconds since 2000, as PostgreSQL does in JSON. The format is ISO 8601 and, with an
/// offset, also RFC 3339.
pub(super) fn time(micros: i64, offset: &str) -> String {
    const DAY_MICROS: i64 = 86_400_000_000;
    let (days, of_day) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    let fraction = fraction.trim_end_matches('0');
    date(days, &format!("T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"))
}

/// Formats a date and a time of day. The date is given in days since 2000. A year before 1 is marked `BC`, and a year
/// after 9999 has more than four digits. `jiff` is not used, because `jiff` writes years before 1 differently and
/// supports no year after 9999.
///
/// The algorithm is that of <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>. An era has 400
/// years. Era 0 begins on 1 March of year 0.
fn date(days: i64, time_of_day: &str) -> String {
    const DAYS_FROM_MARCH_OF_YEAR_0: i64 = 730_425;
    const ERA_DAYS: i64 = 146_097;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The number of months since March.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{time_of_day}{era}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::reach::Strings;
    use super::super::{Meta, Pointer, Table};
    use super::*;

    fn shown(ty: ColumnType, written: &str) -> Option<String> {
        let mut row = Vec::new();
        ty.encode(Some(&serde_json::from_str(written).ok()?), &mut row).ok()?;
        let mut cells = row.as_slice();
        let value = ty.show(take_cell(&mut cells)?)?;
        assert!(cells.is_empty(), "{written}");
        Some(value.to_string())
    }

    #[test]
    fn values_are_shown_as_postgresql_stores_them() {
        for (ty, written, expected) in [
            (ColumnType::Boolean, "true", "true"),
            (ColumnType::Boolean, "false", "false"),
            (ColumnType::Smallint, "-5.0", "-5"),
            (ColumnType::Integer, "7E+3", "7000"),
            (ColumnType::Bigint, "9223372036854775807", "9223372036854775807"),
            (ColumnType::Real, "0.1", "0.1"),
            (ColumnType::Real, "16777217", "16777216"),
            (ColumnType::Double, "1e2", "100"),
            (ColumnType::Double, "0.1000000000000000055", "0.1"),
            (ColumnType::Numeric, "1.50", "1.50"),
            (ColumnType::Numeric, "-0.0010", "-0.0010"),
            (ColumnType::Numeric, "1.5e3", "1500"),
            (ColumnType::Numeric, "10000.00", "10000.00"),
            (ColumnType::Numeric, "0.00", "0.00"),
            (ColumnType::Numeric, "-0", "0"),
            (ColumnType::Numeric, "123456789012345678901234567890.12300", "123456789012345678901234567890.12300"),
            (ColumnType::Numeric, "1e131071", "1e+131071"),
            (ColumnType::Text, r#""a\"b""#, r#""a\"b""#),
            (ColumnType::Uuid, "\"67E5504410B1426F9247BB680E5FE0C8\"", "\"67e55044-10b1-426f-9247-bb680e5fe0c8\""),
            (ColumnType::Date, "\"2024-02-29\"", "\"2024-02-29\""),
            (ColumnType::Date, "\"0001-01-01\"", "\"0001-01-01\""),
            (ColumnType::Timestamp, "\"2019-05-07 19:54:13.563\"", "\"2019-05-07T19:54:13.563\""),
            (ColumnType::Timestamptz, "1557258853.563", "\"2019-05-07T19:54:13.563+00:00\""),
            (ColumnType::Timestamptz, "\"2000-01-01T00:00:00+02:00\"", "\"1999-12-31T22:00:00+00:00\""),
            (ColumnType::Timestamptz, "-0.000001", "\"1969-12-31T23:59:59.999999+00:00\""),
            (ColumnType::Timestamptz, "253402300800", "\"10000-01-01T00:00:00+00:00\""),
            (ColumnType::Timestamptz, "-62135596801", "\"0001-12-31T23:59:59+00:00 BC\""),
            (ColumnType::Jsonb, r#"{"b":[1e3,1.50],"a":null}"#, r#"{"a":null,"b":[1000,1.50]}"#),
        ] {
            assert_eq!(shown(ty, written).as_deref(), Some(expected), "{ty:?} {written}");
        }
    }

    #[test]
    fn dates_in_the_years_1_to_9999_are_shown_as_jiff_writes_them() {
        let epoch = jiff::civil::date(2000, 1, 1);
        for days in (-730_119..2_921_940).step_by(97) {
            let expected = epoch.checked_add(jiff::Span::new().days(days)).map(|date| date.to_string());
            assert_eq!(expected.ok().as_deref(), Some(date(days, "").as_str()));
        }
    }

    #[test]
    fn a_missing_value_is_shown_as_null_and_so_is_metadata_that_only_kafka_has() {
        let column = |name: &str, from| Column {
            name: name.to_owned(),
            from,
            ty: ColumnType::Text,
            is_composed: false,
            strings: Strings::AsTyped,
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
        let metas = [Meta::Topic, Meta::Partition, Meta::Offset, Meta::Timestamp, Meta::User, Meta::TraceId];
        let pointer = Pointer::try_from("/x".to_owned()).unwrap_or_else(|error| panic!("{error}"));
        let sources = [Source::Event(pointer)].into_iter().chain(metas.map(Source::Meta));
        let columns = sources.zip(["a", "b", "c", "d", "e", "f", "g"]).map(|(from, name)| column(name, from)).collect();
        let table = Table { schema: "s".to_owned(), name: "t".to_owned() };
        let landing = Landing { table, columns };
        let mut row = Vec::new();
        assert_eq!(landing.encode(&json!({}), None, &mut row), Ok(()));
        let unsent = Unsent { topic: "orders", user: "ann", traceparent: Some(&traceparent) };
        let expected = json!({"a": null, "b": "orders", "c": null, "d": null, "e": null, "f": "ann", "g": trace});
        assert_eq!(Value::Object(landing.show(&row, &unsent)), expected);
    }
}
