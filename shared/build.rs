//! Rebuilds the crate when a contract or a migration is added or removed; edits alone are seen by `include_dir`.

fn main() {
    println!("cargo::rerun-if-changed=contracts");
    println!("cargo::rerun-if-changed=migrations");
}
