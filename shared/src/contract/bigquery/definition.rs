//! The member `bigquery` of the `x-sluice` block, and the rules that the member must follow.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde::de::{Deserializer, IntoDeserializer};
use serde_json::Value;

use super::super::Mode;
use super::super::column::ColumnType;
use super::super::column_definition::ColumnDefinition;
use super::super::landing::Column;
use super::super::metadata::Meta;
use super::super::pointer::Pointer;
use super::super::wrong::Wrong;
use super::names::{check_column, check_dataset, check_project, check_table};
use super::{BigQuery, BigQueryColumn, BigQueryTable, BigQueryType, Target};

/// The member as it is written in the contract file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct BigQueryDefinition {
    table: Option<String>,
    dataset: Option<String>,
    columns: Option<BTreeMap<String, BigQueryColumnDefinition>>,
    #[serde(default)]
    evolve: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BigQueryColumnDefinition {
    from: Option<Pointer>,
    meta: Option<Meta>,
    #[serde(rename = "type")]
    ty: WrittenType,
}

/// A type as a contract names it: a PostgreSQL type or `bignumeric`.
#[derive(Debug, Clone, Copy)]
struct WrittenType {
    read_as: ColumnType,
    ty: BigQueryType,
}

impl<'de> Deserialize<'de> for WrittenType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "bignumeric" {
            return Ok(Self { read_as: ColumnType::Numeric, ty: BigQueryType::Bignumeric });
        }
        let read_as = ColumnType::deserialize(name.as_str().into_deserializer())?;
        Ok(Self { read_as, ty: BigQueryType::for_column(read_as) })
    }
}

impl BigQueryDefinition {
    /// Validates the member. `mode` is the stream's write mode, and `key` is the contract's key.
    pub(in super::super) fn read(&self, schema: &Value, mode: &Mode, key: &[Pointer]) -> Result<BigQuery, Wrong> {
        let target = match mode {
            Mode::Append { landing, .. } => self.table(schema, &landing.columns)?,
            Mode::Upsert { landing, .. } => {
                let target = self.table(schema, &landing.columns)?;
                has_key(&target, key)?;
                target
            }
            Mode::Entity(_) => {
                return Err(Wrong::at(
                    "bigquery",
                    "mode `entity` reads the existing rows to decide what a command does, but BigQuery can neither \
                     lock rows nor read them as fast as commands arrive; land the stream in PostgreSQL only",
                ));
            }
            Mode::Changes(_) => self.dataset()?,
        };
        Ok(BigQuery { target, evolve: self.evolve })
    }

    fn table(&self, schema: &Value, defaults: &[Column]) -> Result<Target, Wrong> {
        if self.dataset.is_some() {
            return Err(Wrong::at(
                "bigquery/dataset",
                "only mode `changes` uses this member; name the dataset in `table`",
            ));
        }
        let table = read_table(self.table.as_deref())?;
        let columns = match &self.columns {
            Some(columns) if columns.is_empty() => {
                return Err(Wrong::at("bigquery/columns", "should have at least one column"));
            }
            Some(columns) => {
                let read = |(name, column): (&String, &BigQueryColumnDefinition)| column.read(name, schema);
                columns.iter().map(read).collect::<Result<Vec<_>, _>>()?
            }
            None => {
                let same = |column: &Column| BigQueryColumn {
                    column: column.clone(),
                    ty: BigQueryType::for_column(column.ty),
                };
                defaults.iter().map(same).collect()
            }
        };
        let mut names = HashSet::new();
        for BigQueryColumn { column, .. } in &columns {
            // If the member lists no columns, it uses the columns for PostgreSQL, so the error points to those.
            let place = if self.columns.is_some() { "bigquery/columns" } else { "columns" };
            let place = format!("{place}/{}", column.name);
            check_column(&column.name).map_err(|reason| Wrong::at(&place, reason))?;
            if !names.insert(column.name.to_ascii_lowercase()) {
                return Err(Wrong::at(&place, "BigQuery ignores case in column names, so this name is already taken"));
            }
        }
        Ok(Target::Table { table, columns })
    }

