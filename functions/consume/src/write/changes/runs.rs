//! Gathers operations into runs. One statement executes a run. The result is the same as if the run's operations were
//! executed one by one.
//!
//! Each table has at most one open run. Operations have the same *shape* if they are of the same kind and name the same
//! columns. An operation of another shape cannot share the run's statement, and ends the run. An operation of the same
//! shape may join the run:
//!
//! - An insert always joins, because it reads nothing.
//! - An update that leaves its row's key unchanged takes the place of an earlier such update of the same key, because
//!   nobody sees the row in between.
//! - Any other update or delete joins if it names none of the run's old or new keys. Otherwise, it ends the run.
//!
//! Truncates that follow each other in one transaction of the source are one run, even if they are of different tables:
//! PostgreSQL records `truncate a, b` as one truncate for each table, but refuses to truncate a table alone if other
//! tables refer to it.
//!
//! Runs of different tables may overtake each other, because nobody sees the order within a transaction. If any of the
//! tables has triggers or foreign keys, however, only operations that follow each other form a run.
//!
//! Keys are compared as text here, but as values of their types in SQL. If two different texts are the same value, the
//! statement notices (`matching` in `statement.rs`) and does nothing. The run's operations are then applied one by one.

use std::collections::HashMap;

use super::catalogue::Relation;
use super::plan::{Kind, OldColumn, Shape, Step, Text};

/// Steps that one statement applies, in order: steps of one shape, or truncates of any tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'p, 'd> {
    pub(super) steps: Vec<&'p Step<'d>>,
    /// The indexes of the steps whose values are passed to the statement. With each index comes the number of steps
    /// that the step stands for, including itself.
    pub(super) given: Vec<(usize, i32)>,
}

impl<'p, 'd> Run<'p, 'd> {
    pub(super) fn for_step(step: &'p Step<'d>) -> Self {
        Self { steps: vec![step], given: vec![(0, 1)] }
    }

    pub(super) fn shape(&self) -> &'p Shape {
        // A run always has at least one step.
        &self.steps[0].shape
    }
}

/// A run that can still grow.
#[derive(Default)]
struct Open<'d> {
    run: usize,
    keys: HashMap<Vec<Text<'d>>, Use>,
}

/// What a run does with a key.
#[derive(Clone, Copy)]
enum Use {
    /// The run updates the key's row. The number is the update's index in the run's `given`.
    Updated(usize),
    /// The run deletes the key's row, gives that row another key, or gives the key to another row.
    Moved,
}

/// Gathers steps into runs, which must be applied in order.
pub(super) fn gather<'p, 'd>(relations: &[Relation], steps: &'p [Step<'d>]) -> Vec<Run<'p, 'd>> {
    let neighbours_only = steps.iter().any(|step| relations[step.shape.relation].triggers);
    let mut runs: Vec<Run<'p, 'd>> = Vec::new();
    let mut open: HashMap<usize, Open<'d>> = HashMap::new();
    let mut previous: Option<&Step<'d>> = None;
    for step in steps {
        let relation = step.shape.relation;
        let before = previous.replace(step);
        if let (true, Some(run)) = (before.is_some_and(|before| continues_truncate(before, step)), runs.last_mut()) {
            run.steps.push(step);
            open.insert(relation, Open { run: runs.len() - 1, keys: HashMap::new() });
            continue;
        }
        if neighbours_only && runs.last().is_some_and(|run| run.shape().relation != relation) {
            open.clear();
        }
        let joined = open.get_mut(&relation).is_some_and(|open| {
            let run = &mut runs[open.run];
            *run.shape() == step.shape && join(run, &mut open.keys, step)
        });
        if !joined {
            let mut keys = HashMap::new();
            note(&mut keys, step, 0);
            open.insert(relation, Open { run: runs.len(), keys });
            runs.push(Run::for_step(step));
        }
    }
    runs
}

/// Whether two steps that follow each other count as one `truncate` of the source.
fn continues_truncate(before: &Step<'_>, step: &Step<'_>) -> bool {
    let truncates = |step: &Step<'_>| step.shape.kind == Kind::Truncate;
    truncates(before) && truncates(step) && before.transaction == step.transaction
}

/// Adds the step to the run if the step may join it. Returns whether it has joined.
fn join<'p, 'd>(run: &mut Run<'p, 'd>, keys: &mut HashMap<Vec<Text<'d>>, Use>, step: &'p Step<'d>) -> bool {
    match step.shape.kind {
        Kind::Insert => {}
        Kind::Truncate => return false,
        Kind::Update | Kind::Delete => match (keys.get(&step.old), new_key(step)) {
            (None, None) => {}
            (None, Some(new)) if !keys.contains_key(&new) => {}
            (Some(&Use::Updated(given)), None) if step.shape.kind == Kind::Update => {
                let (latest, stands_for) = &mut run.given[given];
                (*latest, *stands_for) = (run.steps.len(), *stands_for + 1);
                run.steps.push(step);
                return true;
            }
            (Some(_), _) | (None, Some(_)) => return false,
        },
    }
    note(keys, step, run.given.len());
    run.given.push((run.steps.len(), 1));
    run.steps.push(step);
    true
}

fn note<'d>(keys: &mut HashMap<Vec<Text<'d>>, Use>, step: &Step<'d>, given: usize) {
    match (step.shape.kind, new_key(step)) {
        (Kind::Insert | Kind::Truncate, _) => {}
        (Kind::Update, None) => drop(keys.insert(step.old.clone(), Use::Updated(given))),
        (Kind::Update | Kind::Delete, new) => {
            keys.insert(step.old.clone(), Use::Moved);
            keys.extend(new.map(|new| (new, Use::Moved)));
        }
    }
}

