//! Where a slice of change sets may be split.

use serde_json::Value;

/// Returns the index at which to split a slice of at least two sets: the middle, or the index nearest to the middle
/// that does not separate truncates of one statement. Such truncates may fail if they are separated, although they
/// succeed together. If the whole slice consists of truncates of one statement, they are separated anyway.
pub(crate) fn middle(sets: &[&Value]) -> usize {
    let half = sets.len() / 2;
    let fits = |&index: &usize| 0 < index && index < sets.len() && !parts_truncate(sets, index);
    (0..=half).flat_map(|distance| [half - distance, half + distance]).find(fits).unwrap_or(half)
}

/// Whether the index separates two adjacent truncates of one transaction. Such truncates count as one statement.
fn parts_truncate(sets: &[&Value], index: usize) -> bool {
    // Messages (`M`) are ignored, so two truncates with only messages between them are adjacent.
    let changes = |set: &&&Value| action(set) != Some("M");
    match (sets[..index].iter().rev().find(changes), sets[index..].iter().find(changes)) {
        (Some(before), Some(after)) => {
            action(before) == Some("T") && action(after) == Some("T") && before.get("xid") == after.get("xid")
        }
        (None, _) | (_, None) => false,
    }
}

fn action(set: &Value) -> Option<&str> {
    set.get("action").and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the middle of sets with these actions. A digit is a truncate in the transaction with that number.
    fn middle_of(actions: &str) -> usize {
        let set = |action: char| match action.to_digit(10) {
            Some(xid) => json!({"action": "T", "table": "t", "xid": xid}),
            None => json!({"action": action.to_string()}),
        };
        let sets: Vec<Value> = actions.chars().map(set).collect();
        middle(&sets.iter().collect::<Vec<_>>())
    }

    #[test]
    fn truncates_of_one_transaction_stay_together() {
        assert_eq!(middle_of("IIII"), 2);
        assert_eq!(middle_of("II"), 1);
        assert_eq!(middle_of("ITTI"), 1);
        assert_eq!(middle_of("ITMTTI"), 1);
        assert_eq!(middle_of("TTCBTT"), 3);
        assert_eq!(middle_of("1122"), 2);
        assert_eq!(middle_of("11122"), 3);
        assert_eq!(middle_of("TTTTI"), 4);
    }

    #[test]
    fn a_slice_that_is_one_truncate_statement_is_split_in_the_middle() {
        assert_eq!(middle_of("TT"), 1);
        assert_eq!(middle_of("TTTT"), 2);
    }
}
