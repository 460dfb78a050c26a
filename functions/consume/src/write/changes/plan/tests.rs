use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::catalogue::KnownType;
use super::super::type_name::{Parsed, parse};
use super::super::wal2json;
use super::*;

fn rules() -> Changes {
    Changes { schema: "landing".to_owned(), tables: None, evolve: true }
}

/// Looks up the built-in types that these texts name. Other texts are left out.
fn types<'d>(texts: &[&'d str]) -> Types<'d> {
    let known = |text: &'d str| match parse(text) {
        Some(Parsed::BuiltIn(given)) => Some((text, KnownType { given, storable: true })),
        Some(Parsed::Other(_)) | None => None,
    };
    texts.iter().filter_map(|text| known(text)).collect()
}

fn table(name: &str, columns: &[(&str, &str)]) -> Relation {
    let mut relation = Relation { state: State::There, ..Relation::missing(name) };
    for (name, text) in columns {
        let Some(Parsed::BuiltIn(given)) = parse(text) else { panic!("{text}") };
        relation.push(Column {
            name: (*name).to_owned(),
            ty: given.ty,
            shown: (*text).to_owned(),
            state: ColumnState::There,
            access: Access::Writable,
            nullable: true,
            indexed: false,
        });
    }
    relation
}

fn insert(schema: Option<&str>, table: &str, columns: &[(&str, &str)]) -> Value {
    let column = |(name, ty): &(&str, &str)| match *ty {
        "" => json!({"name": name, "value": 1}),
        ty => json!({"name": name, "type": ty, "value": 1}),
    };
    let columns: Vec<Value> = columns.iter().map(column).collect();
    match schema {
        Some(schema) => json!({"action": "I", "schema": schema, "table": table, "columns": columns}),
        None => json!({"action": "I", "table": table, "columns": columns}),
    }
}

/// Plans these sets. Returns the plan's relations, the number of its steps, and the index and the code of each rejected
/// set.
fn planned(rules: &Changes, there: Vec<Relation>, sets: &[Value]) -> (Vec<Relation>, usize, Vec<(usize, String)>) {
    let texts = ["integer", "INT", "bigint", "text", "varchar(30)", "varchar(31)", "numeric(10,2)"];
    let sets: Vec<Set<'_>> = sets.iter().map(wal2json::read).collect();
    let plan = plan(rules, there, &types(&texts), &sets);
    let rejected = plan.rejected.into_iter().map(|(index, rejection)| (index, rejection.code)).collect();
    (plan.relations, plan.steps.len(), rejected)
}

fn code(rules: &Changes, there: Vec<Relation>, set: Value) -> Option<String> {
    let (_, _, mut rejected) = planned(rules, there, &[set]);
    rejected.pop().map(|(_, code)| code)
}

#[test]
fn the_only_schemas_that_a_set_may_name_are_public_and_the_target_schema() {
    for (schema, expected) in [
        (None, None),
        (Some("public"), None),
        (Some("landing"), None),
        (Some("sluice"), Some("schema_not_allowed")),
        (Some("Public"), Some("schema_not_allowed")),
        (Some("pg_catalog"), Some("schema_not_allowed")),
    ] {
        assert_eq!(code(&rules(), vec![], insert(schema, "t", &[("a", "INT")])).as_deref(), expected, "{schema:?}");
    }
}

#[test]
fn only_the_contracts_tables_are_allowed() {
    let rules = Changes { tables: Some(BTreeSet::from(["t".to_owned()])), ..rules() };
    assert_eq!(code(&rules, vec![], insert(None, "t", &[("a", "INT")])), None);
    assert_eq!(code(&rules, vec![], insert(None, "T", &[("a", "INT")])).as_deref(), Some("table_not_allowed"));
}

#[test]
fn no_table_or_column_is_created_if_evolve_is_off() {
    let rules = Changes { evolve: false, ..rules() };
    let there = || vec![table("t", &[("a", "integer")])];
    assert_eq!(code(&rules, there(), insert(None, "t", &[("a", "INT")])), None);
    assert_eq!(code(&rules, there(), insert(None, "t", &[("b", "INT")])).as_deref(), Some("no_such_column"));
    assert_eq!(code(&rules, there(), insert(None, "u", &[("a", "INT")])).as_deref(), Some("no_such_table"));
    let truncate = json!({"action": "T", "table": "u"});
    assert_eq!(code(&rules, there(), truncate).as_deref(), Some("no_such_table"));
}

