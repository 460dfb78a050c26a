//! What is to be done: each set is checked against the catalogue as it will be after the sets before it. A set that
//! has a fault leaves no trace, here or in SQL.

use std::collections::HashMap;

use shared::contract::Changes;
use shared::dead_letter::Rejection;

use super::catalogue::{Access, Column, ColumnState, Relation, State, Types};
use super::fault::{self, Fault};
use super::wal2json::{Action, Cell, Nulls, Old, Operation, Text};

/// Everything that a call is to do.
#[derive(Debug)]
pub(super) struct Plan<'d> {
    /// What the steps name, planned tables and columns included.
    pub(super) relations: Vec<Relation>,
    pub(super) steps: Vec<Step<'d>>,
    /// The sets that are not among the steps.
    pub(super) rejected: Vec<(usize, Rejection)>,
    /// How many operations ask for rows of tables that are not there.
    pub(super) skipped_rows: u64,
}

/// One operation, its columns found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step<'d> {
    pub(super) shape: Shape,
    /// The new values, as the shape's `new` has their columns.
    pub(super) new: Vec<Text<'d>>,
    /// The values before, as the shape's `old` has their columns.
    pub(super) old: Vec<Text<'d>>,
}

/// What operations that one statement can do have in common. Tables and columns by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) relation: usize,
    pub(super) kind: Kind,
    pub(super) new: Vec<usize>,
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

/// The operations of a set, or why there are none to be had.
pub(super) type Set<'d> = Result<Vec<Operation<'d>>, Rejection>;

struct Planner<'a, 'd> {
    rules: &'a Changes,
    types: &'a Types<'d>,
    plan: Plan<'d>,
    by_name: HashMap<String, usize>,
    /// What the set at hand has changed of the relations: which, their state and how many columns they had.
    journal: Vec<(usize, State, usize)>,
}

/// Plans all sets over what is there.
pub(super) fn plan<'d>(rules: &Changes, there: Vec<Relation>, types: &Types<'d>, sets: &[Set<'d>]) -> Plan<'d> {
    let by_name = there.iter().enumerate().map(|(index, relation)| (relation.name.clone(), index)).collect();
    let plan = Plan { relations: there, steps: Vec::new(), rejected: Vec::new(), skipped_rows: 0 };
    let mut planner = Planner { rules, types, plan, by_name, journal: Vec::new() };
    for (index, set) in sets.iter().enumerate() {
        let planned = match set {
            Ok(operations) => planner.set(operations),
            Err(rejection) => Err(rejection.clone()),
        };
        if let Err(rejection) = planned {
            planner.plan.rejected.push((index, rejection));
        }
    }
    planner.plan
}

/// The table's name, if the contract allows to write there.
pub(super) fn allowed<'d>(rules: &Changes, operation: &Operation<'d>) -> Result<&'d str, Fault> {
    let Operation { schema, table, .. } = operation;
    fault::check_name(table)?;
    if schema.is_some_and(|schema| schema != "public" && schema != rules.schema) {
        Err(fault::schema_not_allowed())
    } else if rules.tables.as_ref().is_some_and(|tables| !tables.contains(*table)) {
        Err(fault::table_not_allowed(table))
    } else {
        Ok(table)
    }
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
            // A table that is not there has no row: nothing to do, and no reason to create it.
            (State::Missing, Action::Update { .. } | Action::Delete(_) | Action::Truncate) => {
                self.plan.skipped_rows += 1;
                return Ok(());
            }
            (State::There | State::Planned, _) => {}
        }
        let step = match &operation.action {
            Action::Insert(cells) => {
                let (new, values) = self.new_columns(relation, cells, None)?;
                Step { new: values, ..step(relation, Kind::Insert, new) }
            }
            Action::Update { new, old } => {
                let (columns, values) = self.new_columns(relation, new, Some(old))?;
                self.with_old(relation, old, Step { new: values, ..step(relation, Kind::Update, columns) })?
            }
            Action::Delete(old) => self.with_old(relation, old, step(relation, Kind::Delete, Vec::new()))?,
            Action::Truncate => step(relation, Kind::Truncate, Vec::new()),
        };
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

    /// The columns to write, with their values.
    fn new_columns(
        &mut self,
        relation: usize,
        cells: &[Cell<'d>],
        old: Option<&Old<'d>>,
    ) -> Result<(Vec<usize>, Vec<Text<'d>>), Fault> {
        let (mut new, mut values) = (Vec::with_capacity(cells.len()), Vec::with_capacity(cells.len()));
        for (cell, index) in cells.iter().zip(self.columns(relation, cells)?) {
            let Relation { name: table, columns, .. } = &self.plan.relations[relation];
            let unchanged =
                || old.is_some_and(|old| old.cells.iter().any(|o| o.name == cell.name && o.value == cell.value));
            match columns[index].access {
                Access::Identity if old.is_some() && unchanged() => continue,
                Access::Identity if old.is_none() => {}
                Access::Writable => {}
                Access::Identity | Access::Generated => return Err(fault::not_writable(table, cell.name)),
            }
            new.push(index);
            values.push(cell.value);
        }
        Ok((new, values))
    }

    fn with_old(&mut self, relation: usize, old: &Old<'d>, mut step: Step<'d>) -> Result<Step<'d>, Fault> {
        let columns = self.columns(relation, &old.cells)?;
        let old_column = |(column, cell): (usize, &Cell<'_>)| OldColumn { column, null: cell.value.is_none() };
        step.shape.old = columns.into_iter().zip(&old.cells).map(old_column).collect();
        step.shape.nulls = old.nulls;
        step.old = old.cells.iter().map(|cell| cell.value).collect();
        if step.shape.old.is_empty() { Err(fault::MALFORMED) } else { Ok(step) }
    }

    /// The columns of these names, added where they are missing, each of the type that is given.
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
        fault::check_name(cell.name)?;
        if SYSTEM_COLUMNS.contains(&cell.name) {
            return Err(fault::not_writable(&table.name, cell.name));
        }
        if !self.rules.evolve || !table.extensible {
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

fn step<'d>(relation: usize, kind: Kind, new: Vec<usize>) -> Step<'d> {
    let shape = Shape { relation, kind, new, old: Vec::new(), nulls: Nulls::Listed };
    Step { shape, new: Vec::new(), old: Vec::new() }
}

#[cfg(test)]
mod tests;
