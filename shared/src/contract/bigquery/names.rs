//! Checks the names of projects, datasets, tables and columns.
//!
//! BigQuery also allows non-ASCII letters in the names of tables and columns. Sluice rejects such letters, because rows
//! are sent as protocol buffers, and the names of their fields must be ASCII.

/// The maximum length of the name of a dataset or table, in bytes.
const LONGEST: usize = 1_024;
/// The maximum length of the name of a column, in bytes.
const LONGEST_COLUMN: usize = 300;

/// The prefixes, in lower case, of the names that BigQuery reserves.
const RESERVED: [&str; 7] =
    ["_table_", "_file_", "_partition", "_row_timestamp", "__root__", "_colidentifier", "_change_"];

/// Checks a project's id.
///
/// <https://cloud.google.com/resource-manager/docs/creating-managing-projects>
pub(super) fn check_project(id: &str) -> Result<(), &'static str> {
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins_well = id.starts_with(|c: char| c.is_ascii_lowercase());
    let is_id = (6..=30).contains(&id.len()) && begins_well && !id.ends_with('-') && id.chars().all(is_legal);
    is_id.then_some(()).ok_or("a project's id has 6 to 30 characters from a-z, 0-9 and '-', and begins with a letter")
}

/// Checks a dataset's name.
///
/// <https://cloud.google.com/bigquery/docs/datasets#dataset-naming>
pub(super) fn check_dataset(name: &str) -> Result<(), &'static str> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_legal);
    is_name.then_some(()).ok_or("a dataset's name has 1 to 1,024 characters from a-z, A-Z, 0-9 and '_'")
}

/// Checks a table's name.
///
/// <https://cloud.google.com/bigquery/docs/tables#table_naming>
pub(super) fn check_table(name: &str) -> Result<(), &'static str> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_name = !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_legal);
    is_name.then_some(()).ok_or("a table's name has 1 to 1,024 characters from a-z, A-Z, 0-9, '_' and '-'")
}

/// Checks a column's name.
///
/// <https://cloud.google.com/bigquery/docs/schemas#column_names>
pub(super) fn check_column(name: &str) -> Result<(), &'static str> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || name.len() > LONGEST_COLUMN || !name.chars().all(is_legal) {
        return Err(
            "a column's name in BigQuery has 1 to 300 characters from a-z, A-Z, 0-9 and '_', and does not begin with a \
             digit",
        );
    }
    let lower = name.to_ascii_lowercase();
    if RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
        return Err("BigQuery reserves names with this prefix");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_bigquery() {
        for (check, good, bad) in [
            (
                check_project as fn(&str) -> _,
                &["my-project-1"][..],
                &["short", "1-project", "project-", "My-project", "a.project"][..],
            ),
            (check_dataset, &["sales", "_1", "2026"], &["", "a-b", "a.b", "ä"]),
            (check_table, &["orders", "orders-2026", "1"], &["", "a b", "a$20260507", "a`b"]),
            (
                check_column,
                &["id", "_id", "Id2"],
                &["", "2id", "a-b", "ä", "_PARTITIONTIME", "_change_type", "_TABLE_x"],
            ),
        ] {
            for name in good {
                assert_eq!(check(name), Ok(()), "{name}");
            }
            for name in bad {
                assert!(check(name).is_err(), "{name}");
            }
        }
        assert!(check_column(&"c".repeat(301)).is_err());
    }
}
