//! All contracts. They are read and compiled once, and can be looked up by stream or topic.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use super::definition::Definition;
use super::wrong::Wrong;
use super::{Contract, Entity, Mode, json, keyword, uncompilable, unmeetable, validator};

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/contracts");

/// Why the contracts cannot be used. The process does not start, and shows this message.
#[derive(Debug, thiserror::Error)]
pub enum ContractError {
    /// The folder, or a file in it, cannot be read.
    #[error("CONTRACTS_DIR: {}: {source}", .path.display())]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
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
        /// The JSON pointer to the error in the file.
        pointer: String,
        /// What is wrong at the pointer.
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
    /// Reads the `*.json` files of a folder. Without a folder, reads the built-in contracts. If the folder has no
    /// contract for the stream [`Contract::LOGIN`], the built-in contract of that stream is added.
    ///
    /// # Errors
    /// The folder cannot be read or holds no contract, or a contract is wrong. The error says where and why.
    pub fn load(contracts_dir: Option<&Path>) -> Result<Self, ContractError> {
        let files = match contracts_dir {
            None => BUILT_IN.files().map(|file| (file.path().to_owned(), file.contents().to_owned())).collect(),
            Some(folder) => with_login(read_folder(folder)?),
        };
        Self::compile(files)
    }

    /// Iterates over all contracts, sorted by stream.
    pub fn contracts(&self) -> impl ExactSizeIterator<Item = &Arc<Contract>> {
        self.by_stream.values()
    }

    /// Returns a stream's contract.
    pub fn stream(&self, stream: &str) -> Option<&Arc<Contract>> {
        self.by_stream.get(stream)
    }

    /// Returns the contract of the stream that uses a topic.
    pub fn topic(&self, topic: &str) -> Option<&Arc<Contract>> {
        self.by_topic.get(topic)
    }

    /// Iterates over the entity contracts whose parent is `stream`.
    pub fn children(&self, stream: &str) -> impl Iterator<Item = (&Arc<Contract>, &Entity)> {
        self.by_stream.values().filter_map(move |contract| match &contract.mode {
            Mode::Entity(entity) => {
                let is_child = entity.parent.as_ref().is_some_and(|parent| parent.stream == stream);
                is_child.then_some((contract, entity))
            }
            Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_) => None,
        })
    }

    /// Returns how many ancestors a contract's stream has.
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
            let contract = Contract::compile(&path, &text).map_err(|error| match misspelling(&text) {
                // The error may be a consequence: no pointer leads through a misspelt `properties`.
                Some(misspelling) => misspelling.in_file(&file),
                None => error,
            })?;
            let contract = Arc::new(contract);
            // These checks are not part of `Contract::compile`, so a contract that is older than the checks can still
            // be compared with newer contracts.
            keyword::check(&contract.document).map_err(|wrong| wrong.in_file(&file))?;
            unmeetable::check(&contract.document).map_err(|wrong| wrong.in_file(&file))?;
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
                    Some(Mode::Entity(_)) => "the parent's stream must have a key of exactly one column",
                    Some(Mode::Append { .. } | Mode::Upsert { .. } | Mode::Changes(_)) => {
                        "the parent's stream must have mode `entity`"
                    }
                    None => "there is no such stream",
                };
                return Err(wrong("/x-sluice/parent/stream", reason).in_file(&format!("{}.json", contract.stream)));
            }
        }
        Ok(())
    }
}

impl Contract {
    /// Compiles a single contract without looking at others: its parent may be missing, and another stream may have the
    /// same topic.
    ///
    /// # Errors
    /// The contract is wrong. The error names `file`, the pointer and the reason.
    pub fn compile(file: &Path, text: &[u8]) -> Result<Self, ContractError> {
        let stream = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        compile(stream, text).map_err(|wrong| wrong.in_file(&file.display().to_string()))
    }
}

