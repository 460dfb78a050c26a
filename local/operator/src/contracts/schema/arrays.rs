//! The keywords for arrays.

use std::cmp::Ordering;

use serde_json::Value;

use super::numbers::{count, whole};
use super::obligation::{Keyword, Obligation, is_trivial};

/// Returns the conditions under which this keyword of the new schema accepts every value that all of the old
/// schemas accept.
pub(super) fn obligations<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    let written = keyword.value;
    match keyword.name {
        "minItems" => keyword.holds(
            whole(written).is_some_and(|least| count(old, "minItems", Ordering::Greater).unwrap_or(0) >= least),
            format!("arrays of fewer than {written} items are no longer accepted"),
        ),
        "maxItems" => keyword.holds(
            whole(written).is_some_and(|most| most_items(old).is_some_and(|old| old <= most)),
            format!("arrays of more than {written} items are no longer accepted"),
        ),
        "uniqueItems" => keyword.holds(
            written == &Value::Bool(false)
                || most_items(old).is_some_and(|most| most <= 1)
                || old.iter().any(|schema| schema.get("uniqueItems") == Some(&Value::Bool(true))),
            "arrays that contain an item twice are no longer accepted",
        ),
        "prefixItems" => {
            let within = |index: usize| most_items(old).is_none_or(|most| (index as u64) < most);
            let element = |(index, new): (usize, &'s Value)| Obligation::Subset {
                old: item(old, index),
                new,
                at: keyword.below(&[&index.to_string()]),
            };
            keyword.elements().filter(|(index, _)| within(*index)).map(element).collect()
        }
        _ => items(old, keyword),
    }
}

/// Returns the conditions under which `items` of the new schema accepts every value that all of the old
/// schemas accept. `items` applies to the items that follow those of `prefixItems`.
fn items<'s>(old: &[&'s Value], keyword: Keyword<'s, '_>) -> Vec<Obligation<'s>> {
    if is_trivial(keyword.value) {
        return Vec::new();
    }
    let first = keyword.schema.get("prefixItems").map_or(0, length);
    let last = old.iter().filter_map(|schema| schema.get("prefixItems")).map(length).max().unwrap_or(0).max(first);
    let most = most_items(old).map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    // `prefixItems` has a schema for each of the first items. All later items share one schema.
    (first..=last)
        .filter(|index| *index < most)
        .map(|index| Obligation::Subset { old: item(old, index), new: keyword.value, at: keyword.at() })
        .collect()
}

/// Returns the old schemas that apply to an item.
fn item<'s>(old: &[&'s Value], index: usize) -> Vec<&'s Value> {
    let of = |schema: &&'s Value| {
        let listed = schema.get("prefixItems").and_then(|items| items.get(index));
        listed.or_else(|| schema.get("items"))
    };
    old.iter().filter_map(of).collect()
}

/// Returns the largest number of items that the old schemas allow.
fn most_items(old: &[&Value]) -> Option<u64> {
    let closed = old.iter().filter(|schema| schema.get("items") == Some(&Value::Bool(false)));
    let closed = closed.map(|schema| schema.get("prefixItems").map_or(0, length) as u64).min();
    count(old, "maxItems", Ordering::Less).into_iter().chain(closed).min()
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}
