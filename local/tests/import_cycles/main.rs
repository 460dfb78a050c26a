//! Checks the structure of the code: the files of a crate do not import each other in a cycle, the folders of `shared`
//! (its roles) use each other in one direction, each table is changed by only one file, and the build of `consume`
//! contains only the dependencies that it needs.
//!
//! A file imports another file if a `use` or any other path in it leads to that file. Paths are followed through
//! re-exports to the file that defines the item. `mod` items, and a folder's `pub use` of its own files, only list the
//! folder's contents, so they are not imports. Test code is not read.
//!
//! The paths are read from the text, so imports that a macro generates are not seen.

#![allow(clippy::unwrap_used, reason = "a test")]

mod crate_modules;
mod dependencies;
mod graph;
mod table_writers;
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate_modules::CrateModules;
use graph::{Graph, against_order, cycles};

#[test]
fn no_files_import_each_other_in_a_cycle() {
    for member in members() {
        let found = cycles(&imports(&workspace().join(&member).join("src")));
        assert_eq!(found, [[""; 0]; 0], "the files of {member} import each other in these cycles");
    }
}

#[test]
fn each_role_of_shared_uses_only_roles_listed_above_it() {
    let source = workspace().join("shared/src");
    let order = listed_roles(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let roles = roles(&imports(&source), "shared/src/");
    let in_order: BTreeSet<&String> = order.iter().collect();
    assert_eq!(in_order, roles.keys().collect(), "lib.rs lists each role once");
    assert_eq!(in_order.len(), order.len(), "lib.rs lists each role once: {order:?}");
    assert!(roles["kafka"].contains("process"), "{roles:#?}");
    assert_eq!(against_order(&roles, &order), [], "the order in lib.rs is {order:?}");
}

#[test]
fn an_import_against_the_order_is_found() {
    let order = listed_roles("//! Roles:\n//!\n//! - [`clock`]: time\n//! - [`kafka`]: uses [`clock`]\npub mod clock;");
    assert_eq!(order, ["clock", "kafka"]);
    let imports = |file: &str, imported: &str| (file.to_owned(), BTreeSet::from([imported.to_owned()]));
    let down = imports("s/kafka/mod.rs", "s/clock/mod.rs");
    let up = imports("s/clock/mod.rs", "s/kafka/mod.rs");
    assert_eq!(against_order(&roles(&Graph::from([down.clone()]), "s/"), &order), []);
    let found = against_order(&roles(&Graph::from([down, up]), "s/"), &order);
    assert_eq!(found, [("clock".to_owned(), "kafka".to_owned())]);
}

/// Returns the roles that a crate's documentation lists, one per line, in order.
fn listed_roles(text: &str) -> Vec<String> {
    let role = |line: &str| Some(line.strip_prefix("//! - [`")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(role).collect()
}

/// Groups a crate's imports by folder below `source`. The crate's root belongs to no folder.
fn roles(imports: &Graph, source: &str) -> Graph {
    let role = |file: &String| file.strip_prefix(source)?.split_once('/').map(|(folder, _)| folder.to_owned());
    let mut roles = Graph::new();
    for (file, imported) in imports {
        let Some(own) = role(file) else { continue };
        let others = imported.iter().filter_map(role).filter(|other| *other != own);
        roles.entry(own.clone()).or_default().extend(others.collect::<Vec<_>>());
    }
    roles
}

#[test]
fn a_cycle_through_a_re_export_and_a_path_in_a_macros_arguments_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; pub use a::A; #[cfg(test)] mod tests { use super::a; }");
    write("a.rs", "use crate::b::{self, B}; /* use crate::c; */ pub struct A(B); // crate::c");
    write("b.rs", r##"pub struct B; fn b<'a>(_: &'a str) { println!(r#""{}"#, crate::A('"')) }"##);
    write("c.rs", "use crate::{A, b::B};");
    let imports = imports(folder.path());
    let files = ["a.rs", "b.rs"].map(|file| folder.path().join(file).display().to_string());
    assert_eq!(cycles(&imports), [files], "{imports:?}");
}

/// Returns which files of a crate import which other files. Each file is named by its path below the workspace.
fn imports(source: &Path) -> Graph {
    let name = |file: &Path| file.strip_prefix(workspace()).unwrap_or(file).display().to_string();
    let mut graph = Graph::new();
    for (file, imported) in CrateModules::read(source).imports() {
        graph.entry(name(file)).or_default().extend((file != imported).then(|| name(imported)));
    }
    graph
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the folder of each crate of the workspace.
pub(crate) fn members() -> Vec<String> {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    members
        .split(',')
        .map(|member| member.trim().trim_matches('"').to_owned())
        .filter(|member| !member.is_empty())
        .collect()
}
