//! Checks that a build of `consume` alone contains no crate that is needed only by functions with HTTP routes. This
//! keeps the binary of `consume` small and its cold start short.

use std::collections::BTreeSet;
use std::process::Command;

use crate::workspace;

/// Crates for routes, passwords and tokens.
const FOR_HTTP: [&str; 6] = ["argon2", "axum", "jsonwebtoken", "lambda_http", "quick_cache", "zxcvbn"];

#[test]
fn a_build_of_consume_alone_contains_no_code_for_routes_or_passwords_or_tokens() {
    let consume = dependencies("consume");
    assert!(consume.contains("rdkafka") && consume.contains("sqlx"), "{consume:?}");
    for name in FOR_HTTP {
        assert!(!consume.contains(name), "consume depends on {name}");
    }
    let users = dependencies("users");
    for name in FOR_HTTP {
        assert!(users.contains(name), "users does not depend on {name}");
    }
}

/// Returns the crates that are compiled into a package.
fn dependencies(package: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--package", package];
    let tree = Command::new(env!("CARGO")).args(arguments).current_dir(workspace()).output().unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}
