//! The interface through which the landing reaches BigQuery.

use std::fmt;

use futures::future::BoxFuture;
use shared::contract::{BigQueryColumn, BigQueryTable};

/// Access to BigQuery's tables through the Storage Write API. All write streams have the type COMMITTED.
pub trait Tables: fmt::Debug + Send + Sync {
    /// Creates a write stream and returns its full name.
    fn create_stream<'a>(&'a self, table: &'a BigQueryTable) -> BoxFuture<'a, Result<String, TablesError>>;

    /// Returns whether a stream writes to this table.
    fn is_stream_of(&self, stream: &str, table: &BigQueryTable) -> bool;

    /// Appends rows, all of them or none.
    fn append<'a>(&'a self, append: Append<'a>) -> BoxFuture<'a, Result<(), TablesError>>;

    /// Finalises a stream, so that it refuses further appends. Returns how many rows the stream has.
    fn finalize<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<i64, TablesError>>;

    /// Returns the Kafka offsets of a partition's rows in a table, in any order.
    fn written_offsets<'a>(&'a self, query: WrittenQuery<'a>) -> BoxFuture<'a, Result<Vec<i64>, TablesError>>;
}

/// Rows to append.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The stream's full name.
    pub stream: &'a str,
    /// The offset in the stream that the first row must get.
    pub offset: i64,
    /// The columns, in the order of the rows' fields.
    pub columns: &'a [BigQueryColumn],
    /// The rows, each encoded as a protocol buffer.
    pub rows: Vec<&'a [u8]>,
}

/// A query for the Kafka offsets of a partition's rows.
#[derive(Debug, Clone, Copy)]
pub struct WrittenQuery<'a> {
    /// The table.
    pub table: &'a BigQueryTable,
    /// The column that holds the partition.
    pub partition_column: &'a str,
    /// The column that holds the offset.
    pub offset_column: &'a str,
    /// The partition.
    pub partition: i32,
    /// The lowest offset to return.
    pub from: i64,
}

/// A row that BigQuery refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// The row's index among the rows of the append.
    pub index: usize,
    /// Why BigQuery refuses the row, without any value of the row.
    pub reason: String,
}

/// Why a request to BigQuery failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// The stream does not exist or no longer exists.
    #[error("BigQuery does not know the write stream")]
    UnknownStream,
    /// The stream is finalised. Nothing was appended.
    #[error("the write stream is finalised")]
    Finalized,
    /// The stream already has a row at the append's offset. Nothing was appended.
    #[error("the write stream already has rows at the append's offset")]
    OffsetExists,
    /// The stream ends before the append's offset. Nothing was appended.
    #[error("the write stream ends before the append's offset")]
    OffsetOutOfRange,
    /// Some rows are at fault. Nothing was appended.
    #[error("BigQuery refuses {} rows", .0.len())]
    Rows(Vec<RefusedRow>),
    /// An operator must act: the table is missing or differs from the contract, or a permission is missing. Nothing was
    /// appended.
    #[error("BigQuery refuses the request: {0}")]
    Refused(String),
    /// BigQuery did not answer, or has a temporary problem. An append may have happened, or may still happen.
    #[error("BigQuery could not be reached: {0}")]
    Failed(String),
}

/// Why a batch did not land in BigQuery.
#[derive(Debug, thiserror::Error)]
pub enum BigqueryError {
    /// A request to BigQuery failed.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// BigQuery and the ledger may disagree about what was written, and Sluice cannot decide which of them is right. An
    /// operator must compare the table with the topic.
    #[error(
        "{topic}-{partition} may or may not have landed in BigQuery from offset {from} on: {detail}. Compare table {table} \
         with the topic, delete the partition's rows from that offset on, then delete the partition's row in \
         sluice.bigquery_streams. Sluice can make this comparison itself only if the table has columns for \
         {{\"meta\": \"partition\"}} and {{\"meta\": \"offset\"}}, and only if the partition's offsets have never \
         restarted"
    )]
    Undecided {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The first offset whose row may or may not be in the table.
        from: i64,
        /// The table.
        table: String,
        /// Why Sluice cannot decide.
        detail: String,
    },
}

impl BigqueryError {
    /// Returns whether a retry may succeed without an operator.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Tables(TablesError::Failed(_)) => true,
            Self::Tables(
                TablesError::UnknownStream
                | TablesError::Finalized
                | TablesError::OffsetExists
                | TablesError::OffsetOutOfRange
                | TablesError::Rows(_)
                | TablesError::Refused(_),
            )
            | Self::Undecided { .. } => false,
        }
    }
}
