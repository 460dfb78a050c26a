//! Compares versions: finds out which of two encoded values of a column is higher in PostgreSQL's order.
//!
//! NULL is lower than any version, so an event without a version replaces only a row without a version.

use std::cmp::Ordering;

use shared::contract::ColumnType;

use super::rows::NULL;

/// Compares two cells of a column, each preceded by its length.
pub(crate) fn compare(ty: ColumnType, a: &[u8], b: &[u8]) -> Ordering {
    match (a == NULL, b == NULL) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => values(ty, a.get(4..).unwrap_or_default(), b.get(4..).unwrap_or_default()),
    }
}

fn values(ty: ColumnType, a: &[u8], b: &[u8]) -> Ordering {
    match ty {
        ColumnType::Smallint
        | ColumnType::Integer
        | ColumnType::Bigint
        | ColumnType::Date
        | ColumnType::Timestamp
        | ColumnType::Timestamptz => integer(a).cmp(&integer(b)),
        ColumnType::Real | ColumnType::Double => {
            let (a, b) = (float(a), float(b));
            // PostgreSQL orders NaN above every number.
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        ColumnType::Numeric => Numeric::read(a).compare(&Numeric::read(b)),
        // A contract's version never has one of these types.
        ColumnType::Boolean | ColumnType::Text | ColumnType::Uuid | ColumnType::Jsonb => a.cmp(b),
    }
}

/// Decodes a signed integer of at most 8 bytes, the most significant byte first.
fn integer(bytes: &[u8]) -> i64 {
    let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    bytes.iter().fold(if is_negative { -1 } else { 0 }, |value, &byte| (value << 8) | i64::from(byte))
}

fn float(bytes: &[u8]) -> f64 {
    match *bytes {
        [a, b, c, d] => f32::from_be_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    }
}

/// A `numeric` as PostgreSQL sends it (`numeric_send` in PostgreSQL's source): the number of digits, the weight of the
/// first digit, the sign, the scale, and then the digits in base 10,000.
struct Numeric {
    class: Class,
    weight: i32,
    digits: Vec<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    NegativeInfinity,
    Negative,
    Zero,
    Positive,
    PositiveInfinity,
    NotANumber,
}

impl Numeric {
    fn read(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let mut word = || words.next().unwrap_or_default();
        let (_count, weight, sign, _scale) = (word(), word().cast_signed(), word(), word());
        let digits: Vec<u16> = words.collect();
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        let end = digits.iter().rposition(|digit| *digit != 0).map_or(leading, |last| last + 1);
        let digits = digits[leading..end].to_vec();
        let class = match sign {
            0xC000 => Class::NotANumber,
            0xD000 => Class::PositiveInfinity,
            0xF000 => Class::NegativeInfinity,
            _ if digits.is_empty() => Class::Zero,
            0x4000 => Class::Negative,
            _ => Class::Positive,
        };
        Self { class, weight: i32::from(weight) - i32::try_from(leading).unwrap_or_default(), digits }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let magnitude = || self.weight.cmp(&other.weight).then_with(|| self.digits.cmp(&other.digits));
        self.class.cmp(&other.class).then_with(|| match self.class {
            Class::Positive => magnitude(),
            Class::Negative => magnitude().reverse(),
            Class::Zero | Class::NotANumber | Class::PositiveInfinity | Class::NegativeInfinity => Ordering::Equal,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cell(ty: ColumnType, value: &Value) -> Vec<u8> {
        let mut cell = Vec::new();
        assert_eq!(ty.encode(Some(value), &mut cell), Ok(()), "{value}");
        cell
    }

    #[test]
    fn cells_are_ordered_as_the_values_that_they_hold() {
        let numbers = [
            "-1e30",
            "-10000.5",
            "-10000",
            "-1",
            "-0.00012",
            "-0.0001",
            "0",
            "1e-20",
            "0.5",
            "1",
            "9999.9",
            "10000",
            "123456789.01",
            "1e30",
        ];
        let numbers: Vec<Value> = numbers.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect::<Vec<_>>();
        for (ty, values) in [
            (ColumnType::Numeric, numbers.clone()),
            (ColumnType::Double, numbers.clone()),
            (ColumnType::Real, vec![json!(-1.5), json!(0), json!(0.25), json!(3e30)]),
            (ColumnType::Smallint, vec![json!(-32768), json!(-1), json!(0), json!(1), json!(32767)]),
            (ColumnType::Integer, vec![json!(i32::MIN), json!(-1), json!(0), json!(255), json!(i32::MAX)]),
            (ColumnType::Bigint, vec![json!(i64::MIN), json!(-256), json!(0), json!(256), json!(i64::MAX)]),
            (ColumnType::Date, texts(&["0001-01-01", "1999-12-31", "2000-01-01", "2024-02-29"])),
            (ColumnType::Timestamp, texts(&["1999-12-31 23:59:59", "2000-01-01 00:00:00", "2024-02-29 00:00:00.001"])),
            (
                ColumnType::Timestamptz,
                texts(&["1969-12-31T23:59:59Z", "2024-02-29T01:00:00+01:00", "2024-02-29T00:00:01Z"]),
            ),
        ] {
            let mut cells = vec![NULL.to_vec()];
            cells.extend(values.iter().map(|value| cell(ty, value)));
            for (i, a) in cells.iter().enumerate() {
                for (j, b) in cells.iter().enumerate() {
                    assert_eq!(compare(ty, a, b), i.cmp(&j), "{ty:?} {i} {j}");
                }
            }
        }
        let zeros = |a: &str, b: &str| {
            let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
            compare(ColumnType::Numeric, &cell(ColumnType::Numeric, &read(a)), &cell(ColumnType::Numeric, &read(b)))
        };
        assert_eq!(zeros("1.50", "1.5"), Ordering::Equal);
        assert_eq!(zeros("0.000", "-0"), Ordering::Equal);
        assert_eq!(zeros("1e4", "10000.0"), Ordering::Equal);
    }
}
