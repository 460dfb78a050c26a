//! Tests the client against a gRPC server that keeps rows in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use serde_json::json;
use shared::contract::{Contract, Metadata, Target};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc as ServerGrpc, NamedService, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Response, Status, Streaming};

use super::*;
use crate::messages::{Answer, Any, AppendResult, RowError, RpcStatus, StorageError, StorageErrorCode};
use crate::settings::{CredentialsSource, Emulator};
use prost::Message as _;

/// For each write stream, its rows and whether it is finalised.
type Streams = BTreeMap<String, (Vec<Bytes>, bool)>;

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Streams>>);

impl Fake {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, request: &AppendRowsRequest) -> Result<(), (Code, StorageErrorCode)> {
        let mut streams = self.streams();
        let stream = streams.get_mut(&request.write_stream);
        let (rows, is_finalized) = stream.ok_or((Code::NotFound, StorageErrorCode::StreamNotFound))?;
        let offset = usize::try_from(request.offset.unwrap_or_default()).unwrap();
        if *is_finalized {
            return Err((Code::InvalidArgument, StorageErrorCode::StreamFinalized));
        }
        if offset != rows.len() {
            return Err(match offset < rows.len() {
                true => (Code::AlreadyExists, StorageErrorCode::OffsetAlreadyExists),
                false => (Code::OutOfRange, StorageErrorCode::OffsetOutOfRange),
            });
        }
        let data = request.proto_rows.clone().unwrap();
        let descriptor = data.writer_schema.unwrap().proto_descriptor.unwrap();
        assert_eq!(descriptor.field[0].name.as_deref(), Some("n"));
        rows.extend(data.rows.unwrap().serialized_rows);
        Ok(())
    }
}

impl NamedService for Fake {
    const NAME: &'static str = "google.cloud.bigquery.storage.v1.BigQueryWrite";
}

impl Service<http::Request<Body>> for Fake {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fake = self.clone();
        async move {
            Ok(match request.uri().path() {
                CREATE => ServerGrpc::new(ProstCodec::default()).unary(Create(fake), request).await,
                APPEND => ServerGrpc::new(ProstCodec::default()).streaming(Appends(fake), request).await,
                FINALIZE => ServerGrpc::new(ProstCodec::default()).unary(Finalize(fake), request).await,
                other => panic!("{other}"),
            })
        }
        .boxed()
    }
}

struct Create(Fake);

impl UnaryService<CreateWriteStreamRequest> for Create {
    type Response = WriteStream;
    type Future = BoxFuture<'static, Result<Response<WriteStream>, Status>>;

