//! The keywords for strings.

use std::cmp::Ordering;

use serde_json::Value;

use super::numbers::{count, whole};
use super::obligation::{Keyword, Obligation};

/// Returns the conditions under which this keyword of the new schema accepts everything that the old schemas accept.
/// The caller has already ruled out that an old schema has the same `pattern` or `format`.
pub(super) fn obligations<'o>(old: &[&Value], keyword: Keyword<'_, '_>) -> Vec<Obligation<'o>> {
    let written = keyword.value;
    match keyword.name {
        "minLength" => keyword.holds(
            whole(written).is_some_and(|least| count(old, "minLength", Ordering::Greater).unwrap_or(0) >= least),
            format!("strings of fewer than {written} characters are no longer accepted"),
        ),
        "maxLength" => keyword.holds(
            whole(written).is_some_and(|most| count(old, "maxLength", Ordering::Less).is_some_and(|old| old <= most)),
            format!("strings of more than {written} characters are no longer accepted"),
        ),
        name => keyword.fails(format!(
            "strings that violate the {name} {} are not accepted (perhaps the old schema rejected them, too)",
            written.as_str().unwrap_or_default()
        )),
    }
}
