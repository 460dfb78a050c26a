//! Reads the modules of a crate, and finds the file to which a path such as `crate::a::B` leads.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::tokens::{self, item_length};

type ModulePath = Vec<String>;

/// The modules of one crate. The first module is the crate's root.
pub(crate) struct CrateModules(Vec<Module>);

struct Module {
    file: PathBuf,
    parent: usize,
    children: BTreeMap<String, usize>,
    defines: BTreeSet<String>,
    /// The names that this module re-exports, each with its target. The name `*` stands for every item of the target.
    re_exports: Vec<(String, ModulePath)>,
    paths: Vec<ModulePath>,
}

impl CrateModules {
    /// Reads the crate whose root is in the folder `source`.
    pub(crate) fn read(source: &Path) -> Self {
        let mut modules = Self(Vec::new());
        let roots = ["lib.rs", "main.rs"].map(|name| source.join(name));
        if let Some(root) = roots.iter().find(|root| root.is_file()) {
            modules.read_file(root, source, 0);
        }
        modules
    }

    /// Returns each import: the importing file and the imported file. Also returns each file paired with itself, so
    /// that files without imports are included.
    pub(crate) fn imports(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.0.iter().enumerate().flat_map(move |(id, module)| {
            let of_others = module.re_exports.iter().map(|(_, path)| path).filter(|path| {
                let first = path.first().map(String::as_str).unwrap_or_default();
                first != "self" && !module.children.contains_key(first)
            });
            let paths = module.paths.iter().chain(of_others);
            let imported = paths.filter_map(move |path| self.resolve(id, path, 0));
            imported.map(|imported| (module.file.as_path(), imported)).chain([(&*module.file, &*module.file)])
        })
    }

    fn read_file(&mut self, file: &Path, folder: &Path, parent: usize) -> usize {
        let tokens = tokens::read(&fs::read_to_string(file).unwrap());
        self.read_module(&tokens, file, folder, parent)
    }

    /// Reads a module. The files of its child modules are in `folder`.
    fn read_module(&mut self, tokens: &[String], file: &Path, folder: &Path, parent: usize) -> usize {
        let id = self.0.len();
        self.0.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            defines: BTreeSet::new(),
            re_exports: Vec::new(),
            paths: Vec::new(),
        });
        let (mut at, mut depth, mut is_public) = (0, 0, false);
        while let Some(token) = tokens.get(at) {
            let next = tokens.get(at + 1).map(String::as_str).unwrap_or_default();
            let mut length = 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "mod" => {
                    length = item_length(&tokens[at..]);
                    let inline = &tokens[(at + 3).min(at + length)..at + length];
                    self.read_child(id, next, inline, file, folder);
                }
                // A visibility such as `pub(crate)` names a module, but imports nothing from it.
                "pub" if next == "(" => {
                    length = 1 + tokens[at..].iter().position(|token| token == ")").unwrap_or_default();
                }
                "use" => {
                    length = 1 + tokens[at..].iter().position(|token| token == ";").unwrap_or_default();
                    let mut used = Vec::new();
                    flatten(&tokens[at + 1..at + length - 1], &[], &mut used);
                    if is_public {
                        self.0[id].re_exports.extend(used);
                    } else {
                        self.0[id].paths.extend(used.into_iter().map(|(_, path)| path));
                    }
                }
                "struct" | "enum" | "fn" | "trait" | "type" | "const" | "static" if depth == 0 => {
                    self.0[id].defines.insert(next.to_owned());
                }
                word if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    let path = path_at(&tokens[at..]);
                    length = 2 * path.len() - 1;
                    self.0[id].paths.push(path);
                }
                _ => {}
            }
            is_public = token == "pub";
            at += length;
        }
        id
    }

    fn read_child(&mut self, id: usize, name: &str, inline: &[String], file: &Path, folder: &Path) {
        let inner = folder.join(name);
        let child = if inline.is_empty() {
            let files = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
            let file = files.iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{name} in {file:?}"));
            self.read_file(file, &inner, id)
        } else {
            self.read_module(inline, file, &inner, id)
        };
        self.0[id].children.insert(name.to_owned(), child);
    }

    /// Returns the file that defines a path's target. `None` if the path names another crate's item, something in the
    /// module itself, or a variable.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<&Path> {
        let (first, rest) = path.split_first()?;
        let module = &self.0[from];
        let is_re_exported = |name: &str| module.re_exports.iter().any(|(re_export, _)| re_export == name);
        match first.as_str() {
            "crate" => self.resolve_within(0, rest, depth),
            "self" => self.resolve_within(from, rest, depth),
            "super" if rest.first().is_some_and(|next| next == "super") => self.resolve(module.parent, rest, depth),
            "super" => self.resolve_within(module.parent, rest, depth),
            // A path that consists of only this name means a variable with the same name, not the child module.
            name if module.children.contains_key(name) && !rest.is_empty() => self.resolve_within(from, path, depth),
            name if is_re_exported(name) => self.resolve_within(from, path, depth),
            _ => None,
        }
    }

    fn resolve_within(&self, id: usize, path: &[String], depth: usize) -> Option<&Path> {
        const DEEPEST: usize = 8;
        let module = &self.0[id];
        let Some((first, rest)) = path.split_first() else { return Some(&module.file) };
        if let Some(child) = module.children.get(first) {
            return self.resolve_within(*child, rest, depth);
        }
        if module.defines.contains(first) || depth > DEEPEST {
            return Some(&module.file);
        }
        let mut matching = module.re_exports.iter().filter(|(name, _)| name == first || name == "*");
        let followed = matching.find_map(|(name, target)| {
            let rest = if name == "*" { path } else { rest };
            self.resolve(id, &[target, rest].concat(), depth + 1)
        });
        followed.or(Some(&module.file))
    }
}

/// Returns the path with which the tokens begin, such as `a::b::c`.
fn path_at(tokens: &[String]) -> ModulePath {
    let separators = tokens.iter().skip(1).step_by(2).zip(tokens.iter().skip(2).step_by(2));
    let further =
        separators.take_while(|(separator, name)| *separator == "::" && name.starts_with(char::is_alphabetic));
    tokens.iter().take(1).chain(further.map(|(_, name)| name)).cloned().collect()
}

/// Appends to `used` the names that a `use` tree brings into scope, each with its path. `before` is the path in front
/// of the tree.
fn flatten(tree: &[String], before: &[String], used: &mut Vec<(String, ModulePath)>) {
    let Some((first, rest)) = tree.split_first() else { return };
    let path = || [before, std::slice::from_ref(first)].concat();
    match (first.as_str(), rest.first().map(String::as_str)) {
        ("{", _) => {
            let group = &rest[..rest.len() - 1];
            let mut depth = 0;
            let parts = group.split(|token| {
                depth += i32::from(token == "{") - i32::from(token == "}");
                depth == 0 && token == ","
            });
            parts.for_each(|part| flatten(part, before, used));
        }
        ("*", _) => used.push(("*".to_owned(), before.to_vec())),
        ("self", None) => used.push((before.last().cloned().unwrap_or_default(), before.to_vec())),
        (_, Some("::")) => flatten(&rest[1..], &path(), used),
        (_, Some("as")) => used.push((rest[1].clone(), path())),
        _ => used.push((first.clone(), path())),
    }
}
