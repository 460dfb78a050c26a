//! Checks that each table of schema `sluice` is changed by only one file. If the file belongs to the ledger, the file
//! has the table's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::{members, workspace};

const LEDGER: &str = "shared/src/ledger/";

#[test]
fn each_table_is_changed_by_one_file() {
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // The crates that set up tests or benchmarks may change any table, so they are left out.
    for member in members().iter().filter(|member| !["local/bench", "shared/testing"].contains(&member.as_str())) {
        read_folder(&workspace().join(member).join("src"), &mut writers);
    }
    for (table, files) in &writers {
        assert_eq!(files.len(), 1, "{table} is changed by {files:?}");
        for file in files.iter().filter(|file| file.starts_with(LEDGER)) {
            assert_eq!(*file, format!("{LEDGER}{table}.rs"));
        }
    }
    for table in ["dead_letters", "gaps", "waiting", "watermarks"] {
        assert!(writers[table].contains(&format!("{LEDGER}{table}.rs")), "{writers:#?}");
    }
}

#[test]
fn statements_that_change_a_table_are_found() {
    let text =
        "insert into sluice.a (x) select x from sluice.b; /* */ Update sluice.c\n set x = 1; delete\n from sluice.d";
    assert_eq!(changed_tables(text), ["a", "c", "d"]);
}

fn read_folder(folder: &Path, writers: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, writers);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "sql") {
            let file = path.strip_prefix(workspace()).unwrap().display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            // A file's tests, which come last, may change any table, so they are cut off.
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for table in changed_tables(text) {
                writers.entry(table).or_default().insert(file.clone());
            }
        }
    }
}

/// Returns the tables of schema `sluice` that a text's statements change, in the order of the statements.
fn changed_tables(text: &str) -> Vec<String> {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let changed = words.iter().enumerate().filter_map(|(at, word)| {
        let (_, table) = word.split_once("sluice.")?;
        let before = |back: usize| at.checked_sub(back).map_or("", |at| last_word(&words[at]));
        let is_changed = match before(1) {
            "into" | "update" | "truncate" => true,
            "from" => before(2) == "delete",
            _ => false,
        };
        let end = table.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(table.len());
        is_changed.then(|| table[..end].to_owned())
    });
    changed.collect()
}

/// Returns a text's last word, such as `delete` for `query("delete`.
fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()
}