    fn dataset(&self) -> Result<Target, Wrong> {
        for (member, is_set) in [("table", self.table.is_some()), ("columns", self.columns.is_some())] {
            if is_set {
                let reason = "mode `changes` does not use this member, because changes name their tables and columns";
                return Err(Wrong::at(&format!("bigquery/{member}"), reason));
            }
        }
        let dataset = self
            .dataset
            .as_deref()
            .ok_or_else(|| Wrong::at("bigquery/dataset", "mode `changes` needs the dataset that it may write to"))?;
        let (project, dataset) = match dataset.split_once('.') {
            Some((project, dataset)) => (Some(project), dataset),
            None => (None, dataset),
        };
        let wrong = |reason| Wrong::at("bigquery/dataset", reason);
        project.map_or(Ok(()), check_project).and_then(|()| check_dataset(dataset)).map_err(wrong)?;
        Ok(Target::Dataset { project: project.map(str::to_owned), dataset: dataset.to_owned() })
    }
}

fn read_table(table: Option<&str>) -> Result<BigQueryTable, Wrong> {
    let wrong = |reason| Wrong::at("bigquery/table", reason);
    let table = table.ok_or_else(|| wrong("the table is missing"))?;
    let (project, dataset, name) = match table.split('.').collect::<Vec<_>>()[..] {
        [dataset, name] => (None, dataset, name),
        [project, dataset, name] => (Some(project), dataset, name),
        _ => return Err(wrong("should be written as dataset.table or project.dataset.table")),
    };
    let checked = project.map_or(Ok(()), check_project).and_then(|()| check_dataset(dataset));
    checked.and_then(|()| check_table(name)).map_err(wrong)?;
    Ok(BigQueryTable { project: project.map(str::to_owned), dataset: dataset.to_owned(), name: name.to_owned() })
}

/// Checks that the table has a column for each part of the key. BigQuery needs the key to find the row to replace.
fn has_key(target: &Target, key: &[Pointer]) -> Result<(), Wrong> {
    let Target::Table { columns, .. } = target else { return Ok(()) };
    let is_written = |pointer: &&Pointer| columns.iter().any(|column| column.column.from.pointer() == Some(*pointer));
    match key.iter().find(|pointer| !is_written(pointer)) {
        Some(missing) => {
            let reason = format!("no column is written from {:?}, which is part of the key", missing.as_str());
            Err(Wrong::at("bigquery/columns", reason))
        }
        None => Ok(()),
    }
}