#[test]
fn each_fault_of_a_set_has_its_code() {
    let there = || {
        let table = table("t", &[("a", "integer"), ("v", "varchar(30)")]);
        vec![table, Relation { state: State::Taken, ..Relation::missing("view") }]
    };
    let long = "x".repeat(64);
    for (table, columns, expected) in [
        ("t", &[("a", "text")][..], "type_mismatch"),
        ("t", &[("a", "bigint")], "type_mismatch"),
        ("t", &[("v", "varchar(31)")], "type_mismatch"),
        ("t", &[("a", "integer; drop table t")], "unknown_type"),
        ("t", &[("new", "")], "missing_type"),
        ("t", &[("a", ""), ("a", "INT")], "repeated_column"),
        ("t", &[("ctid", "INT")], "not_writable"),
        ("t", &[("", "INT")], "invalid_name"),
        ("t", &[("a\0", "INT")], "invalid_name"),
        ("t", &[(long.as_str(), "INT")], "invalid_name"),
        (long.as_str(), &[("a", "INT")], "invalid_name"),
        ("", &[("a", "INT")], "invalid_name"),
        ("view", &[("a", "INT")], "not_a_table"),
    ] {
        let found = code(&rules(), there(), insert(None, table, columns));
        assert_eq!(found.as_deref(), Some(expected), "{table} {columns:?}");
    }
}

#[test]
fn a_change_need_not_give_the_type_of_an_existing_column() {
    assert_eq!(code(&rules(), vec![table("t", &[("a", "integer")])], insert(None, "t", &[("a", "")])), None);
}

#[test]
fn a_set_is_checked_against_the_tables_and_columns_of_earlier_sets() {
    let sets = [
        insert(None, "t", &[("a", "integer")]),
        insert(None, "t", &[("a", "text")]),
        insert(None, "t", &[("a", "INT"), ("b", "text")]),
        insert(None, "t", &[("b", "")]),
    ];
    let (relations, steps, rejected) = planned(&rules(), vec![], &sets);
    assert_eq!(rejected, [(1, "type_mismatch".to_owned())]);
    assert_eq!(steps, 3);
    assert_eq!(relations[0].state, State::Planned);
    assert_eq!(relations[0].columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_rejected_set_leaves_no_trace() {
    let set = json!({"change": [
        {"kind": "insert", "table": "t", "columnnames": ["b"], "columntypes": ["integer"], "columnvalues": [1]},
        {"kind": "insert", "table": "u", "columnnames": ["b"], "columntypes": ["integer"], "columnvalues": [1]},
        {"kind": "delete", "table": "gone", "oldkeys": {"keynames": ["a"], "keyvalues": [1]}},
        {"kind": "insert", "table": "t", "columnnames": ["a"], "columntypes": ["text"], "columnvalues": [1]}]});
    let sets = [set, insert(None, "t", &[("b", "text")])];
    let operations: Vec<Set<'_>> = sets.iter().map(wal2json::read).collect();
    let types = types(&["integer", "text"]);
    let plan = plan(&rules(), vec![table("t", &[("a", "integer")])], &types, &operations);
    assert_eq!(plan.rejected.len(), 1);
    assert_eq!((plan.rejected[0].0, plan.rejected[0].1.code.as_str()), (0, "type_mismatch"));
    assert!(plan.rejected[0].1.reason.starts_with("change 3: "), "{}", plan.rejected[0].1.reason);
    assert_eq!((plan.steps.len(), plan.skipped_rows), (1, 0));
    assert_eq!(plan.relations[0].columns[1].shown, r#""pg_catalog"."text""#);
    assert!(plan.relations[1..].iter().all(|relation| relation.state == State::Missing && relation.columns.is_empty()));
}

#[test]
fn an_update_or_delete_or_truncate_of_a_missing_table_is_skipped() {
    let old = json!([{"name": "a", "type": "integer", "value": 1}]);
    let sets = [
        json!({"action": "U", "table": "t", "columns": old, "identity": old}),
        json!({"action": "D", "table": "t", "identity": old}),
        json!({"action": "T", "table": "t"}),
    ];
    let operations: Vec<Set<'_>> = sets.iter().map(wal2json::read).collect();
    let plan = plan(&rules(), vec![], &types(&["integer"]), &operations);
    assert_eq!((plan.rejected.len(), plan.steps.len(), plan.skipped_rows), (0, 0, 3));
    assert!(plan.relations.iter().all(|relation| relation.state == State::Missing));
}

#[test]
fn an_update_lists_an_identity_column_as_unwritable_if_its_value_changes_and_otherwise_leaves_it_out() {
    let mut there = table("t", &[("id", "integer"), ("a", "integer")]);
    there.columns[0].access = Access::Identity;
    let update = |id: i64| {
        json!({"action": "U", "table": "t", "columns": [{"name": "id", "value": id}, {"name": "a", "value": 5}],
               "identity": [{"name": "id", "value": 1}]})
    };
    let sets = [update(1), update(2)];
    let operations: Vec<Set<'_>> = sets.iter().map(wal2json::read).collect();
    let plan = plan(&rules(), vec![there], &Types::new(), &operations);
    let shapes = plan.steps.iter().map(|step| (step.shape.new.as_slice(), step.shape.unwritable.as_slice()));
    assert_eq!(shapes.collect::<Vec<_>>(), [(&[1][..], &[][..]), (&[1], &[0])]);
    assert_eq!(plan.rejected, []);
}
