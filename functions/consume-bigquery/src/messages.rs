//! The messages of the Storage Write API, reduced to the fields that Sluice uses.
//!
//! <https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1>
//!
//! Google's own client (`google-cloud-bigquery` 0.19) takes rows only in Arrow's format, but change data capture
//! requires protocol buffers. The messages are therefore written by hand.

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CreateWriteStreamRequest {
    #[prost(string, tag = "1")]
    pub(crate) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) write_stream: Option<WriteStream>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteStream {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(enumeration = "StreamType", tag = "2")]
    pub(crate) r#type: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum StreamType {
    Unspecified = 0,
    Committed = 1,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendRowsRequest {
    #[prost(string, tag = "1")]
    pub(crate) write_stream: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) offset: Option<i64>,
    #[prost(message, optional, tag = "4")]
    pub(crate) proto_rows: Option<ProtoData>,
    #[prost(string, tag = "6")]
    pub(crate) trace_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProtoData {
    #[prost(message, optional, tag = "1")]
    pub(crate) writer_schema: Option<ProtoSchema>,
    #[prost(message, optional, tag = "2")]
    pub(crate) rows: Option<ProtoRows>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProtoSchema {
    #[prost(message, optional, tag = "1")]
    pub(crate) proto_descriptor: Option<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProtoRows {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) serialized_rows: Vec<Bytes>,
}

/// `google.protobuf.DescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Descriptor {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) field: Vec<FieldDescriptor>,
}

/// `google.protobuf.FieldDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldDescriptor {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    pub(crate) number: Option<i32>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) label: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) r#type: Option<i32>,
}

impl FieldDescriptor {
    /// `LABEL_OPTIONAL`.
    pub(crate) const OPTIONAL: i32 = 1;
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendRowsResponse {
    #[prost(oneof = "Answer", tags = "1, 2")]
    pub(crate) answer: Option<Answer>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) row_errors: Vec<RowError>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Answer {
    #[prost(message, tag = "1")]
    Result(AppendResult),
    #[prost(message, tag = "2")]
    Error(RpcStatus),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendResult {
    #[prost(message, optional, tag = "1")]
    pub(crate) offset: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RowError {
    #[prost(int64, tag = "1")]
    pub(crate) index: i64,
    #[prost(string, tag = "3")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FinalizeWriteStreamRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct FinalizeWriteStreamResponse {
    #[prost(int64, tag = "1")]
    pub(crate) row_count: i64,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// The reason why a request failed. It is one of the details of the request's status.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StorageError {
    #[prost(enumeration = "StorageErrorCode", tag = "1")]
    pub(crate) code: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum StorageErrorCode {
    Unspecified = 0,
    TableNotFound = 1,
    StreamAlreadyCommitted = 2,
    StreamNotFound = 3,
    InvalidStreamType = 4,
    InvalidStreamState = 5,
    StreamFinalized = 6,
    SchemaMismatchExtraFields = 7,
    OffsetAlreadyExists = 8,
    OffsetOutOfRange = 9,
    CmekNotProvided = 10,
    InvalidCmekProvided = 11,
    CmekEncryptionError = 12,
    KmsServiceError = 13,
    KmsPermissionDenied = 14,
}

impl StorageError {
    /// The `type_url` that identifies a [`StorageError`] among the details of a status.
    pub(crate) const TYPE_URL: &str = "type.googleapis.com/google.cloud.bigquery.storage.v1.StorageError";
}
