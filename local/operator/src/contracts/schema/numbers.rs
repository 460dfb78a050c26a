//! The keywords for numbers.

use std::cmp::Ordering;

use serde_json::Value;
use shared::contract::Decimal;

use super::obligation::{Keyword, Obligation};

/// Returns the conditions under which this keyword of the new schema accepts everything that the old schemas accept.
pub(super) fn obligations<'o>(old: &[&Value], keyword: Keyword<'_, '_>) -> Vec<Obligation<'o>> {
    let Some(limit) = decimal(keyword.value) else { return keyword.fails("the value is not a number") };
    let written = keyword.value;
    match keyword.name {
        "minimum" => keyword.holds(
            bounds(old, "minimum").any(|bound| bound.compare(&limit).is_ge())
                || bounds(old, "exclusiveMinimum").any(|bound| bound.compare(&limit).is_ge()),
            format!("numbers below {written} are no longer accepted"),
        ),
        "exclusiveMinimum" => keyword.holds(
            bounds(old, "minimum").any(|bound| bound.compare(&limit).is_gt())
                || bounds(old, "exclusiveMinimum").any(|bound| bound.compare(&limit).is_ge()),
            format!("numbers up to {written} are no longer accepted"),
        ),
        "maximum" => keyword.holds(
            bounds(old, "maximum").any(|bound| bound.compare(&limit).is_le())
                || bounds(old, "exclusiveMaximum").any(|bound| bound.compare(&limit).is_le()),
            format!("numbers above {written} are no longer accepted"),
        ),
        "exclusiveMaximum" => keyword.holds(
            bounds(old, "maximum").any(|bound| bound.compare(&limit).is_lt())
                || bounds(old, "exclusiveMaximum").any(|bound| bound.compare(&limit).is_le()),
            format!("numbers from {written} on are no longer accepted"),
        ),
        _ => keyword.holds(
            bounds(old, "multipleOf").any(|factor| factor.is_multiple_of(&limit) == Some(true)),
            format!("numbers that are not multiples of {written} are no longer accepted"),
        ),
    }
}

fn bounds<'v>(old: &'v [&Value], keyword: &'v str) -> impl Iterator<Item = Decimal> {
    old.iter().filter_map(move |schema| decimal(schema.get(keyword)?))
}

fn decimal(value: &Value) -> Option<Decimal> {
    Decimal::parse(value.as_number()?.as_str())
}

/// Returns the strictest value that the old schemas have for a keyword that limits a count, such as `maxLength`.
/// `strictest` is `Less` if smaller values are stricter.
pub(super) fn count(old: &[&Value], keyword: &str, strictest: Ordering) -> Option<u64> {
    let counts = old.iter().filter_map(|schema| whole(schema.get(keyword)?));
    if strictest == Ordering::Less { counts.min() } else { counts.max() }
}

/// Reads a count, which may be written with decimals, such as 5.0.
pub(super) fn whole(value: &Value) -> Option<u64> {
    let is_count = |number: &f64| number.fract() == 0.0 && (0.0..1e15).contains(number);
    value.as_u64().or_else(|| value.as_f64().filter(is_count).map(|count| count as u64))
}