    fn call(&mut self, request: Request<CreateWriteStreamRequest>) -> Self::Future {
        assert_eq!(
            request.metadata().get("x-goog-request-params").unwrap(),
            "parent=projects%2Fsluice-local%2Fdatasets%2Flake%2Ftables%2Freadings"
        );
        let request = request.into_inner();
        assert_eq!(request.write_stream.unwrap().r#type, i32::from(StreamType::Committed));
        let mut streams = self.0.streams();
        let name = format!("{}/streams/{}", request.parent, streams.len());
        streams.insert(name.clone(), (Vec::new(), false));
        async move { Ok(Response::new(WriteStream { name, r#type: StreamType::Committed.into() })) }.boxed()
    }
}

struct Finalize(Fake);

impl UnaryService<FinalizeWriteStreamRequest> for Finalize {
    type Response = FinalizeWriteStreamResponse;
    type Future = BoxFuture<'static, Result<Response<FinalizeWriteStreamResponse>, Status>>;

    fn call(&mut self, request: Request<FinalizeWriteStreamRequest>) -> Self::Future {
        let name = request.into_inner().name;
        let mut streams = self.0.streams();
        let answer = streams.get_mut(&name).map(|(rows, is_finalized)| {
            *is_finalized = true;
            FinalizeWriteStreamResponse { row_count: i64::try_from(rows.len()).unwrap() }
        });
        let answer = answer.ok_or_else(|| Status::not_found(format!("Requested entity was not found. Entity: {name}")));
        async move { answer.map(Response::new) }.boxed()
    }
}

struct Appends(Fake);

impl StreamingService<AppendRowsRequest> for Appends {
    type Response = AppendRowsResponse;
    type ResponseStream = BoxStream<'static, Result<AppendRowsResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<AppendRowsRequest>>) -> Self::Future {
        let fake = self.0.clone();
        let answers = request.into_inner().map(move |request| {
            let request = request?;
            let rows = request
                .proto_rows
                .as_ref()
                .and_then(|data| data.rows.as_ref())
                .map_or(0, |rows| rows.serialized_rows.len());
            if rows == 3 {
                let row_errors = vec![RowError { index: 1, message: "no".to_owned() }];
                return Ok(AppendRowsResponse { answer: None, row_errors });
            }
            let answer = match fake.append(&request) {
                Ok(()) => Answer::Result(AppendResult { offset: request.offset }),
                Err((code, storage)) => {
                    let value = Bytes::from(StorageError { code: storage.into() }.encode_to_vec());
                    let details = vec![Any { type_url: StorageError::TYPE_URL.to_owned(), value }];
                    Answer::Error(RpcStatus { code: code.into(), message: "refused".to_owned(), details })
                }
            };
            Ok(AppendRowsResponse { answer: Some(answer), row_errors: Vec::new() })
        });
        async move { Ok(Response::new(answers.boxed())) }.boxed()
    }
}

async fn start(fake: &Fake) -> Bigquery {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::builder().add_service(fake.clone());
    tokio::spawn(async move { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
    let settings = BigquerySettings {
        project: "sluice-local".to_owned(),
        emulator: Some(Emulator { rest: address.clone(), grpc: address }),
        credentials: CredentialsSource::Default,
    };
    Bigquery::connect(&settings).await.unwrap()
}

#[tokio::test]
async fn rows_are_appended_at_their_offset_and_each_kind_of_refusal_has_its_own_error() {
    let fake = Fake::default();
    let bigquery = start(&fake).await;
    let contract = json!({
        "x-sluice": {
            "topic": "readings", "partitions": 1, "mode": "append", "table": "public.readings",
            "columns": {"n": {"from": "/n", "type": "bigint"}}, "bigquery": {"table": "lake.readings"}
        }
    });
    let contract = Contract::compile(Path::new("reading.json"), contract.to_string().as_bytes()).unwrap();
    let Some(Target::Table { table, columns }) = contract.bigquery.as_ref().map(|bigquery| &bigquery.target) else {
        panic!()
    };
    let metadata =
        Metadata { topic: "readings", partition: 0, offset: 0, timestamp_ms: 0, user: None, traceparent: None };
    let mut row = Vec::new();
    contract.check_for_bigquery(b"", &json!({"n": 7}), &metadata, &mut row).unwrap();

    let stream = bigquery.create_stream(table).await.unwrap();
    assert_eq!(stream, "projects/sluice-local/datasets/lake/tables/readings/streams/0");
    assert!(bigquery.is_stream_of(&stream, table));
    let append = |stream, offset, rows| bigquery.append(Append { stream, offset, columns, rows });
    assert_eq!(append(&stream, 0, vec![&row, &row]).await, Ok(()));
    assert_eq!(append(&stream, 2, vec![&row]).await, Ok(()));
    assert_eq!(append(&stream, 2, vec![&row]).await, Err(TablesError::OffsetExists));
    assert_eq!(append(&stream, 9, vec![&row]).await, Err(TablesError::OffsetOutOfRange));
    let refused = append(&stream, 3, vec![&row; 3]).await;
    assert!(matches!(&refused, Err(TablesError::Rows(rows)) if rows[0].index == 1), "{refused:?}");
    assert_eq!(bigquery.finalize(&stream).await, Ok(3));
    assert_eq!(append(&stream, 3, vec![&row]).await, Err(TablesError::Finalized));
    let unknown = "projects/sluice-local/datasets/lake/tables/readings/streams/none";
    assert_eq!(append(unknown, 0, vec![&row]).await, Err(TablesError::UnknownStream));
    assert_eq!(bigquery.finalize(unknown).await, Err(TablesError::UnknownStream));
    assert_eq!(fake.streams()[&stream].0, vec![Bytes::from(row); 3]);
}

#[tokio::test]
async fn if_the_server_cannot_be_reached_the_outcome_is_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let settings = BigquerySettings {
        project: "sluice-local".to_owned(),
        emulator: Some(Emulator { rest: address.clone(), grpc: address }),
        credentials: CredentialsSource::Default,
    };
    let bigquery = Bigquery::connect(&settings).await.unwrap();
    let failed = bigquery.finalize("projects/p/datasets/d/tables/t/streams/s").await;
    assert!(matches!(failed, Err(TablesError::Failed(_))), "{failed:?}");
}
