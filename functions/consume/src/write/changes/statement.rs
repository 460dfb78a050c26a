//! Writes the SQL of runs. Identifiers are quoted, and types come from the catalogue. Values are bound as one array of
//! text per column, which PostgreSQL casts to the column's own type.

use shared::contract::quoted;

use super::catalogue::{Access, Column, Relation};
use super::plan::{Kind, OldColumn, Shape};
use super::types::{IndexPart, PREFIX_CHARACTERS};
use super::wal2json::Nulls;

/// Returns the statement that executes a run.
///
/// An insert takes the columns' arrays, or the number of rows if there are no columns. An update or delete takes the
/// arrays of the new values (those of identity columns last), the arrays of the old values that are not NULL, and an
/// array of weights. The new and old values at the same position form a tuple, which can stand for several steps of the
/// run. The weight at that position is the number of these steps. An update or delete returns three values: the number
/// of steps that found their row; whether nothing was done because the steps must be applied one by one; and whether
/// nothing was done because an identity column would change.
pub(super) fn for_run(table: &str, relation: &Relation, shape: &Shape) -> String {
    match shape.kind {
        Kind::Insert => insert(table, relation, &shape.new),
        Kind::Update | Kind::Delete => matching(&Target::new(table, relation), relation, shape),
        Kind::Truncate => truncate(&[(table, relation)]),
    }
}

/// Empties these tables together, and no others. PostgreSQL refuses the statement if another table refers to one of
/// them.
pub(super) fn truncate(tables: &[(&str, &Relation)]) -> String {
    let targets: Vec<String> = tables.iter().map(|(table, relation)| Target::new(table, relation).only).collect();
    format!("truncate {}", targets.join(", "))
}

/// Deletes all rows of these tables in one statement. Foreign keys are checked when the last row is gone.
pub(super) fn delete_all(tables: &[(&str, &Relation)]) -> String {
    let mut deletes: Vec<String> =
        tables.iter().map(|(table, relation)| format!("delete from {}", Target::new(table, relation).only)).collect();
    let last = deletes.pop().unwrap_or_default();
    if deletes.is_empty() {
        return last;
    }
    let others: Vec<String> =
        deletes.iter().enumerate().map(|(index, delete)| format!("d{index} as ({delete})")).collect();
    format!("with {} {last}", others.join(", "))
}

/// A table as a statement names it, and SQL for the physical location (`ctid`) of a row in the table.
struct Target {
    /// The table's name, preceded by `only`, so that tables that inherit from it are left out. A partitioned table has
    /// no `only`, because all of its rows are in its partitions.
    only: String,
    partitioned: bool,
}

impl Target {
    fn new(table: &str, relation: &Relation) -> Self {
        let partitioned = relation.partitioned;
        Self { only: if partitioned { table.to_owned() } else { format!("only {table}") }, partitioned }
    }

    /// Selects a row's physical location.
    fn place(&self) -> &'static str {
        if self.partitioned { "t.ctid as at, t.tableoid as part" } else { "t.ctid as at" }
    }

    /// The names of the columns that [`Self::place`] selects.
    fn place_columns(&self) -> &'static str {
        if self.partitioned { "at, part" } else { "at" }
    }

    /// The condition that the row of `table` is at the location in `chosen`.
    fn is_at(&self, table: &str, chosen: &str) -> String {
        let part = if self.partitioned { format!(" and {table}.tableoid = {chosen}.part") } else { String::new() };
        format!("{table}.ctid = {chosen}.at{part}")
    }
}

fn insert(table: &str, relation: &Relation, columns: &[usize]) -> String {
    if columns.is_empty() {
        return format!("insert into {table} select from generate_series(1, $1::bigint)");
    }
    let columns: Vec<&Column> = columns.iter().map(|&column| &relation.columns[column]).collect();
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let values: Vec<String> = numbered(&columns, |n, column| cast(column, &format!("v.s{n}")));
    // `overriding system value` gives an identity column the source's value, even if the column is `generated always`.
    format!(
        "insert into {table} ({}) overriding system value select {} from unnest({}) as v ({})",
        names.join(", "),
        values.join(", "),
        numbered(&columns, |n, _| format!("${}::text[]", n + 1)).join(", "),
        numbered(&columns, |n, _| format!("s{n}")).join(", "),
    )
}

