//! Decides the outcome of each command, in offset order, from the existing rows and the earlier commands.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use shared::contract::Entity;
use shared::ledger::Rejection;

use super::command::{Command, Operation};
use crate::write::rows::{Cell, NULL};
use crate::write::version;

/// The state before the commands.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Keys that exist.
    pub(super) existing: HashSet<String>,
    /// If the contract has a version, the version cell of each existing row and of each recently deleted one.
    pub(super) versions: HashMap<String, Vec<u8>>,
    /// Keys for which commands are waiting, each with the parent that they wait for.
    pub(super) queued: HashMap<String, String>,
    /// Parents that exist.
    pub(super) parents: HashSet<String>,
    /// Keys that have children.
    pub(super) with_children: HashSet<String>,
}

/// The result of the commands.
#[derive(Debug)]
pub(super) struct Decided<'c> {
    /// The entities about which a decision was made, by key.
    pub(super) rows: BTreeMap<&'c str, Row<'c>>,
    pub(super) rejected: Vec<(usize, Rejection)>,
    /// Commands that have a lower version than their entity.
    pub(super) superseded: Vec<usize>,
    /// Commands that wait, each with the key of the parent.
    pub(super) waiting: Vec<(usize, String)>,
}

/// An entity before and after the commands.
#[derive(Debug)]
pub(super) struct Row<'c> {
    pub(super) key: &'c str,
    /// A cell for each key column.
    pub(super) key_cells: Vec<Cell<'c>>,
    /// The new value of each column; `None` leaves it unchanged.
    pub(super) cells: Vec<Option<Cell<'c>>>,
    /// The cell of the entity's version, if the contract has a version. A deleted entity keeps it.
    version: Option<Vec<u8>>,
    existed: bool,
    exists: bool,
    /// Whether the last command that had an effect deleted the entity.
    is_gone: bool,
    /// Whether these commands created the entity, perhaps after deleting another one with the same key.
    is_new: bool,
}

impl Row<'_> {
    /// Returns the version that must be remembered if these commands have deleted the entity and not created it again.
    /// Returns `None` if they have not, or if the entity has no version.
    pub(super) fn last_version(&self) -> Option<Cell<'_>> {
        self.version.as_deref().filter(|version| self.is_gone && *version != NULL)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.existed && (!self.exists || self.is_new)
    }

    pub(super) fn is_inserted(&self) -> bool {
        self.exists && self.is_new
    }

    pub(super) fn is_updated(&self) -> bool {
        self.existed && self.exists && !self.is_new && self.cells.iter().any(Option::is_some)
    }
}

