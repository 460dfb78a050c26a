//! Rebuilds the crate when a contract or a migration is added or removed. `include_dir` itself notices only edits.

fn main() {
    println!("cargo::rerun-if-changed=contracts");
    println!("cargo::rerun-if-changed=migrations");
}
