//! Plans the steps of a call. Each set is checked against the tables as they will be after the earlier sets. A set that
//! has a fault adds no steps, tables or columns to the plan.

use std::borrow::Cow;
use std::collections::HashMap;

use shared::contract::{Changes, NotAllowed, WrongTableName};
use shared::ledger::Rejection;

use super::catalogue::{Access, Column, ColumnState, Relation, State, Types};
use super::fault::{self, Fault};
use super::number;
use super::wal2json::{Action, Border, Cell, Nulls, Old, Operation, Set};

/// Everything that a call will do.
#[derive(Debug)]
pub(super) struct Plan<'d> {
    /// The tables that the sets name, some of them missing. Planned tables and columns are included.
    pub(super) relations: Vec<Relation>,
    pub(super) steps: Vec<Step<'d>>,
    /// The sets that have no steps, because they have a fault.
    pub(super) rejected: Vec<(usize, Rejection)>,
    /// The number of updates, deletes and truncates of missing tables.
    pub(super) skipped_rows: u64,
}

/// One operation, with its columns looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step<'d> {
    pub(super) shape: Shape,
    /// The values to write, in the order of the shape's `new`.
    pub(super) new: Vec<Text<'d>>,
    /// The new values of columns that cannot be written, in the order of the shape's `unwritable`.
    pub(super) unwritable: Vec<Text<'d>>,
    /// The old values, in the order of the shape's `old`.
    pub(super) old: Vec<Text<'d>>,
    /// A number for the source's transaction. Steps with the same number are treated as one transaction.
    pub(super) transaction: usize,
}

/// A value as text that its column's type accepts; `None` is NULL.
pub(super) type Text<'d> = Option<Cow<'d, str>>;

/// What operations must have in common to share a statement. Tables and columns are given as indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) relation: usize,
    pub(super) kind: Kind,
    /// The columns to write.
    pub(super) new: Vec<usize>,
    /// Columns that PostgreSQL does not let an update write, but whose values the update possibly changes: identity
    /// columns, and those generated columns that are part of `old`.
    pub(super) unwritable: Vec<usize>,
    pub(super) old: Vec<OldColumn>,
    pub(super) nulls: Nulls,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Update,
    Delete,
    Truncate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldColumn {
    pub(super) column: usize,
    pub(super) null: bool,
}

impl Shape {
    /// Returns each identity column among `unwritable`, given as its position in `unwritable` and its index among the
    /// columns. Only the table's rows show whether the values of these columns change.
    pub(super) fn identities<'s>(&'s self, relation: &'s Relation) -> impl Iterator<Item = (usize, usize)> + 's {
        let is_identity = |(_, column): &(usize, usize)| relation.columns[*column].access == Access::Identity;
        self.unwritable.iter().copied().enumerate().filter(is_identity)
    }
}

struct Planner<'a, 'd> {
    rules: &'a Changes,
    types: &'a Types<'d>,
    plan: Plan<'d>,
    by_name: HashMap<String, usize>,
    /// The relations that the current set has changed: index, former state, and former number of columns.
    journal: Vec<(usize, State, usize)>,
    transaction: usize,
    border: Border<'d>,
}

/// Plans all sets against the existing tables.
pub(super) fn plan<'d>(rules: &Changes, there: Vec<Relation>, types: &Types<'d>, sets: &[Set<'d>]) -> Plan<'d> {
    let by_name = there.iter().enumerate().map(|(index, relation)| (relation.name.clone(), index)).collect();
    let plan = Plan { relations: there, steps: Vec::new(), rejected: Vec::new(), skipped_rows: 0 };
    let mut planner =
        Planner { rules, types, plan, by_name, journal: Vec::new(), transaction: 0, border: Border::Here };
    for (index, set) in sets.iter().enumerate() {
        planner.cross(set.border);
        let planned = match &set.operations {
            Ok(operations) => planner.set(operations),
            Err(rejection) => Err(rejection.clone()),
        };
        if let Err(rejection) = planned {
            planner.plan.rejected.push((index, rejection));
        }
    }
    planner.plan
}

/// Returns the operation's table, if the contract allows the operation to write to that table.
pub(super) fn allowed<'d>(rules: &Changes, operation: &Operation<'d>) -> Result<&'d str, Fault> {
    rules.allow(operation.schema, operation.table)?;
    Ok(operation.table)
}

