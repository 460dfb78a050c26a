//! All contracts: read once, compiled once, found by stream and by topic.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use jsonschema::{Draft, PatternOptions};

use super::definition::{Definition, Wrong};
use super::{Contract, Entity, Mode, json};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/contracts");

/// Why the contracts cannot be used: the start stops with this line.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The folder, or a file in it, cannot be read.
    #[error("CONTRACTS_DIR: {}: {source}", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder holds no contract.
    #[error("CONTRACTS_DIR: {}: no *.json file is in it", .0.display())]
    Empty(PathBuf),
    /// A contract is wrong.
    #[error("{file}: {}: {reason}", if .pointer.is_empty() { "/" } else { .pointer.as_str() })]
    Wrong {
        /// The contract's file.
        file: String,
        /// Where in it, as a JSON pointer.
        pointer: String,
        /// What is wrong there.
        reason: String,
    },
}

/// The contracts of all streams.
#[derive(Debug)]
pub struct Registry {
    by_stream: BTreeMap<String, Arc<Contract>>,
    by_topic: HashMap<String, Arc<Contract>>,
}

impl Registry {
    /// Reads the `*.json` files of a folder, or the built-in contracts.
    ///
    /// # Errors
    /// The folder cannot be read, or a contract is wrong: named by file, pointer and reason.
    pub fn load(contracts_dir: Option<&Path>) -> Result<Self, ContractError> {
        let files = match contracts_dir {
            None => BUILT_IN.files().map(|file| (file.path().to_owned(), file.contents().to_owned())).collect(),
            Some(folder) => read_folder(folder)?,
        };
        Self::compile(files)
    }

    /// Every contract, by stream.
    pub fn contracts(&self) -> impl ExactSizeIterator<Item = &Arc<Contract>> {
        self.by_stream.values()
    }

    /// The contract of a stream.
    pub fn stream(&self, stream: &str) -> Option<&Arc<Contract>> {
        self.by_stream.get(stream)
    }

    /// The contract of a topic's stream.
    pub fn topic(&self, topic: &str) -> Option<&Arc<Contract>> {
        self.by_topic.get(topic)
    }

    /// The entity contracts whose parent is `stream`.
    pub fn children(&self, stream: &str) -> impl Iterator<Item = (&Arc<Contract>, &Entity)> {
        self.by_stream.values().filter_map(move |contract| match &contract.mode {
            Mode::Entity(entity) => {
                let is_child = entity.parent.as_ref().is_some_and(|parent| parent.stream == stream);
                is_child.then_some((contract, entity))
            }
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
        })
    }

    /// How many ancestors a contract's stream has.
    pub fn generation(&self, contract: &Contract) -> usize {
        let parent = |contract: &Contract| match &contract.mode {
            Mode::Entity(entity) => self.stream(&entity.parent.as_ref()?.stream).map(Arc::clone),
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
        };
        std::iter::successors(parent(contract), |ancestor| parent(ancestor)).count()
    }

    fn compile(files: Vec<(PathBuf, Vec<u8>)>) -> Result<Self, ContractError> {
        let mut by_stream: BTreeMap<String, Arc<Contract>> = BTreeMap::new();
        let mut by_topic: HashMap<String, Arc<Contract>> = HashMap::new();
        for (path, text) in files {
            let file = path.display().to_string();
            let stream = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let contract = compile(stream, &text).map_err(|wrong| wrong.in_file(&file))?;
            let contract = Arc::new(contract);
            if let Some(other) = by_topic.insert(contract.topic.clone(), Arc::clone(&contract)) {
                let reason = format!("stream {} has this topic already", other.stream);
                return Err(wrong("/x-sluice/topic", reason).in_file(&file));
            }
            by_stream.insert(contract.stream.clone(), contract);
        }
        let registry = Self { by_stream, by_topic };
        registry.check_parents()?;
        Ok(registry)
    }

    fn check_parents(&self) -> Result<(), ContractError> {
        for contract in self.contracts() {
            let Mode::Entity(entity) = &contract.mode else {
                continue;
            };
            let mut ancestor = entity.parent.as_ref();
            let mut generations = 0;
            while let Some(parent) = ancestor {
                let reason = match self.stream(&parent.stream).map(|contract| &contract.mode) {
                    Some(Mode::Entity(parent)) if parent.key.len() == 1 && generations < self.by_stream.len() => {
                        ancestor = parent.parent.as_ref();
                        generations += 1;
                        continue;
                    }
                    Some(Mode::Entity(parent)) if parent.key.len() == 1 => "a stream cannot be its own ancestor",
                    Some(Mode::Entity(_)) => "a parent is identified by one column",
                    Some(Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_)) => {
                        "a parent's stream has the mode entity"
                    }
                    None => "there is no such stream",
                };
                return Err(wrong("/x-sluice/parent/stream", reason).in_file(&format!("{}.json", contract.stream)));
            }
        }
        Ok(())
    }
}