/// Returns the SQL that changes the rows in `chosen` if all CTEs in `obstacles` are empty.
fn change(target: &Target, relation: &Relation, shape: &Shape, obstacles: &[&str]) -> String {
    let only = &target.only;
    let at = target.is_at("t", "c");
    let unless = obstacles.iter().map(|obstacle| format!("not exists (select from {obstacle})")).collect::<Vec<_>>();
    let unless = unless.join(" and ");
    let set = |(index, &column): (usize, &usize)| {
        let column = &relation.columns[column];
        format!("{} = {}", quoted(&column.name), cast(column, &format!("new.s{index}")))
    };
    match shape.kind {
        Kind::Update if shape.new.is_empty() => format!("select c.weight from chosen c where {unless}"),
        Kind::Update => {
            let set = shape.new.iter().enumerate().map(set).collect::<Vec<_>>().join(", ");
            format!(
                "update {only} as t set {set}
             from chosen c join new on new.n = c.n where {at} and {unless} returning c.weight"
            )
        }
        Kind::Delete | Kind::Insert | Kind::Truncate => {
            format!("delete from {only} as t using chosen c where {at} and {unless} returning c.weight")
        }
    }
}

/// Selects the rows in which the update would give an identity column another value. Returns `None` if the update names
/// no identity column.
fn identity_changes(target: &Target, relation: &Relation, shape: &Shape) -> Option<String> {
    let differs = |(index, (_, column)): (usize, (usize, usize))| {
        let column = &relation.columns[column];
        let value = cast(column, &format!("new.s{}", shape.new.len() + index));
        format!("t.{} is distinct from {value}", quoted(&column.name))
    };
    let differs: Vec<String> = shape.identities(relation).enumerate().map(differs).collect();
    let (only, at, differs) = (&target.only, target.is_at("t", "c"), differs.join(" or "));
    (!differs.is_empty())
        .then(|| format!("select 1 from chosen c join new on new.n = c.n join {only} as t on {at} where {differs}"))
}

/// What the old values say about the row that they identify.
#[derive(Default)]
struct Conditions {
    /// Must hold: the row has the old values.
    needed: Vec<String>,
    /// Should hold: the row has the old values of generated columns. The landing table's expressions may differ from
    /// the source's.
    likely: Vec<String>,
    /// Preferred: the row's values also have the same texts. For example, 1.0 and 1 are the same number, but different
    /// texts.
    same_texts: Vec<String>,
    /// Preferred: the columns that the old values leave out are NULL in the row.
    nulls: Vec<String>,
    /// The names of the arrays of old values, each followed by a comma.
    arrays: Vec<String>,
}

impl Conditions {
    fn new(relation: &Relation, shape: &Shape) -> Self {
        let generated = |column: usize| relation.columns[column].access == Access::Generated;
        let only_generated = shape.old.iter().all(|old| generated(old.column));
        let mut all = Self::default();
        for (n, &OldColumn { column: index, null }) in shape.old.iter().enumerate() {
            let column = &relation.columns[index];
            let is_needed = only_generated || !generated(index);
            let conditions = if null {
                vec![format!("t.{} is null", quoted(&column.name))]
            } else {
                all.arrays.push(format!("o{n}, "));
                let value = cast(column, &format!("old.o{n}"));
                if is_needed && column.ty.has_several_texts() {
                    all.same_texts.push(format!("t.{}::text = ({value})::text", quoted(&column.name)));
                }
                equal(column, &value)
            };
            if is_needed { &mut all.needed } else { &mut all.likely }.extend(conditions);
        }
        let left_out = |(index, column): &(usize, &Column)| {
            column.nullable && !generated(*index) && shape.old.iter().all(|old| old.column != *index)
        };
        let left_out = relation.columns.iter().enumerate().filter(left_out);
        all.nulls = left_out.map(|(_, column)| format!("t.{} is null", quoted(&column.name))).collect();
        all
    }
}