impl BigQueryColumnDefinition {
    fn read(&self, name: &str, schema: &Value) -> Result<BigQueryColumn, Wrong> {
        let Self { from, meta, ty } = self;
        let column = ColumnDefinition { from: from.clone(), meta: *meta, ty: ty.read_as };
        Ok(BigQueryColumn { column: column.read("bigquery/columns", name, schema)?, ty: ty.ty })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::super::Contract;
    use super::*;

    fn contract(mode: &str, bigquery: &Value) -> Result<Contract, String> {
        let mut contract = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"id": {"type": "integer"}, "total": {"type": "number"}},
            "x-sluice": {
                "topic": "orders", "partitions": 1, "key": ["/id"], "mode": mode, "table": "public.orders",
                "columns": {"id": {"from": "/id", "type": "integer"}, "total": {"from": "/total", "type": "numeric"}},
                "bigquery": bigquery
            }
        });
        if mode == "changes" {
            let block = contract["x-sluice"].as_object_mut().unwrap();
            block.retain(|name, _| name != "table" && name != "columns");
            block.insert("schema".to_owned(), json!("landing"));
            block.insert("tables".to_owned(), json!(["*"]));
        }
        let text = contract.to_string();
        Contract::compile(Path::new("order.json"), text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_columns_are_those_of_postgresql_unless_the_contract_lists_others() {
        let target = |bigquery: &Value| contract("append", bigquery).unwrap().bigquery.unwrap().target;
        let shown = |target: Target| match target {
            Target::Table { table, columns } => {
                let columns: Vec<String> =
                    columns.iter().map(|column| format!("{} {}", column.column.name, column.ty.name())).collect();
                format!("{table}: {}", columns.join(", "))
            }
            Target::Dataset { .. } => String::new(),
        };
        assert_eq!(shown(target(&json!({"table": "shop.orders"}))), "shop.orders: id INT64, total NUMERIC");
        let own = json!({
            "table": "my-project.shop.orders",
            "columns": {
                "at": {"meta": "timestamp", "type": "timestamptz"},
                "total": {"from": "/total", "type": "bignumeric"}
            }
        });
        assert_eq!(shown(target(&own)), "my-project.shop.orders: at TIMESTAMP, total BIGNUMERIC");
    }

    #[test]
    fn changes_land_in_a_dataset() {
        let bigquery = contract("changes", &json!({"dataset": "my-project.landing", "evolve": true})).unwrap().bigquery;
        let Some(BigQuery { target: Target::Dataset { project, dataset }, evolve: true }) = bigquery else {
            panic!("{bigquery:?}")
        };
        assert_eq!((project.as_deref(), dataset.as_str()), (Some("my-project"), "landing"));
    }

    #[test]
    fn a_wrong_member_is_refused_with_pointer_and_reason() {
        let column = |column: Value| json!({"table": "shop.orders", "columns": {"total": column}});
        for (mode, bigquery, expected) in [
            ("append", json!({}), "/x-sluice/bigquery/table: the table is missing"),
            ("append", json!({"table": "orders"}), "/x-sluice/bigquery/table: should be written as dataset.table"),
            ("append", json!({"table": "a.b.c.d"}), "/x-sluice/bigquery/table: should be written as dataset.table"),
            ("append", json!({"table": "shop.or ders"}), "/x-sluice/bigquery/table: a table's name has"),
            ("append", json!({"table": "sh-op.orders"}), "/x-sluice/bigquery/table: a dataset's name has"),
            ("append", json!({"table": "p.shop.orders"}), "/x-sluice/bigquery/table: a project's id has"),
            ("append", json!({"tabel": "shop.orders"}), "/x-sluice/bigquery/tabel: unknown field"),
            (
                "append",
                json!({"table": "shop.orders", "dataset": "shop"}),
                "/x-sluice/bigquery/dataset: only mode `changes`",
            ),
            (
                "append",
                json!({"table": "shop.orders", "columns": {}}),
                "/x-sluice/bigquery/columns: should have at least",
            ),
            (
                "append",
                column(json!({"from": "/total", "type": "decimal"})),
                "/x-sluice/bigquery/columns/total/type: unknown variant `decimal`",
            ),
            (
                "append",
                column(json!({"from": "/total", "type": "text"})),
                "/x-sluice/bigquery/columns/total: column total: text needs a string",
            ),
            (
                "append",
                column(json!({"from": "/totals", "type": "numeric"})),
                "/x-sluice/bigquery/columns/total/from: the schema has no property",
            ),
            (
                "append",
                json!({"table": "shop.orders", "columns": {"_change_type": {"from": "/id", "type": "bigint"}}}),
                "/x-sluice/bigquery/columns/_change_type: BigQuery reserves",
            ),
            (
                "append",
                json!({"table": "shop.orders", "columns": {
                    "id": {"from": "/id", "type": "bigint"}, "ID": {"from": "/id", "type": "bigint"}
                }}),
                "/x-sluice/bigquery/columns/id: BigQuery ignores case",
            ),
            (
                "upsert",
                column(json!({"from": "/total", "type": "numeric"})),
                "/x-sluice/bigquery/columns: no column is written from \"/id\", which is part of the key",
            ),
            ("entity", json!({"table": "shop.orders"}), "/x-sluice/bigquery: mode `entity` reads the existing rows"),
            ("changes", json!({}), "/x-sluice/bigquery/dataset: mode `changes` needs the dataset"),
            (
                "changes",
                json!({"dataset": "shop", "table": "a.b"}),
                "/x-sluice/bigquery/table: mode `changes` does not use",
            ),
            ("changes", json!({"dataset": "a-b"}), "/x-sluice/bigquery/dataset: a dataset's name has"),
        ] {
            let refusal = contract(mode, &bigquery).map_or_else(|refusal| refusal, |_| "accepted".to_owned());
            assert!(refusal.starts_with(&format!("order.json: {expected}")), "{bigquery}: {refusal}");
        }
    }
}