impl<'d> Planner<'_, 'd> {
    fn set(&mut self, operations: &[Operation<'d>]) -> Result<(), Rejection> {
        let (steps, skipped_rows) = (self.plan.steps.len(), self.plan.skipped_rows);
        self.journal.clear();
        for (index, operation) in operations.iter().enumerate() {
            if let Err(fault) = self.operation(operation) {
                self.plan.steps.truncate(steps);
                self.plan.skipped_rows = skipped_rows;
                for (relation, state, columns) in self.journal.drain(..).rev() {
                    self.plan.relations[relation].state = state;
                    self.plan.relations[relation].truncate(columns);
                }
                return Err(if operations.len() == 1 { fault.into() } else { fault.in_change(index) });
            }
        }
        Ok(())
    }

    /// Counts a new transaction, unless the next set's operations belong to the current one.
    fn cross(&mut self, border: Border<'d>) {
        if border == Border::Here || border != self.border {
            self.transaction += 1;
        }
        self.border = border;
    }

    fn operation(&mut self, operation: &Operation<'d>) -> Result<(), Fault> {
        let table = allowed(self.rules, operation)?;
        let relation = self.relation(table);
        match (self.plan.relations[relation].state, &operation.action) {
            (State::Taken, _) => return Err(fault::not_a_table(table)),
            (State::Missing, _) if !self.rules.evolve => return Err(fault::no_such_table(table)),
            (State::Missing, Action::Insert(_)) => {
                self.note(relation);
                self.plan.relations[relation].state = State::Planned;
            }
            // A missing table has no row to change, so there is nothing to do and no reason to create it.
            (State::Missing, Action::Update { .. } | Action::Delete(_) | Action::Truncate) => {
                self.plan.skipped_rows += 1;
                return Ok(());
            }
            (State::There | State::Planned, _) => {}
        }
        let step = match &operation.action {
            Action::Insert(cells) => self.insert(relation, cells)?,
            Action::Update { new, old } => self.update(relation, new, old)?,
            Action::Delete(old) => self.with_old(relation, old, step(relation, Kind::Delete))?,
            Action::Truncate => step(relation, Kind::Truncate),
        };
        let step = Step { transaction: self.transaction, ..step };
        self.plan.steps.push(step);
        Ok(())
    }

    fn relation(&mut self, name: &str) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let index = self.plan.relations.len();
        self.plan.relations.push(Relation::missing(name));
        self.by_name.insert(name.to_owned(), index);
        index
    }

    fn note(&mut self, relation: usize) {
        let Relation { state, columns, .. } = &self.plan.relations[relation];
        self.journal.push((relation, *state, columns.len()));
    }

    fn insert(&mut self, relation: usize, cells: &[Cell<'d>]) -> Result<Step<'d>, Fault> {
        let mut step = step(relation, Kind::Insert);
        for (cell, column) in cells.iter().zip(self.columns(relation, cells)?) {
            match self.plan.relations[relation].columns[column].access {
                Access::Generated => {}
                Access::Writable | Access::Identity => {
                    step.shape.new.push(column);
                    step.new.push(self.text(relation, column, cell)?);
                }
            }
        }
        Ok(step)
    }

    fn update(&mut self, relation: usize, cells: &[Cell<'d>], old: &Old<'d>) -> Result<Step<'d>, Fault> {
        let mut step = step(relation, Kind::Update);
        for (cell, column) in cells.iter().zip(self.columns(relation, cells)?) {
            let before = old.cells.iter().find(|old| old.name == cell.name);
            let unchanged = before.is_some_and(|before| before.value == cell.value);
            match self.plan.relations[relation].columns[column].access {
                Access::Writable => {
                    step.shape.new.push(column);
                    step.new.push(self.text(relation, column, cell)?);
                }
                Access::Identity if unchanged => {}
                Access::Generated if before.is_none() => {}
                Access::Identity | Access::Generated => {
                    step.shape.unwritable.push(column);
                    step.unwritable.push(self.text(relation, column, cell)?);
                }
            }
        }
        self.with_old(relation, old, step)
    }

    fn with_old(&mut self, relation: usize, old: &Old<'d>, mut step: Step<'d>) -> Result<Step<'d>, Fault> {
        for (cell, column) in old.cells.iter().zip(self.columns(relation, &old.cells)?) {
            step.shape.old.push(OldColumn { column, null: cell.value.is_none() });
            step.old.push(self.text(relation, column, cell)?);
        }
        step.shape.nulls = old.nulls;
        let Relation { name, unidentified, .. } = &self.plan.relations[relation];
        if step.shape.old.is_empty() {
            Err(fault::MALFORMED)
        } else if unidentified.iter().any(|table| !table.ours || !self.rules.evolve) {
            Err(fault::no_replica_identity(name))
        } else {
            Ok(step)
        }
    }

    /// Returns the cell's value as text that the column's type accepts.
    fn text(&self, relation: usize, column: usize, cell: &Cell<'d>) -> Result<Text<'d>, Fault> {
        let Relation { name, columns, .. } = &self.plan.relations[relation];
        let column = &columns[column];
        match cell.value {
            Some(value) if column.ty.integer => match number::integer(value) {
                Ok(digits) => Ok(Some(digits)),
                Err(why) => Err(fault::not_an_integer(name, &column.name, &column.shown, why)),
            },
            value => Ok(value.map(Cow::Borrowed)),
        }
    }

    /// Looks up the cells' columns. Missing columns are added, with the type that the cell gives.
    fn columns(&mut self, relation: usize, cells: &[Cell<'d>]) -> Result<Vec<usize>, Fault> {
        let mut named = vec![false; self.plan.relations[relation].columns.len()];
        let mut indexes = Vec::with_capacity(cells.len());
        for cell in cells {
            let index = self.column(relation, cell)?;
            named.resize(self.plan.relations[relation].columns.len(), false);
            if std::mem::replace(&mut named[index], true) {
                return Err(fault::repeated_column(&self.plan.relations[relation].name, cell.name));
            }
            indexes.push(index);
        }
        Ok(indexes)
    }

    fn column(&mut self, relation: usize, cell: &Cell<'d>) -> Result<usize, Fault> {
        let table = &self.plan.relations[relation];
        let given = match cell.type_name {
            None => None,
            Some(text) => Some(self.types.get(text).ok_or_else(|| fault::unknown_type(&table.name, cell.name))?),
        };
        if let Some(index) = table.column(cell.name) {
            let Column { ty, shown, .. } = &table.columns[index];
            return match given {
                Some(known) if !known.given.is(ty) => Err(fault::type_mismatch(&table.name, cell.name, shown)),
                Some(_) | None => Ok(index),
            };
        }
        WrongTableName::check(cell.name).map_err(NotAllowed::Name)?;
        if SYSTEM_COLUMNS.contains(&cell.name) {
            return Err(fault::not_writable(&table.name, cell.name));
        }
        let may_extend = |table: &String| self.rules.tables.as_ref().is_none_or(|tables| tables.contains(table));
        if !self.rules.evolve || !table.extended.as_ref().is_some_and(may_extend) {
            return Err(fault::no_such_column(&table.name, cell.name));
        }
        let known = given.ok_or_else(|| fault::missing_type(&table.name, cell.name))?;
        if !known.storable {
            return Err(fault::unknown_type(&table.name, cell.name));
        }
        let ty = known.given.ty.clone();
        self.note(relation);
        Ok(self.plan.relations[relation].push(Column {
            name: cell.name.to_owned(),
            shown: ty.sql(),
            ty,
            state: ColumnState::Planned,
            access: Access::Writable,
            nullable: true,
            indexed: false,
        }))
    }
}

/// <https://www.postgresql.org/docs/current/ddl-system-columns.html>
const SYSTEM_COLUMNS: [&str; 6] = ["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];

fn step<'d>(relation: usize, kind: Kind) -> Step<'d> {
    let (new, unwritable, old) = (Vec::new(), Vec::new(), Vec::new());
    let shape = Shape { relation, kind, new, unwritable, old, nulls: Nulls::Listed };
    Step { shape, new: Vec::new(), unwritable: Vec::new(), old: Vec::new(), transaction: 0 }
}

#[cfg(test)]
mod tests;