fn read_folder(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ContractError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        |source| ContractError::Unreadable { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read(&path).map_err(unreadable(&path))?;
            files.push((path, text));
        }
    }
    if files.is_empty() {
        return Err(ContractError::Empty(folder.to_owned()));
    }
    files.sort();
    Ok(files)
}

pub(super) fn compile(stream: &str, text: &[u8]) -> Result<Contract, Wrong> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if stream.is_empty() || !stream.chars().all(is_name) {
        return Err(wrong("", "a stream is named, as its file is, with a-z, 0-9 and '-'"));
    }
    let document = json::parse(text).map_err(|error| wrong("", error.to_string()))?;
    let schema_error =
        |error: jsonschema::ValidationError<'_>| wrong(&error.instance_path().to_string(), error.to_string());
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // A regex engine without backtracking: no event can make a pattern take long.
        .with_pattern_options(PatternOptions::regex())
        .build(&document)
        .map_err(schema_error)?;
    let definition = Definition::read(&document)?;
    let mode = definition.mode(&document)?;
    Ok(Contract {
        stream: stream.to_owned(),
        topic: definition.topic,
        partitions: definition.partitions.into(),
        key: definition.key,
        roles: definition.roles,
        mode,
        document,
        validator,
    })
}

fn wrong(pointer: &str, reason: impl Into<String>) -> Wrong {
    Wrong { pointer: pointer.to_owned(), reason: reason.into() }
}

impl Wrong {
    fn in_file(self, file: &str) -> ContractError {
        ContractError::Wrong { file: file.to_owned(), pointer: self.pointer, reason: self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refusal(change: impl FnOnce(&mut Value)) -> String {
        let mut contract = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"id": {"type": "integer"}, "name": {"type": "string"}},
            "x-sluice": {
                "topic": "orders", "partitions": 1, "key": ["/id"], "mode": "upsert", "table": "public.orders",
                "columns": {"id": {"from": "/id", "type": "bigint"}, "name": {"from": "/name", "type": "text"}}
            }
        });
        change(&mut contract);
        let files = vec![(PathBuf::from("order.json"), contract.to_string().into_bytes())];
        Registry::compile(files).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
    }

    #[test]
    fn the_built_in_contracts_are_right() {
        let streams = Registry::load(None)
            .map(|registry| registry.contracts().map(|contract| contract.stream.clone()).collect::<Vec<_>>());
        let expected = ["changes", "city", "continent", "country", "login", "route", "user-event"];
        assert_eq!(streams.map_err(|error| error.to_string()), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_wrong_contract_is_refused_with_file_pointer_and_reason() {
        assert_eq!(refusal(|_| {}), "accepted");
        for (pointer, value, expected) in [
            ("/x-sluice/topic", json!("a b"), "order.json: /x-sluice/topic: a topic is named with"),
            ("/x-sluice/partitions", json!(0), "order.json: /x-sluice/partitions: "),
            ("/x-sluice/mode", json!("merge"), "order.json: /x-sluice/mode: unknown variant `merge`"),
            ("/x-sluice/table", json!("orders"), "order.json: /x-sluice/table: a table is named with its schema"),
            ("/x-sluice/columns/id/type", json!("bigit"), "order.json: /x-sluice/columns/id/type: unknown variant"),
            (
                "/x-sluice/columns/id/from",
                json!("id"),
                "order.json: /x-sluice/columns/id/from: \"id\" is not a JSON pointer",
            ),
            (
                "/x-sluice/columns/id/from",
                json!("/no"),
                "order.json: /x-sluice/columns/id/from: the schema has no property",
            ),
            ("/x-sluice/key", json!(["/none"]), "order.json: /x-sluice/key/0: "),
            ("/properties/id/type", json!("int"), "order.json: /properties/id/type: "),
            ("/properties/name", json!({"pattern": "("}), "order.json: /properties/name/pattern: "),
        ] {
            let refusal = refusal(|contract| {
                if let Some(place) = contract.pointer_mut(pointer) {
                    *place = value;
                }
            });
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        let unknown = refusal(|contract| contract["x-sluice"]["tabel"] = json!("x"));
        assert!(unknown.starts_with("order.json: /x-sluice/tabel: unknown field"), "{unknown}");
        let parent = refusal(|contract| {
            contract["x-sluice"]["mode"] = json!("entity");
            contract["x-sluice"]["parent"] = json!({"stream": "nation", "from": "/name"});
        });
        assert_eq!(parent, "order.json: /x-sluice/parent/stream: there is no such stream");
    }
}
