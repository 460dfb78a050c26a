//! Runs: operations that one statement does at once, with the same end as one after the other.
//!
//! A table has one open run. An operation of the same shape joins it, unless it meets the run's rows:
//! - an insert never does: it reads nothing;
//! - an update that keeps its row's key replaces an earlier one of the same key (the intermediate row is never seen);
//! - any other update or delete that names an old or new key of the run's ends the run.
//!
//! Runs of different tables may overtake each other, which nobody sees within a transaction, unless a table has
//! triggers or foreign keys: then only neighbours form a run.
//!
//! Keys are compared as text here and as their types in SQL. Where two texts are one value, the statement notices
//! ([`super::statement::matching`]), does nothing, and the run is applied one by one.

use std::collections::HashMap;

use super::catalogue::Relation;
use super::plan::{Kind, OldColumn, Shape, Step};
use super::wal2json::Text;

/// Steps of one shape, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run<'p, 'd> {
    pub(super) steps: Vec<&'p Step<'d>>,
    /// What the statement is given: steps by index, each with the number of steps that it stands for.
    pub(super) given: Vec<(usize, i32)>,
}

impl<'p, 'd> Run<'p, 'd> {
    pub(super) fn of(step: &'p Step<'d>) -> Self {
        Self { steps: vec![step], given: vec![(0, 1)] }
    }

    pub(super) fn shape(&self) -> &'p Shape {
        // A run has a step from the start.
        &self.steps[0].shape
    }
}

/// A run that may still grow.
#[derive(Default)]
struct Open<'d> {
    run: usize,
    keys: HashMap<Vec<Text<'d>>, Use>,
}

/// What a run does with a key.
#[derive(Clone, Copy)]
enum Use {
    /// Updates its row, as the run's `given` at this index says.
    Updated(usize),
    /// Deletes its row, moves it to another key, or moves a row here.
    Moved,
}

/// The runs of these steps, to be applied in order.
pub(super) fn gather<'p, 'd>(relations: &[Relation], steps: &'p [Step<'d>]) -> Vec<Run<'p, 'd>> {
    let neighbours_only = steps.iter().any(|step| relations[step.shape.relation].triggers);
    let mut runs: Vec<Run<'p, 'd>> = Vec::new();
    let mut open: HashMap<usize, Open<'d>> = HashMap::new();
    for step in steps {
        let relation = step.shape.relation;
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
            runs.push(Run::of(step));
        }
    }
    runs
}

/// Adds the step to the run, if it does not meet the run's rows.
fn join<'p, 'd>(run: &mut Run<'p, 'd>, keys: &mut HashMap<Vec<Text<'d>>, Use>, step: &'p Step<'d>) -> bool {
    match step.shape.kind {
        Kind::Insert => {}
        // Once is enough, but it is not a step that comes in numbers.
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

/// The key that an update gives its row, if it is another.
fn new_key<'d>(step: &Step<'d>) -> Option<Vec<Text<'d>>> {
    if step.shape.kind != Kind::Update {
        return None;
    }
    let mut changed = false;
    let value = |(old, &before): (&OldColumn, &Text<'d>)| {
        let after = step.shape.new.iter().position(|new| *new == old.column).map_or(before, |new| step.new[new]);
        changed |= after != before;
        after
    };
    let key = step.shape.old.iter().zip(&step.old).map(value).collect();
    changed.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::super::wal2json::Nulls;
    use super::*;

    fn step<'d>(kind: Kind, relation: usize, new: &[Text<'d>], old: &[Text<'d>]) -> Step<'d> {
        let old_columns = old.iter().enumerate().map(|(column, value)| OldColumn { column, null: value.is_none() });
        let shape =
            Shape { relation, kind, new: (0..new.len()).collect(), old: old_columns.collect(), nulls: Nulls::LeftOut };
        Step { shape, new: new.to_vec(), old: old.to_vec() }
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

    /// The runs, as the indexes of their steps.
    fn runs(steps: &[Step<'_>], triggers: bool) -> Vec<Vec<usize>> {
        let relation = |name| Relation { triggers, ..Relation::missing(name) };
        let index = |step: &&Step<'_>| steps.iter().position(|s| std::ptr::eq(s, *step)).expect("one of them");
        let runs = gather(&[relation("a"), relation("b")], steps);
        runs.iter().map(|run| run.steps.iter().map(index).collect()).collect()
    }

    #[test]
    fn inserts_of_interleaved_tables_are_a_run_per_table() {
        let steps = [insert(0, "1"), insert(1, "1"), insert(0, "1"), insert(1, "2")];
        assert_eq!(runs(&steps, false), [vec![0, 2], vec![1, 3]]);
    }

    #[test]
    fn tables_with_triggers_keep_their_order() {
        let steps = [insert(0, "1"), insert(1, "1"), insert(1, "2"), insert(0, "1")];
        assert_eq!(runs(&steps, true), [vec![0], vec![1, 2], vec![3]]);
    }

    #[test]
    fn another_shape_ends_a_run() {
        let steps = [insert(0, "1"), insert(0, "2"), delete("1"), insert(1, "1"), insert(0, "3"), insert(1, "2")];
        assert_eq!(runs(&steps, false), [vec![0, 1], vec![2], vec![3, 5], vec![4]]);
    }

    #[test]
    fn a_deleted_key_ends_the_run_that_names_it_again() {
        assert_eq!(runs(&[delete("1"), delete("2"), delete("1")], false), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn the_last_of_the_updates_that_keep_a_key_stands_for_all() {
        let steps = [update("1", "1"), update("2", "2"), update("1", "1"), update("1", "1")];
        let relations = [Relation::missing("a")];
        let runs = gather(&relations, &steps);
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].given, [(3, 3), (1, 1)]);
    }

    #[test]
    fn updates_that_move_rows_join_only_where_they_do_not_meet() {
        assert_eq!(runs(&[update("1", "2"), update("3", "4")], false), [[0, 1]]);
        // From, to, and onto a key of the run.
        assert_eq!(runs(&[update("1", "2"), update("1", "3")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "2"), update("2", "2")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "1"), update("3", "1")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "1"), update("1", "3")], false), [[0], [1]]);
        assert_eq!(runs(&[update("1", "3"), update("2", "1"), update("3", "2")], false), [[0], [1], [2]]);
    }
}
