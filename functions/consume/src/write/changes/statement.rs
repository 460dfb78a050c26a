//! The SQL of runs. Identifiers are quoted, types come from the catalogue, values are bound: arrays of text, one per
//! column, which PostgreSQL casts to the column's own type, so that each value is what its text says.

use shared::contract::quoted;

use super::catalogue::{Column, Relation};
use super::plan::{Kind, OldColumn, Shape};
use super::types::{IndexPart, PREFIX_CHARACTERS};
use super::wal2json::Nulls;

/// The statement of a run.
///
/// An insert takes the columns' arrays, or without columns the number of rows. An update or delete takes the arrays of
/// the new values, of the old values that are not NULL, and how many steps each row stands for; it answers with how
/// many steps found their row, and whether it did nothing because the run is to be applied one by one.
pub(super) fn of(table: &str, relation: &Relation, shape: &Shape) -> String {
    match shape.kind {
        Kind::Insert => insert(table, relation, &shape.new),
        Kind::Update => {
            let set = |(index, &column): (usize, &usize)| {
                let column = &relation.columns[column];
                format!("{} = {}", quoted(&column.name), cast(column, &format!("new.s{index}")))
            };
            let set = shape.new.iter().enumerate().map(set).collect::<Vec<_>>().join(", ");
            let change = format!(
                "update only {table} as t set {set} from chosen c join new on new.n = c.n
                 where t.ctid = c.at and not exists (select from clash)"
            );
            matching(table, relation, shape, &change)
        }
        Kind::Delete => {
            let change = format!(
                "delete from only {table} as t using chosen c where t.ctid = c.at and not exists (select from clash)"
            );
            matching(table, relation, shape, &change)
        }
        // Another table's foreign key, or a trigger, may have a say in it.
        Kind::Truncate if relation.triggers => format!("delete from only {table}"),
        Kind::Truncate => format!("truncate only {table}"),
    }
}

fn insert(table: &str, relation: &Relation, columns: &[usize]) -> String {
    if columns.is_empty() {
        return format!("insert into {table} select from generate_series(1, $1::bigint)");
    }
    let columns: Vec<&Column> = columns.iter().map(|&column| &relation.columns[column]).collect();
    let names: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let values: Vec<String> = numbered(&columns, |n, column| cast(column, &format!("v.s{n}")));
    format!(
        "insert into {table} ({}) overriding system value select {} from unnest({}) as v ({})",
        names.join(", "),
        values.join(", "),
        numbered(&columns, |n, _| format!("${}::text[]", n + 1)).join(", "),
        numbered(&columns, |n, _| format!("s{n}")).join(", "),
    )
}

/// Finds for each given row the one row that it means, and has `change` change it.
///
/// Among the rows that match, those come first whose columns that are left out are NULL: format 1 leaves NULLs out of
/// the row before. If there is none of them, what is left out was no part of the key: then the row that matches is
/// meant, if it is the only one or they are all equal; otherwise none. Of equal values, the one that is written alike
/// comes first: 1.0 and 1 are one number.
///
/// Nothing is done, and the run is to be applied one by one, when two given rows mean the same row (their texts
/// differ, their values do not), or when an update that stands for several could have met several rows.
fn matching(table: &str, relation: &Relation, shape: &Shape, change: &str) -> String {
    let new: Vec<String> = (0..shape.new.len()).map(|n| format!("s{n}")).collect();
    let mut old = Vec::new();
    let mut conditions = Vec::new();
    let mut same_texts = vec!["true".to_owned()];
    for (n, &OldColumn { column, null }) in shape.old.iter().enumerate() {
        let column = &relation.columns[column];
        if null {
            conditions.push(format!("t.{} is null", quoted(&column.name)));
        } else {
            old.push(format!("o{n}, "));
            let value = cast(column, &format!("old.o{n}"));
            conditions.extend(equal(column, &value));
            if column.ty.has_several_texts() {
                same_texts.push(format!("t.{}::text = ({value})::text", quoted(&column.name)));
            }
        }
    }
    let left_out: Vec<String> = relation
        .columns
        .iter()
        .enumerate()
        .filter(|(index, column)| column.nullable && shape.old.iter().all(|old| old.column != *index))
        .map(|(_, column)| format!("t.{} is null", quoted(&column.name)))
        .collect();
    let (preferred, certain) = match (left_out.is_empty(), shape.nulls) {
        (true, _) => ("true".to_owned(), "true".to_owned()),
        // Where NULLs are listed, whatever matches is right.
        (false, Nulls::Listed) => (left_out.join(" and "), "true".to_owned()),
        (false, Nulls::LeftOut) => (
            left_out.join(" and "),
            format!(
                "c.preferred or c.matches = 1 or not exists (
                     select from candidates other
                     join only {table} as x on x.ctid = other.at join only {table} as y on y.ctid = c.at
                     where other.n = c.n and (x.*)::text <> (y.*)::text)"
            ),
        ),
    };
    let parameter = |n: usize| format!("${n}::text[], ");
    // Apart, since a relation has at most 1,664 columns, and a table 1,600.
    let new_rows = match new.len() {
        0 => String::new(),
        count => format!(
            "new as materialized (select * from unnest({}) with ordinality as new ({}, n)), ",
            (1..=count).map(parameter).collect::<String>().trim_end_matches(", "),
            new.join(", ")
        ),
    };
    let weight = new.len() + old.len() + 1;
    let parameters: String = (new.len() + 1..weight).map(parameter).collect();
    format!(
        "with {new_rows}old as materialized (
             select * from unnest({parameters}${weight}::integer[]) with ordinality as old ({names}weight, n)
         ), candidates as materialized (
             select old.n, old.weight, t.ctid as at, {preferred} as preferred, {same_texts} as same_texts,
                    count(*) over (partition by old.n) as matches
             from old join only {table} as t on {conditions}
         ), chosen as materialized (
             select * from (
                 select distinct on (n) * from candidates order by n, preferred desc, same_texts desc, at
             ) as c where {certain}
         ), clash as materialized (
             select 1 from chosen group by at having count(*) > 1
             union all
             select 1 from chosen where weight > 1 and matches > 1
         ), changed as (
             {change} returning c.weight
         )
         select coalesce(sum(weight), 0)::bigint, exists (select from clash) from changed",
        names = old.concat(),
        conditions = conditions.join(" and "),
        same_texts = same_texts.join(" and "),
    )
}

/// That the column has this value.
fn equal(column: &Column, value: &str) -> Vec<String> {
    let name = quoted(&column.name);
    if !column.ty.has_equality() {
        return vec![format!("t.{name}::text = ({value})::text")];
    }
    let mut conditions = vec![format!("t.{name} = {value}")];
    if column.ty.index_part() == Some(IndexPart::Prefix) {
        // What our own index knows of it.
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