/// Returns the key that an update gives its row, if the update changes the row's key.
fn new_key<'d>(step: &Step<'d>) -> Option<Vec<Text<'d>>> {
    if step.shape.kind != Kind::Update {
        return None;
    }
    let mut changed = false;
    let position = |columns: &[usize], column: usize| columns.iter().position(|other| *other == column);
    let value = |(old, before): (&OldColumn, &Text<'d>)| {
        let new = position(&step.shape.new, old.column).map(|index| &step.new[index]);
        let unwritable = || position(&step.shape.unwritable, old.column).map(|index| &step.unwritable[index]);
        let after = new.or_else(unwritable).unwrap_or(before);
        changed |= after != before;
        after.clone()
    };
    let key = step.shape.old.iter().zip(&step.old).map(value).collect();
    changed.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::super::wal2json::Nulls;
    use super::*;

    fn step<'d>(kind: Kind, relation: usize, new: &[Option<&'d str>], old: &[Option<&'d str>]) -> Step<'d> {
        let old_columns = old.iter().enumerate().map(|(column, value)| OldColumn { column, null: value.is_none() });
        let shape = Shape {
            relation,
            kind,
            new: (0..new.len()).collect(),
            unwritable: Vec::new(),
            old: old_columns.collect(),
            nulls: Nulls::LeftOut,
        };
        let texts = |values: &[Option<&'d str>]| values.iter().map(|value| value.map(Into::into)).collect();
        Step { shape, new: texts(new), unwritable: Vec::new(), old: texts(old), transaction: 0 }
    }

    fn insert(relation: usize, key: &str) -> Step<'_> {
        step(Kind::Insert, relation, &[Some(key), Some("x")], &[])
    }

    fn update<'d>(old: &'d str, new: &'d str) -> Step<'d> {
        step(Kind::Update, 0, &[Some(new), Some("x")], &[Some(old)])
    }

    fn delete(key: &str) -> Step<'_> {
        step(Kind::Delete, 0, &[], &[Some(key)])
    }

    fn truncate<'d>(relation: usize, transaction: usize) -> Step<'d> {
        Step { transaction, ..step(Kind::Truncate, relation, &[], &[]) }
    }

    /// The runs, as the indexes of their steps.
    fn runs(steps: &[Step<'_>], triggers: bool) -> Vec<Vec<usize>> {
        let relation = |name| Relation { triggers, ..Relation::missing(name) };
        let index = |step: &&Step<'_>| {
            steps.iter().position(|s| std::ptr::eq(s, *step)).expect("the step is one of these steps")
        };
        let runs = gather(&[relation("a"), relation("b")], steps);
        runs.iter().map(|run| run.steps.iter().map(index).collect()).collect()
    }

    #[test]
    fn inserts_into_interleaved_tables_form_one_run_per_table() {
        let steps = [insert(0, "1"), insert(1, "1"), insert(0, "1"), insert(1, "2")];
        assert_eq!(runs(&steps, false), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn steps_keep_their_order_if_a_table_has_triggers() {
        let steps = [insert(0, "1"), insert(1, "1"), insert(1, "2"), insert(0, "1")];
        assert_eq!(runs(&steps, true), [vec![0], vec![1, 2], vec![3]]);
    }

    #[test]
    fn a_step_of_another_shape_ends_the_run_of_its_table() {
        let steps = [insert(0, "1"), insert(0, "2"), delete("1"), insert(1, "1"), insert(0, "3"), insert(1, "2")];
        assert_eq!(runs(&steps, false), [vec![0, 1], vec![2], vec![3, 5], vec![4]]);
    }

    #[test]
    fn truncates_of_one_transaction_are_one_run_and_later_steps_stay_behind_that_run() {
        let steps = [insert(0, "1"), insert(1, "1"), truncate(0, 1), truncate(1, 1), insert(0, "2"), insert(1, "2")];
        for triggers in [false, true] {
            assert_eq!(runs(&steps, triggers), [vec![0], vec![1], vec![2, 3], vec![4], vec![5]]);
        }
        assert_eq!(runs(&[truncate(0, 1), truncate(1, 2), truncate(0, 2)], false), [vec![0], vec![1, 2]]);
        assert_eq!(runs(&[truncate(0, 1), insert(1, "1"), truncate(1, 1)], false), [[0], [1], [2]]);
    }

    #[test]
    fn a_step_between_two_truncates_separates_them_even_if_it_joins_an_earlier_run() {
        let steps = [insert(1, "1"), truncate(0, 1), insert(1, "2"), truncate(0, 1)];
        assert_eq!(runs(&steps, false), [vec![0, 2], vec![1], vec![3]]);
    }

    #[test]
    fn a_step_that_names_a_deleted_key_starts_a_new_run() {
        assert_eq!(runs(&[delete("1"), delete("2"), delete("1")], false), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn only_the_last_of_several_updates_that_keep_a_key_is_applied() {
        let steps = [update("1", "1"), update("2", "2"), update("1", "1"), update("1", "1")];
        let relations = [Relation::missing("a")];
        let runs = gather(&relations, &steps);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].given, [(3, 3), (1, 1)]);
    }

    #[test]
    fn updates_that_change_keys_join_a_run_only_if_the_run_does_not_name_these_keys() {
        assert_eq!(runs(&[update("1", "2"), update("3", "4")], false), [[0, 1]]);
        // The old or the new key of the second update is a key of the run.
        assert_eq!(runs(&[update("1", "2"), update("1", "3")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "2"), update("2", "2")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "1"), update("3", "1")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "1"), update("1", "3")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "3"), update("2", "1"), update("3", "2")], false), [[0], [1], [2]]);
    }
}