/// Adds the built-in contract of the stream `login` if no file is a contract of this stream. Sluice itself writes to
/// this stream.
fn with_login(mut files: Vec<(PathBuf, Vec<u8>)>) -> Vec<(PathBuf, Vec<u8>)> {
    let is_login = |path: &Path| path.file_stem().is_some_and(|stem| stem == Contract::LOGIN);
    if !files.iter().any(|(path, _)| is_login(path)) {
        let built_in = BUILT_IN.files().find(|file| is_login(file.path()));
        files.extend(built_in.map(|file| (file.path().to_owned(), file.contents().to_owned())));
    }
    files
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
        return Err(wrong(
            "",
            "the file's name without .json is the stream's name, and may contain only a-z, 0-9 and '-'",
        ));
    }
    let document = json::parse(text).map_err(|error| wrong("", error.to_string()))?;
    let validator = validator::compile(&document).map_err(|error| uncompilable::wrong(&document, &error))?;
    let definition = Definition::read(&document)?;
    let mode = definition.mode(&document)?;
    let bigquery = definition.bigquery(&document, &mode)?;
    Ok(Contract {
        stream: stream.to_owned(),
        topic: definition.topic,
        partitions: definition.partitions.into(),
        key: definition.key,
        roles: definition.roles,
        mode,
        bigquery,
        document,
        validator,
    })
}

/// Returns a misspelt keyword of a contract that cannot be compiled.
fn misspelling(text: &[u8]) -> Option<Wrong> {
    keyword::check(&json::parse(text).ok()?).err()
}

fn wrong(pointer: &str, reason: impl Into<String>) -> Wrong {
    Wrong { pointer: pointer.to_owned(), reason: reason.into() }
}

impl Wrong {
    fn in_file(self, file: &str) -> ContractError {
        ContractError::Wrong {
            file: file.to_owned(),
            pointer: on_one_line(self.pointer),
            reason: on_one_line(self.reason),
        }
    }
}

