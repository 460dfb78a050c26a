//! Reads the row of an event from its landing table.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use shared::contract::{Contract, Landing, Meta, Mode, Source, Unsent, json, quoted};
use shared::database::error_class::{ErrorClass, classify, describe};
use shared::kafka::reader::LogRecord;
use shared::record::replay::Replay;
use sqlx::PgPool;

/// Reads rows of one stream. Each row is read only once, even if several events refer to it.
pub(super) struct Rows<'a> {
    pool: &'a PgPool,
    contract: &'a Contract,
    known: HashMap<Vec<(usize, String)>, Option<Box<RawValue>>>,
}

impl<'a> Rows<'a> {
    /// Reads rows of this contract's table.
    pub(super) fn new(pool: &'a PgPool, contract: &'a Contract) -> Self {
        Self { pool, contract, known: HashMap::new() }
    }

    /// Returns the current row that a record's event refers to. Returns `None` if the row does not exist, or if the
    /// contract does not say how to identify it.
    ///
    /// # Errors
    /// The database does not answer. Any other failure to read the table is only logged, and the result is `None`.
    pub(super) async fn find(
        &mut self,
        partition: i32,
        record: &LogRecord,
    ) -> Result<Option<Box<RawValue>>, sqlx::Error> {
        let Some((landing, identity)) = identity(self.contract, partition, record) else { return Ok(None) };
        if let Some(row) = self.known.get(&identity) {
            return Ok(row.clone());
        }
        let row = match select(self.pool, landing, &identity).await {
            Ok(row) => row,
            Err(error) if classify(&error) == ErrorClass::Environment => return Err(error),
            Err(error) => {
                tracing::warn!(cause = %describe(&error), stream = self.contract.stream, "an event's row cannot be read");
                None
            }
        };
        self.known.insert(identity, row.clone());
        Ok(row)
    }
}

/// Returns the columns that identify the row, with their values as text.
fn identity<'c>(
    contract: &'c Contract,
    partition: i32,
    record: &LogRecord,
) -> Option<(&'c Landing, Vec<(usize, String)>)> {
    match &contract.mode {
        Mode::Append { landing, dedupe: Some(column) } => of_event(contract, landing, &[*column], record),
        Mode::Append { landing, dedupe: None } => Some((landing, of_record(contract, landing, partition, record)?)),
        Mode::Upsert { landing, key, .. } => of_event(contract, landing, key, record),
        Mode::Entity(entity) => of_event(contract, &entity.landing, &entity.key, record),
        Mode::Changes(_) => None,
    }
}

fn of_event<'c>(
    contract: &Contract,
    landing: &'c Landing,
    columns: &[usize],
    record: &LogRecord,
) -> Option<(&'c Landing, Vec<(usize, String)>)> {
    let (payload, mut row) = (record.value.as_deref()?, Vec::new());
    let event = json::parse(payload).ok()?;
    contract.check(payload, &event, None, &mut row).ok()?;
    let shown = landing.show(&row, &Unsent { topic: &contract.topic, user: "", traceparent: None });
    let text = |&column: &usize| match shown.get(&landing.columns[column].name)? {
        Value::String(text) => Some((column, text.clone())),
        Value::Null => None,
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some((column, other.to_string()))
        }
    };
    Some((landing, columns.iter().map(text).collect::<Option<_>>()?))
}

/// Returns the columns that hold a record's partition and offset, with their values. Returns `None` if the contract
/// lacks one of the two columns. The row of a replayed event holds the partition and offset of the event's first
/// record.
fn of_record(
    contract: &Contract,
    landing: &Landing,
    partition: i32,
    record: &LogRecord,
) -> Option<Vec<(usize, String)>> {
    let header = |name: &str| record.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
    let first = Replay::from_headers(&contract.topic, header).and_then(|replay| replay.first);
    let (partition, offset) = first.map_or((partition, record.offset), |first| (first.partition, first.offset));
    let column = |meta| landing.columns.iter().position(|column| column.from == Source::Meta(meta));
    Some(vec![(column(Meta::Partition)?, partition.to_string()), (column(Meta::Offset)?, offset.to_string())])
}

async fn select(
    pool: &PgPool,
    landing: &Landing,
    identity: &[(usize, String)],
) -> Result<Option<Box<RawValue>>, sqlx::Error> {
    let matches = |(number, (column, _)): (usize, &(usize, String))| {
        let column = &landing.columns[*column];
        format!("t.{} = ${}::text::{}", quoted(&column.name), number + 1, column.ty.sql())
    };
    let matches: Vec<String> = identity.iter().enumerate().map(matches).collect();
    let select = format!(
        "select row_to_json(t)::text from {} t where {} limit 1",
        landing.table.quoted(),
        matches.join(" and ")
    );
    let query = identity.iter().fold(sqlx::query_scalar(&select), |query, (_, value)| query.bind(value));
    let row: Option<String> = query.fetch_optional(pool).await?;
    row.map(|text| RawValue::from_string(text).map_err(|error| sqlx::Error::Decode(error.into()))).transpose()
}
