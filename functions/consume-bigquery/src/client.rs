//! Sends requests to BigQuery.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consume::bigquery::{Append, Tables, TablesError, WrittenQuery};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream;
use shared::contract::{BigQueryColumn, BigQueryTable, Contract, Mode, Registry};
use shared::process::settings::SettingsError;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use crate::credentials::{Authentication, NoCredentials};
use crate::error::{appended, for_grpc};
use crate::messages::{
    AppendRowsRequest, AppendRowsResponse, CreateWriteStreamRequest, Descriptor, FieldDescriptor,
    FinalizeWriteStreamRequest, FinalizeWriteStreamResponse, ProtoData, ProtoRows, ProtoSchema, StreamType,
    WriteStream,
};
use crate::settings::BigquerySettings;
use crate::written::Rest;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const CREATE: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/CreateWriteStream";
const APPEND: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows";
const FINALIZE: &str = "/google.cloud.bigquery.storage.v1.BigQueryWrite/FinalizeWriteStream";

/// Why the function does not start.
#[derive(Debug, thiserror::Error)]
pub enum BigqueryStartError {
    /// A variable is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There are no credentials.
    #[error(transparent)]
    Credentials(#[from] NoCredentials),
    /// The address is malformed.
    #[error("BIGQUERY_ENDPOINT: {0}")]
    Address(#[from] tonic::transport::Error),
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be created: {0}")]
    Http(#[from] reqwest::Error),
    /// A contract has a mode or an option that this function does not support yet.
    #[error("stream {stream}: so far, x-sluice.bigquery is supported only in mode append, and without evolve")]
    Unsupported {
        /// The stream.
        stream: String,
    },
}

/// Returns an error if a contract has a mode or an option that this function does not support yet.
///
/// # Errors
/// A contract is not supported. The error names the contract's stream.
pub fn refuse_unsupported(registry: &Registry) -> Result<(), BigqueryStartError> {
    let is_unsupported = |contract: &&Arc<Contract>| {
        let bigquery = contract.bigquery.as_ref();
        bigquery.is_some_and(|bigquery| bigquery.evolve || !matches!(contract.mode, Mode::Append { .. }))
    };
    match registry.contracts().find(is_unsupported) {
        Some(contract) => Err(BigqueryStartError::Unsupported { stream: contract.stream.clone() }),
        None => Ok(()),
    }
}

/// A BigQuery client.
#[derive(Debug)]
pub struct Bigquery {
    project: String,
    channel: Channel,
    authentication: Authentication,
    rest: Rest,
}

impl Bigquery {
    /// Creates a client, which connects at its first request.
    ///
    /// # Errors
    /// The credentials are missing or wrong, an address is malformed, or the HTTP client cannot be created.
    pub async fn connect(settings: &BigquerySettings) -> Result<Self, BigqueryStartError> {
        let BigquerySettings { project, emulator, credentials } = settings;
        let endpoint = match emulator {
            Some(emulator) => Endpoint::from_shared(format!("http://{}", emulator.grpc))?,
            None => Endpoint::from_static("https://bigquerystorage.googleapis.com")
                .tls_config(ClientTlsConfig::new().with_webpki_roots())?,
        };
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).connect_lazy();
        let authentication = Authentication::read(credentials, emulator.is_some()).await?;
        let base = emulator
            .as_ref()
            .map_or("https://bigquery.googleapis.com".to_owned(), |emulator| format!("http://{}", emulator.rest));
        let rest = Rest::new(base, project.clone(), TIMEOUT)?;
        Ok(Self { project: project.clone(), channel, authentication, rest })
    }

    /// Returns a table's full name.
    fn path(&self, table: &BigQueryTable) -> String {
        let BigQueryTable { project, dataset, name } = table;
        let project = project.as_deref().unwrap_or(&self.project);
        format!("projects/{project}/datasets/{dataset}/tables/{name}")
    }

    /// Returns an authenticated request. `routing` is the name and the value of the parameter by which Google routes
    /// the request.
    async fn request<T>(&self, routing: (&str, &str), message: T) -> Result<Request<T>, TablesError> {
        let headers = self.authentication.headers().await;
        let headers = headers.map_err(|error| {
            let problem = format!("no access token: {error}");
            if error.is_transient() { TablesError::Failed(problem) } else { TablesError::Refused(problem) }
        })?;
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        let (name, value) = routing;
        if let Ok(value) = MetadataValue::try_from(format!("{name}={}", value.replace('/', "%2F"))) {
            request.metadata_mut().insert("x-goog-request-params", value);
        }
        Ok(request)
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, TablesError> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| TablesError::Failed(with_sources(&error)))?;
        Ok(grpc)
    }

    async fn create(&self, table: &BigQueryTable) -> Result<String, TablesError> {
        let parent = self.path(table);
        let write_stream = Some(WriteStream { name: String::new(), r#type: StreamType::Committed.into() });
        let message = CreateWriteStreamRequest { parent: parent.clone(), write_stream };
        let request = self.request(("parent", &parent), message).await?;
        let codec = ProstCodec::<CreateWriteStreamRequest, WriteStream>::default();
        let created = self.grpc().await?.unary(request, PathAndQuery::from_static(CREATE), codec).await;
        Ok(created.map_err(|status| for_grpc(&status))?.into_inner().name)
    }

    async fn append_rows(&self, append: Append<'_>) -> Result<(), TablesError> {
        let Append { stream, offset, columns, rows } = append;
        let serialized_rows = rows.into_iter().map(Bytes::copy_from_slice).collect();
        let message = AppendRowsRequest {
            write_stream: stream.to_owned(),
            offset: Some(offset),
            proto_rows: Some(ProtoData {
                writer_schema: Some(ProtoSchema { proto_descriptor: Some(descriptor(columns)) }),
                rows: Some(ProtoRows { serialized_rows }),
            }),
            trace_id: "sluice".to_owned(),
        };
        let request = self.request(("write_stream", stream), stream::iter([message])).await?;
        let codec = ProstCodec::<AppendRowsRequest, AppendRowsResponse>::default();
        let answers = self.grpc().await?.streaming(request, PathAndQuery::from_static(APPEND), codec).await;
        let answer = answers.map_err(|status| for_grpc(&status))?.into_inner().message().await;
        let answer = answer.map_err(|status| for_grpc(&status))?;
        appended(answer.ok_or_else(|| TablesError::Failed("the connection ended without an answer".to_owned()))?)
    }

    async fn finalize_stream(&self, stream: &str) -> Result<i64, TablesError> {
        let message = FinalizeWriteStreamRequest { name: stream.to_owned() };
        let request = self.request(("name", stream), message).await?;
        let codec = ProstCodec::<FinalizeWriteStreamRequest, FinalizeWriteStreamResponse>::default();
        let finalized = self.grpc().await?.unary(request, PathAndQuery::from_static(FINALIZE), codec).await;
        Ok(finalized.map_err(|status| for_grpc(&status))?.into_inner().row_count)
    }
}

impl Tables for Bigquery {
    fn create_stream<'a>(&'a self, table: &'a BigQueryTable) -> BoxFuture<'a, Result<String, TablesError>> {
        self.create(table).boxed()
    }

    fn is_stream_of(&self, stream: &str, table: &BigQueryTable) -> bool {
        stream.strip_prefix(&self.path(table)).is_some_and(|rest| rest.starts_with("/streams/"))
    }

    fn append<'a>(&'a self, append: Append<'a>) -> BoxFuture<'a, Result<(), TablesError>> {
        self.append_rows(append).boxed()
    }

    fn finalize<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<i64, TablesError>> {
        self.finalize_stream(stream).boxed()
    }

    fn written_offsets<'a>(&'a self, query: WrittenQuery<'a>) -> BoxFuture<'a, Result<Vec<i64>, TablesError>> {
        self.rest.written_offsets(&self.authentication, query).boxed()
    }
}

/// Returns the protocol buffer descriptor of the rows. The fields are numbered from 1, in the order of the columns.
fn descriptor(columns: &[BigQueryColumn]) -> Descriptor {
    let field = |(column, number): (&BigQueryColumn, i32)| FieldDescriptor {
        name: Some(column.column.name.clone()),
        number: Some(number),
        label: Some(FieldDescriptor::OPTIONAL),
        r#type: Some(column.ty.proto_type() as i32),
    };
    Descriptor { name: Some("Row".to_owned()), field: columns.iter().zip(1..).map(field).collect() }
}

/// Returns the texts of an error and of its sources. The text of tonic's error itself is only "transport error".
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |source| source.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

#[cfg(test)]
mod tests;
