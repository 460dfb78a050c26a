//! Compares the keys of events by bytes. PostgreSQL considers some values equal although their encodings differ: `1.5`
//! and `1.50`, `0.0` and `-0.0`, and JSON objects whose members are in a different order.

use std::borrow::Cow;

use super::{ColumnType, canonical, json};

impl ColumnType {
    /// Returns a cell in a form that is the same for all values that PostgreSQL considers equal. The form serves only
    /// to compare cells; it must not be written. `cell` is a value in PostgreSQL's binary form, preceded by its length.
    pub fn comparable(self, cell: &[u8]) -> Cow<'_, [u8]> {
        let Some((_, value)) = cell.split_first_chunk::<4>().filter(|(_, value)| !value.is_empty()) else {
            return Cow::Borrowed(cell);
        };
        let other = match self {
            Self::Numeric => numeric(value),
            Self::Real | Self::Double => is_negative_zero(value).then(|| vec![0; value.len()]),
            Self::Jsonb => jsonb(value),
            Self::Boolean
            | Self::Smallint
            | Self::Integer
            | Self::Bigint
            | Self::Text
            | Self::Uuid
            | Self::Date
            | Self::Timestamp
            | Self::Timestamptz => None,
        };
        other.map_or(Cow::Borrowed(cell), |value| Cow::Owned(with_length(&value)))
    }
}

/// Removes the display scale of a `numeric`, and the groups of zeros at the end of its digits. Returns `None` if there
/// is nothing to remove. `numeric_send` in PostgreSQL's source shows the format.
fn numeric(value: &[u8]) -> Option<Vec<u8>> {
    const GROUPS: usize = 8;
    let (head, groups) = value.split_at_checked(GROUPS)?;
    let zeros = groups.chunks_exact(2).rev().take_while(|group| *group == [0, 0]).count();
    let has_scale = head[6..] != [0, 0];
    if zeros == 0 && !has_scale {
        return None;
    }
    let groups = &groups[..groups.len() - 2 * zeros];
    let count = i16::try_from(groups.len() / 2).ok()?.to_be_bytes();
    // Zero has no sign, and its weight does not matter.
    let weight_and_sign = if groups.is_empty() { &[0; 4] } else { &head[2..6] };
    Some([&count, weight_and_sign, &[0, 0], groups].concat())
}

fn is_negative_zero(value: &[u8]) -> bool {
    value.split_first().is_some_and(|(first, rest)| *first == 0x80 && rest.iter().all(|byte| *byte == 0))
}

/// Writes a `jsonb` as canonical JSON. The first byte of its binary form is a version.
fn jsonb(value: &[u8]) -> Option<Vec<u8>> {
    let document = json::parse(value.get(1..)?).ok()?;
    Some(canonical::text(&document).into_bytes())
}

fn with_length(value: &[u8]) -> Vec<u8> {
    let length = i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes();
    [&length, value].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn comparable(ty: ColumnType, text: &str) -> Vec<u8> {
        let value: Value = json::parse(text.as_bytes()).unwrap_or_default();
        let mut cell = Vec::new();
        ty.encode(Some(&value), &mut cell).unwrap_or_else(|unfit| panic!("{text}: {unfit}"));
        ty.comparable(&cell).into_owned()
    }

    #[test]
    fn values_that_postgresql_considers_equal_have_the_same_comparable_cell() {
        use ColumnType::{Bigint, Double, Jsonb, Numeric, Real};
        for (ty, one, other) in [
            (Numeric, "1.5", "1.50"),
            (Numeric, "1", "1.0"),
            (Numeric, "10000", "1e4"),
            (Numeric, "120000000", "120000000.00000"),
            (Numeric, "0", "-0.00"),
            (Numeric, "-7.25", "-7.2500000"),
            (Double, "0.0", "-0.0"),
            (Real, "0", "-0.0"),
            (Bigint, "7", "7.0"),
            (Jsonb, r#"{"a": 1, "b": [1.0]}"#, r#"{"b": [1], "a": 1}"#),
        ] {
            assert_eq!(comparable(ty, one), comparable(ty, other), "{one} {other}");
        }
    }

    #[test]
    fn different_values_have_different_comparable_cells() {
        use ColumnType::{Double, Jsonb, Numeric, Text};
        for (ty, one, other) in [
            (Numeric, "1.5", "1.05"),
            (Numeric, "1", "10000"),
            (Numeric, "1", "-1"),
            (Numeric, "0", "1e-4"),
            (Double, "0.5", "-0.5"),
            (Text, r#""1.5""#, r#""1.50""#),
            (Jsonb, r#"{"a": 1}"#, r#"{"a": "1"}"#),
        ] {
            assert_ne!(comparable(ty, one), comparable(ty, other), "{one} {other}");
        }
        assert_ne!(Numeric.comparable(&(-1_i32).to_be_bytes()), comparable(Numeric, "0"));
    }
}
