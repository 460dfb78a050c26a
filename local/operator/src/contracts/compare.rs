//! Compares contracts with older ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use shared::contract::{Contract, Pointer};

use super::block;
use super::change::{Affects, Change, Severity, overlap};
use super::columns;
use super::difference::differences;
use super::schema::{Narrowing, narrowings};

/// The JSON documents of contracts, by stream.
pub type Documents = BTreeMap<String, Value>;

/// Returns the changes between old and new contracts, in the order of the streams' names. Ignores text for people, such
/// as a schema's title.
pub fn compare(old: &Documents, new: &Documents) -> Vec<Change> {
    let streams: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changes = streams.into_iter().flat_map(|stream| match (old.get(stream), new.get(stream)) {
        (Some(old), Some(new)) => contract(stream, old, new),
        (Some(_), None) => {
            let text = "the stream is gone: its events are no longer accepted or read";
            vec![Change::new(stream, "", Severity::Breaking, text, Affects::All)]
        }
        (None, _) => vec![Change::new(stream, "", Severity::Safe, "the stream is new", Affects::Nothing)],
    });
    changes.collect()
}

/// Compiles a contract without checking it against the other contracts.
pub(super) fn compiled(stream: &str, document: &Value) -> Result<Contract, String> {
    let file = format!("{stream}.json");
    Contract::compile(Path::new(&file), document.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn contract(stream: &str, old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = block::changes(stream, old, new);
    changes.extend(columns::changes(stream, old, new));
    changes.extend(schema(stream, old, new));
    match (compiled(stream, old), compiled(stream, new)) {
        (Ok(old), Ok(new)) => changes.extend(columns::strings(&old, &new)),
        (Err(error), _) | (_, Err(error)) => {
            let text = format!(
                "this version of Sluice refuses one of the two contracts, so not everything is compared: {error}"
            );
            changes.push(Change::new(stream, "", Severity::Stricter, text, Affects::Nothing));
        }
    }
    changes
}

fn schema(stream: &str, old: &Value, new: &Value) -> Vec<Change> {
    let narrowings = narrowings(old, new);
    let is_narrower = |pointer: &str| {
        let places = narrowings.iter().flat_map(|narrowing| [&narrowing.pointer, &narrowing.keyword]);
        places.into_iter().any(|at| overlap(at, pointer))
    };
    let wider = differences(old, new, "").into_iter().filter(|difference| !is_narrower(&difference.pointer));
    let wider = wider
        .map(|difference| Change::new(stream, difference.pointer, Severity::Safe, difference.text, Affects::Nothing));
    let narrower = narrowings.iter().map(|Narrowing { pointer, keyword, text }| {
        let field = (pointer != keyword).then(|| field(pointer)).flatten();
        let affects = Affects::Violating { keyword: keyword.clone(), field };
        Change::new(stream, pointer, Severity::Stricter, text, affects)
    });
    narrower.chain(wider).collect()
}

/// Converts the pointer of a property in a schema into the pointer of that property in an event. Returns `None` if the
/// schema's pointer contains a keyword other than `properties`.
fn field(pointer: &str) -> Option<Pointer> {
    let mut tokens = pointer.split('/').skip(1);
    let mut field = String::new();
    while let Some(keyword) = tokens.next() {
        let name = tokens.next().filter(|_| keyword == "properties")?;
        field = field + "/" + name;
    }
    Pointer::try_from(field).ok()
}
