//! What the landing asks of BigQuery.

use std::fmt;

use futures::future::BoxFuture;
use shared::contract::{BigQueryColumn, BigQueryTable};

/// BigQuery's tables, as the Storage Write API shows them. All write streams are of the type COMMITTED.
pub trait Tables: fmt::Debug + Send + Sync {
    /// Creates a write stream and returns its full name.
    fn create_stream<'a>(&'a self, table: &'a BigQueryTable) -> BoxFuture<'a, Result<String, TablesError>>;

    /// Returns whether a stream writes to this table.
    fn is_stream_of(&self, stream: &str, table: &BigQueryTable) -> bool;

    /// Appends rows, all of them or none.
    fn append<'a>(&'a self, append: Append<'a>) -> BoxFuture<'a, Result<(), TablesError>>;

    /// Finalises a stream, so that it refuses further appends. Returns the number of its rows.
    fn finalize<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<i64, TablesError>>;

    /// Returns the Kafka offsets of rows that a table has, in any order.
    fn written_offsets<'a>(&'a self, query: WrittenQuery<'a>) -> BoxFuture<'a, Result<Vec<i64>, TablesError>>;
}

/// Rows to append.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The stream's full name.
    pub stream: &'a str,
    /// The offset in the stream at which the first row must come.
    pub offset: i64,
    /// The columns, in the order of the rows' fields.
    pub columns: &'a [BigQueryColumn],
    /// The rows, each encoded as a protocol buffer.
    pub rows: Vec<&'a [u8]>,
}

/// Asks for the Kafka offsets of a partition's rows.
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
    /// Its index among the rows of the append.
    pub index: usize,
    /// Why, without a value of the row.
    pub reason: String,
}

/// Why BigQuery did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// The stream does not exist, or no longer.
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
    /// BigQuery did not answer, or has a passing problem. An append may have happened or may still happen.
    #[error("BigQuery could not be reached: {0}")]
    Failed(String),
}

/// Why a batch did not land in BigQuery.
#[derive(Debug, thiserror::Error)]
pub enum BigqueryError {
    /// BigQuery did not do what it was asked.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// BigQuery and the ledger disagree about what was written, and nothing can decide it. An operator must look.
    #[error(
        "{topic}-{partition} may or may not have landed in BigQuery from offset {from} on: {detail}. Compare table {table} \
         with the topic, delete rows from that offset on, then delete the partition's row in sluice.bigquery_streams; a \
         table with columns for {{\"meta\": \"partition\"}} and {{\"meta\": \"offset\"}} is compared by itself"
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
        /// What disagrees.
        detail: String,
    },
}

impl BigqueryError {
    /// Returns whether the error may go away by itself.
    pub fn passes(&self) -> bool {
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
