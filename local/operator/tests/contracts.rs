//! Compares pairs of contracts, and checks the changes and their severities against each pair's `expected.txt`.

#![allow(clippy::unwrap_used, reason = "a test may panic if its setup fails")]

use std::fs;
use std::path::Path;

use operator::contracts::{Documents, compare};

/// Reads `old.json` or `new.json` of a pair. If the stream is new or removed, one of the two files does not exist.
fn documents(pair: &Path, file: &str) -> Documents {
    let text = fs::read(pair.join(file)).ok();
    text.map(|text| ("order".to_owned(), serde_json::from_slice(&text).unwrap())).into_iter().collect()
}

#[test]
fn each_pair_of_contracts_has_the_changes_that_were_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts");
    let mut pairs = 0;
    let mut wrong = Vec::new();
    for pair in fs::read_dir(folder).unwrap() {
        let pair = pair.unwrap().path();
        let mut expected: Vec<String> =
            fs::read_to_string(pair.join("expected.txt")).unwrap().lines().map(str::to_owned).collect();
        let changes = compare(&documents(&pair, "old.json"), &documents(&pair, "new.json"));
        let pointer = |pointer: &str| if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() };
        let mut found: Vec<String> =
            changes.iter().map(|change| format!("{} {}", change.severity.name(), pointer(&change.pointer))).collect();
        expected.sort();
        found.sort();
        if found != expected {
            wrong.push(format!("{}: {expected:?} was expected, found {changes:#?}", pair.display()));
        }
        pairs += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(pairs >= 30, "only {pairs} pairs were found");
}