/// Decides the commands in their order.
pub(super) fn decide<'c>(entity: &Entity, commands: &'c [Command<'_>], known: Before) -> Decided<'c> {
    // The last column of the key is the entity's own name; the other columns identify its parent.
    let name = entity.key.last().and_then(|&column| entity.landing.columns[column].from.pointer());
    let name = name.map_or("", |pointer| pointer.as_str());
    let rejection = |code: &str, reason: &str| Rejection::new(code, reason).at(name);
    let mut queued = known.queued;
    let mut decided =
        Decided { rows: BTreeMap::new(), rejected: Vec::new(), superseded: Vec::new(), waiting: Vec::new() };
    for (index, command) in commands.iter().enumerate() {
        // If commands for the entity are waiting, further commands for the same entity queue behind them.
        if let Some(parent) = queued.get(&command.key) {
            decided.waiting.push((index, parent.clone()));
            continue;
        }
        let existed = known.existing.contains(&command.key);
        let row = decided.rows.entry(&command.key).or_insert_with(|| Row {
            key: &command.key,
            key_cells: entity.key.iter().map(|&column| command.cells[column]).collect(),
            cells: vec![None; command.cells.len()],
            version: known.versions.get(&command.key).cloned(),
            existed,
            exists: existed,
            is_gone: false,
            is_new: false,
        });
        let is_repeated = command.operation == Operation::Create && row.exists;
        if !is_repeated && row.exceeds(entity, command) {
            decided.superseded.push(index);
            continue;
        }
        let missing_parent = command.parent.as_ref().filter(|parent| !known.parents.contains(*parent));
        match (command.operation, row.exists, missing_parent) {
            (Operation::Create, true, _) => {
                decided.rejected.push((index, rejection("already_exists", "already exists")))
            }
            (Operation::Update | Operation::Delete, false, _) => {
                decided.rejected.push((index, rejection("not_found", "does not exist")));
            }
            (Operation::Create, false, Some(parent)) | (Operation::Update, true, Some(parent)) => {
                queued.insert(command.key.clone(), parent.clone());
                decided.waiting.push((index, parent.clone()));
            }
            (Operation::Create, false, None) => {
                row.exists = true;
                row.is_gone = false;
                row.is_new = true;
                row.version = entity.version.map(|column| command.cells[column].to_vec());
                row.cells = command.cells.iter().map(|&cell| Some(cell)).collect();
            }
            (Operation::Update, true, None) => {
                let given = command.cells.iter().zip(&command.given).enumerate();
                for (column, (&cell, _)) in given.filter(|(column, (_, given))| **given && !entity.key.contains(column))
                {
                    row.cells[column] = Some(cell);
                }
                row.version = entity.version.map(|column| command.cells[column].to_vec());
            }
            (Operation::Delete, true, _) if known.with_children.contains(&command.key) => {
                decided.rejected.push((index, rejection("has_children", "other entities belong to it")));
            }
            (Operation::Delete, true, _) => {
                row.exists = false;
                row.is_gone = true;
                row.is_new = false;
                row.version = entity.version.map(|column| command.cells[column].to_vec());
                row.cells.fill(None);
            }
        }
    }
    decided
}

impl<'c> Row<'c> {
    /// Returns whether the entity's version is higher than the command's.
    fn exceeds(&self, entity: &Entity, command: &Command<'_>) -> bool {
        let (Some(column), Some(version)) = (entity.version, &self.version) else { return false };
        version::compare(entity.landing.columns[column].ty, version, command.cells[column]) == Ordering::Greater
    }

    /// Returns a cell for each column of a new row.
    pub(super) fn new_cells(&self) -> impl Iterator<Item = Cell<'c>> {
        self.cells.iter().map(|cell| cell.unwrap_or(NULL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::contract::{Mode, Registry};

    /// Decides commands about countries, given as operation, name, continent and population.
    fn outcome(commands: &[(Operation, &str, Option<&str>, Option<u8>)], known: Before) -> String {
        let Ok(registry) = Registry::load(None) else { return "no registry".to_owned() };
        let Some(Mode::Entity(entity)) = registry.stream("country").map(|contract| &contract.mode) else {
            return "no entity".to_owned();
        };
        let names: Vec<&str> = entity.landing.columns.iter().map(|column| column.name.as_str()).collect();
        let Some(column) = names.iter().position(|name| *name == "population") else { return "no column".to_owned() };
        let numbers: Vec<[u8; 1]> = (0..=9).map(|number| [number]).collect();
        let commands: Vec<Command<'_>> = commands
            .iter()
            .map(|&(operation, key, parent, population)| {
                let mut cells = vec![NULL; names.len()];
                let mut given = vec![false; names.len()];
                if let Some(population) = population {
                    cells[column] = &numbers[usize::from(population)];
                    given[column] = true;
                }
                Command { operation, key: key.to_owned(), parent: parent.map(str::to_owned), cells, given }
            })
            .collect();
        let decided = decide(entity, &commands, known);
        let mut lines: Vec<String> = decided
            .rows
            .values()
            .filter_map(|row| {
                let effect = match (row.is_deleted(), row.is_inserted(), row.is_updated()) {
                    (true, true, _) => "replaced",
                    (true, false, _) => "deleted",
                    (false, true, _) => "inserted",
                    (false, false, true) => "updated",
                    (false, false, false) => return None,
                };
                let population = row.cells[column].filter(|cell| *cell != NULL).map(|cell| cell[0]);
                Some(format!("{} {effect} {population:?}", row.key))
            })
            .collect();
        lines.extend(decided.rejected.iter().map(|(index, rejection)| format!("{index} {}", rejection.code)));
        lines.extend(decided.waiting.iter().map(|(index, parent)| format!("{index} waits for {parent}")));
        lines.join(", ")
    }

    fn known(existing: &[&str], parents: &[&str]) -> Before {
        Before {
            existing: existing.iter().map(|&key| key.to_owned()).collect(),
            parents: parents.iter().map(|&key| key.to_owned()).collect(),
            ..Before::default()
        }
    }

    use Operation::{Create, Delete, Update};

    #[test]
    fn commands_for_one_key_have_the_same_result_as_if_executed_one_by_one() {
        let asia = || known(&["Iran"], &["Asia"]);
        assert_eq!(
            outcome(&[(Create, "Oman", Some("Asia"), Some(1)), (Update, "Oman", None, Some(2))], asia()),
            "Oman inserted Some(2)"
        );
        assert_eq!(outcome(&[(Create, "Oman", Some("Asia"), None), (Delete, "Oman", None, None)], asia()), "");
        assert_eq!(
            outcome(&[(Update, "Iran", None, Some(3)), (Delete, "Iran", None, None)], asia()),
            "Iran deleted None"
        );
        assert_eq!(
            outcome(&[(Delete, "Iran", None, None), (Create, "Iran", Some("Asia"), Some(4))], asia()),
            "Iran replaced Some(4)"
        );
        assert_eq!(
            outcome(&[(Update, "Iran", None, Some(3)), (Update, "Iran", None, None)], asia()),
            "Iran updated Some(3)"
        );
    }

    #[test]
    fn a_command_that_breaks_a_rule_is_rejected_and_the_others_are_not() {
        assert_eq!(
            outcome(
                &[
                    (Create, "Iran", Some("Asia"), Some(1)),
                    (Update, "Oman", None, None),
                    (Delete, "Oman", None, None),
                    (Create, "Oman", Some("Asia"), Some(2)),
                    (Create, "Oman", Some("Asia"), Some(3)),
                ],
                known(&["Iran"], &["Asia"])
            ),
            "Oman inserted Some(2), 0 already_exists, 1 not_found, 2 not_found, 4 already_exists"
        );
        let with_children = Before { with_children: ["Iran".to_owned()].into(), ..known(&["Iran"], &[]) };
        assert_eq!(outcome(&[(Delete, "Iran", None, None)], with_children), "0 has_children");
    }

    #[test]
    fn a_create_waits_for_its_parent_and_later_commands_of_its_key_wait_behind_the_create() {
        assert_eq!(
            outcome(
                &[
                    (Create, "Oman", Some("Asia"), None),
                    (Update, "Oman", None, Some(1)),
                    (Create, "Peru", Some("South America"), None),
                ],
                known(&[], &["South America"])
            ),
            "Peru inserted None, 0 waits for Asia, 1 waits for Asia"
        );
        let queued = Before { queued: [("Oman".to_owned(), "Asia".to_owned())].into(), ..known(&[], &["Europe"]) };
        assert_eq!(outcome(&[(Create, "Oman", Some("Europe"), None)], queued), "0 waits for Asia");
    }

    #[test]
    fn an_update_that_changes_the_parent_waits_for_the_new_parent() {
        assert_eq!(
            outcome(
                &[(Update, "Iran", Some("Atlantis"), None), (Delete, "Iran", None, None)],
                known(&["Iran"], &["Asia"])
            ),
            "0 waits for Atlantis, 1 waits for Atlantis"
        );
    }
}