fn all(conditions: &[String]) -> String {
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

/// Returns the statement for an update or delete. Each tuple of old values identifies one row. The statement finds that
/// row and changes it.
///
/// If the old values include generated columns, rows that agree with these values are preferred to rows that do not.
///
/// wal2json's format 1 leaves NULLs out of the old row. So, of the rows that match, those with NULL in the missing
/// columns come first. If there are no such rows, the missing columns were not part of the key. A matching row is then
/// the right one only if no other row matches, or if all matching rows are equal. Of rows with equal values, a row
/// whose values also have the same texts as the old values comes first.
///
/// The statement does nothing, and the steps of the run have to be applied one by one, in two cases: two tuples of old
/// values identify the same row (their texts differ, but their values do not), or an update that stands for several
/// steps matches several rows.
fn matching(target: &Target, relation: &Relation, shape: &Shape) -> String {
    let only = &target.only;
    let Conditions { needed, likely, same_texts, nulls, arrays } = Conditions::new(relation, shape);
    let sure = format!(
        "c.matches = 1 or not exists (
                 select from candidates other join {only} as x on {} join {only} as y on {}
                 where other.n = c.n and (x.*)::text <> (y.*)::text
             )",
        target.is_at("x", "other"),
        target.is_at("y", "c"),
    );
    let mut certain = Vec::new();
    if !likely.is_empty() {
        certain.push(format!("(c.likely or {sure})"));
    }
    // If the format lists NULLs, any matching row is the right one.
    if !nulls.is_empty() && shape.nulls == Nulls::LeftOut {
        certain.push(format!("(c.preferred or {sure})"));
    }
    let parameter = |n: usize| format!("${n}::text[], ");
    // New and old values are in separate CTEs: a row of a query has at most 1,664 columns, and a table has up to 1,600.
    let new = shape.new.len() + shape.identities(relation).count();
    let new_rows = match new {
        0 => String::new(),
        count => format!(
            "new as materialized (select * from unnest({}) with ordinality as new ({}, n)), ",
            (1..=count).map(parameter).collect::<String>().trim_end_matches(", "),
            (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>().join(", ")
        ),
    };
    let weight = new + arrays.len() + 1;
    let likely_column =
        if likely.is_empty() { String::new() } else { format!(", ({}) is true as likely", all(&likely)) };
    let mut candidates = format!(
        "select old.n, old.weight, {}, {} as preferred, {} as same_texts{likely_column}
             from old join {only} as t on {}",
        target.place(),
        all(&nulls),
        all(&same_texts),
        all(&needed),
    );
    if !likely.is_empty() {
        candidates = format!(
            "select * from (
                 select *, bool_or(likely) over (partition by n) as some_likely from ({candidates}) as c
             ) as c where likely or not some_likely"
        );
    }
    let (moved, obstacles, has_moved) = match identity_changes(target, relation, shape) {
        Some(moved) => {
            (format!("moved as materialized ({moved}), "), &["clash", "moved"][..], "exists (select from moved)")
        }
        None => (String::new(), &["clash"][..], "false"),
    };
    format!(
        "with {new_rows}old as materialized (
             select * from unnest({parameters}${weight}::integer[]) with ordinality as old ({arrays}weight, n)
         ), candidates as materialized (
             select *, count(*) over (partition by n) as matches from ({candidates}) as c
         ), chosen as materialized (
             select * from (
                 select distinct on (n) * from candidates order by n, preferred desc, same_texts desc, {place}
             ) as c where {certain}
         ), clash as materialized (
             select 1 from chosen group by {place} having count(*) > 1
             union all
             select 1 from chosen where weight > 1 and matches > 1
         ), {moved}changed as (
             {change}
         )
         select coalesce(sum(weight), 0)::bigint, exists (select from clash), {has_moved} from changed",
        parameters = (new + 1..weight).map(parameter).collect::<String>(),
        arrays = arrays.concat(),
        place = target.place_columns(),
        certain = all(&certain),
        change = change(target, relation, shape, obstacles),
    )
}

/// The conditions that the column has this value.
fn equal(column: &Column, value: &str) -> Vec<String> {
    let name = quoted(&column.name);
    if !column.ty.has_equality() {
        return vec![format!("t.{name}::text = ({value})::text")];
    }
    let mut conditions = vec![format!("t.{name} = {value}")];
    if column.ty.index_part() == Some(IndexPart::Prefix) {
        // The index that `evolve` creates holds only this prefix, so PostgreSQL uses the index only if a condition
        // compares the prefix.
        conditions.push(format!("{} = {}", prefix(&format!("t.{name}")), prefix(value)));
    }
    conditions
}

/// The first characters of a text.
pub(super) fn prefix(text: &str) -> String {
    format!("pg_catalog.left({text}, {PREFIX_CHARACTERS})")
}

fn cast(column: &Column, text: &str) -> String {
    if column.ty.is_bytea() {
        return format!(r"(case when pg_catalog.left({text}, 2) = '\x' then {text} else '\x' || {text} end)::bytea");
    }
    format!("{text}::{}", column.ty.cast())
}

fn numbered<T>(items: &[T], format: impl Fn(usize, &T) -> String) -> Vec<String> {
    items.iter().enumerate().map(|(index, item)| format(index, item)).collect()
}