/// Escapes control characters. Names in a contract may contain line breaks, which would split a log line.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() });
    escaped.collect()
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
    fn the_built_in_contracts_are_valid() {
        let streams = Registry::load(None)
            .map(|registry| registry.contracts().map(|contract| contract.stream.clone()).collect::<Vec<_>>());
        let expected = ["changes", "city", "continent", "country", "login", "route", "user-event"];
        assert_eq!(streams.map_err(|error| error.to_string()), Ok(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_folder_without_a_contract_for_login_uses_the_built_in_contract() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders/contracts");
        let streams = Registry::load(Some(&folder))
            .map(|registry| registry.contracts().map(|contract| contract.stream.clone()).collect::<Vec<_>>());
        assert_eq!(streams.map_err(|error| error.to_string()), Ok(["login", "order"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_invalid_contract_is_refused_with_the_file_and_the_pointer_and_the_reason() {
        assert_eq!(refusal(|_| {}), "accepted");
        for (pointer, value, expected) in [
            ("/x-sluice/topic", json!("a b"), "order.json: /x-sluice/topic: must be 1 to 249 characters"),
            ("/x-sluice/partitions", json!(0), "order.json: /x-sluice/partitions: "),
            ("/x-sluice/mode", json!("merge"), "order.json: /x-sluice/mode: unknown variant `merge`"),
            ("/x-sluice/table", json!("orders"), "order.json: /x-sluice/table: must include the schema"),
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
            (
                "/properties/id/type",
                json!("int"),
                "order.json: /properties/id/type: \"int\" is not a type: a type is one of array, ",
            ),
            (
                "/properties/name",
                json!({"pattern": "("}),
                "order.json: /properties/name/pattern: the pattern \"(\" cannot be used: unclosed group",
            ),
            (
                "/properties/name",
                json!({"format": "datetime"}),
                "order.json: /properties/name/format: there is no format \"datetime\": write \"date-time\"; ",
            ),
            (
                "/properties/name",
                json!({"additionalProperties": false, "required": ["x"]}),
                "order.json: /properties/name/required/0: no object meets this schema: the field \"x\" is required, ",
            ),
            ("/properties/name", json!({"enmu": []}), "order.json: /properties/name/enmu: JSON Schema has no keyword"),
            (
                "/properties/name",
                json!({"tpye": "string", "format": "datetime"}),
                "order.json: /properties/name/tpye: JSON Schema has no keyword",
            ),
            ("/x-sluice/key", json!("/id"), "order.json: /x-sluice/key: invalid type: string \"/id\", expected a list"),
            ("/x-sluice/topic", json!(["a"]), "order.json: /x-sluice/topic: invalid type: list, expected a string"),
        ] {
            let refusal = refusal(|contract| {
                if let Some(place) = contract.pointer_mut(pointer) {
                    *place = value;
                }
            });
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        let unreachable = refusal(|contract| contract["x-sluice"]["columns"]["name"]["type"] = json!("numeric"));
        assert_eq!(
            unreachable,
            "order.json: /x-sluice/columns/name: column name: numeric needs a number, or a string whose pattern allows only \
             decimals, but the schema allows a string without a pattern for decimals at \"/name\""
        );
        let unknown = refusal(|contract| contract["x-sluice"]["tabel"] = json!("x"));
        assert!(
            unknown.starts_with("order.json: /x-sluice/tabel: unknown field `tabel`: write `table`; expected one of "),
            "{unknown}"
        );
        let misspelt = refusal(|contract| {
            contract["propertys"] = contract["properties"].take();
            contract.as_object_mut().map(|members| members.remove("properties"));
        });
        assert!(misspelt.starts_with("order.json: /propertys: JSON Schema has no keyword"), "{misspelt}");
        let broken = refusal(|contract| contract["x-sluice"]["a\nb"] = json!("x"));
        assert!(broken.starts_with("order.json: /x-sluice/a\\nb: unknown field `a\\nb`, expected one of "), "{broken}");
        let parent = refusal(|contract| {
            contract["x-sluice"]["mode"] = json!("entity");
            contract["x-sluice"]["parent"] = json!({"stream": "nation", "from": "/name"});
        });
        assert_eq!(parent, "order.json: /x-sluice/parent/stream: there is no such stream");
    }

    #[test]
    fn a_contract_that_can_no_longer_be_loaded_can_still_be_compared_with_others() {
        for property in [json!({"enmu": []}), json!({"additionalProperties": false, "required": ["x"]})] {
            let contract = json!({
                "properties": {"id": property},
                "x-sluice": {
                    "topic": "orders", "partitions": 1, "mode": "append", "table": "public.orders",
                    "columns": {"id": {"from": "/id", "type": "jsonb"}}
                }
            });
            let text = contract.to_string().into_bytes();
            assert!(Contract::compile(Path::new("order.json"), &text).is_ok(), "{contract}");
            assert!(Registry::compile(vec![(PathBuf::from("order.json"), text)]).is_err(), "{contract}");
        }
    }

    #[test]
    fn a_wrong_version_is_refused_when_contracts_are_loaded() {
        const PLACE: &str = "order.json: /x-sluice/version: ";
        let versioned = |version: &Value, ty: &str| {
            refusal(|contract| {
                contract["properties"]["name"] = match ty {
                    "bigint" => json!({"type": "integer"}),
                    "boolean" => json!({"type": "boolean"}),
                    _ => json!({"type": "string"}),
                };
                let block = &mut contract["x-sluice"];
                block["version"] = version.clone();
                block["columns"]["name"]["type"] = json!(ty);
                block["columns"]["pos"] = json!({"meta": "offset", "type": "bigint"});
                block["columns"]["at"] = json!({"meta": "timestamp", "type": "timestamptz"});
                block["columns"]["sender"] = json!({"meta": "user", "type": "text"});
            })
        };
        for (version, ty) in [
            (json!("/name"), "bigint"),
            (json!("/name"), "timestamptz"),
            (json!({"meta": "offset"}), "text"),
            (json!({"meta": "timestamp"}), "text"),
        ] {
            assert_eq!(versioned(&version, ty), "accepted", "{version}");
        }
        for (version, ty, reason) in [
            (json!("name"), "bigint", "\"name\" is not a JSON pointer"),
            (json!("/other"), "bigint", "must fill a column, so that"),
            (json!("/id"), "bigint", "must not be the key"),
            (json!("/name"), "text", "must fill a column whose type has an order"),
            (json!("/name"), "boolean", "must fill a column whose type has an order"),
            (json!("/name"), "uuid", "must fill a column whose type has an order"),
            (json!("/name"), "jsonb", "must fill a column whose type has an order"),
            (json!({"meta": "user"}), "bigint", "must be the metadata \"offset\" or \"timestamp\""),
            (json!({"meta": "trace_id"}), "bigint", "must be the metadata \"offset\" or \"timestamp\""),
            (json!({"meta": "key"}), "bigint", "unknown variant `key`"),
            (json!({"meta": "offset", "from": "/name"}), "bigint", "should be a JSON pointer into the event, or"),
            (json!({}), "bigint", "should be a JSON pointer into the event, or"),
            (json!(7), "bigint", "should be a JSON pointer into the event, or"),
            (json!(["/name"]), "bigint", "should be a JSON pointer into the event, or"),
        ] {
            let refusal = versioned(&version, ty);
            assert!(refusal.starts_with(PLACE) && refusal.contains(reason), "{version} {ty}: {refusal}");
        }
        let without_column = refusal(|contract| contract["x-sluice"]["version"] = json!({"meta": "offset"}));
        assert!(without_column.starts_with(&format!("{PLACE}must fill a column, so that")), "{without_column}");
    }

    #[test]
    fn a_key_of_numbers_in_strings_is_refused() {
        let refusal = refusal(|contract| {
            contract["properties"]["id"] = json!({"type": "string", "pattern": "^[0-9]{1,9}$"});
        });
        let expected = "order.json: /x-sluice/key: column id must be filled with numbers instead of strings";
        assert!(refusal.starts_with(expected), "{refusal}");
    }

    #[test]
    fn an_entitys_key_of_type_jsonb_is_refused() {
        let refusal = refusal(|contract| {
            contract["x-sluice"]["mode"] = json!("entity");
            contract["x-sluice"]["columns"]["id"]["type"] = json!("jsonb");
        });
        assert_eq!(refusal, "order.json: /x-sluice/key: column id must have another type than jsonb in mode `entity`");
    }

    #[test]
    fn a_version_is_refused_in_modes_in_which_no_event_replaces_another() {
        let append = refusal(|contract| {
            contract["x-sluice"]["mode"] = json!("append");
            contract["x-sluice"]["version"] = json!("/name");
        });
        assert!(append.starts_with("order.json: /x-sluice/version: mode `append`"), "{append}");
        let changes = refusal(|contract| {
            contract["x-sluice"] = json!({
                "topic": "orders", "partitions": 1, "mode": "changes", "schema": "landing", "tables": ["*"],
                "version": {"meta": "offset"}
            });
        });
        assert!(changes.starts_with("order.json: /x-sluice/version: mode `changes`"), "{changes}");
    }

    #[test]
    fn a_metadata_column_with_a_wrong_definition_is_refused_when_contracts_are_loaded() {
        let with = |column: &Value| refusal(|contract| contract["x-sluice"]["columns"]["extra"] = column.clone());
        for (meta, types) in [
            ("offset", ["bigint"].as_slice()),
            ("partition", &["integer"]),
            ("timestamp", &["bigint", "timestamptz"]),
            ("topic", &["text"]),
            ("user", &["text"]),
            ("trace_id", &["text"]),
        ] {
            for ty in types {
                assert_eq!(with(&json!({"meta": meta, "type": ty})), "accepted", "{meta} {ty}");
            }
            let boolean = with(&json!({"meta": meta, "type": "boolean"}));
            let place = "order.json: /x-sluice/columns/extra/type: this metadata should go into a column of type ";
            assert!(boolean.starts_with(place) && boolean.contains(types[0]), "{meta}: {boolean}");
        }
        for (column, place) in [
            (json!({"meta": "key", "type": "text"}), "/x-sluice/columns/extra/meta: unknown variant `key`"),
            (json!({"meta": "user", "from": "/name", "type": "text"}), "/x-sluice/columns/extra: should have either"),
            (json!({"type": "text"}), "/x-sluice/columns/extra: should have either"),
            (json!({"meta": "offset"}), "/x-sluice/columns/extra: missing field `type`"),
        ] {
            let refusal = with(&column);
            assert!(refusal.starts_with(&format!("order.json: {place}")), "{column}: {refusal}");
        }
    }

    #[test]
    fn a_command_with_an_unknown_operation_breaks_its_contract_whatever_the_schema_says() {
        let entity = json!({
            "x-sluice": {
                "topic": "nations", "partitions": 1, "mode": "entity", "table": "public.nations", "key": ["/name"],
                "columns": {"name": {"from": "/name", "type": "text"}}
            }
        });
        let contract = compile("nation", entity.to_string().as_bytes()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let violations = |op: Value| {
            let event = json!({"name": "Iran", "op": op});
            let checked = contract.check(event.to_string().as_bytes(), &event, None, &mut Vec::new());
            checked.err().unwrap_or_default().into_iter().map(|violation| violation.pointer).collect::<Vec<_>>()
        };
        for op in ["create", "update", "delete"] {
            assert_eq!(violations(json!(op)), Vec::<String>::new(), "{op}");
        }
        for op in [json!("destroy"), json!("Delete"), json!(""), json!(["delete"]), Value::Null, json!(5)] {
            assert_eq!(violations(op.clone()), ["/op"], "{op}");
        }
    }
}
