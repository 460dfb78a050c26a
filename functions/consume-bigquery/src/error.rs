//! Translates BigQuery's errors into [`TablesError`].

use consume::bigquery::{RefusedRow, TablesError};
use prost::Message as _;
use tonic::{Code, Status};

use crate::messages::{Answer, AppendRowsResponse, RpcStatus, StorageError, StorageErrorCode};

/// Reads the answer to an append.
///
/// # Errors
/// The rows were not appended, or it is unknown whether they were appended.
pub(crate) fn appended(response: AppendRowsResponse) -> Result<(), TablesError> {
    let AppendRowsResponse { answer, row_errors } = response;
    if !row_errors.is_empty() {
        let refused = row_errors
            .into_iter()
            .filter_map(|error| Some(RefusedRow { index: usize::try_from(error.index).ok()?, reason: error.message }));
        return Err(TablesError::Rows(refused.collect()));
    }
    match answer {
        Some(Answer::Result(_)) => Ok(()),
        Some(Answer::Error(status)) => Err(for_status(&status)),
        None => Err(TablesError::Failed("the answer to an append is empty".to_owned())),
    }
}

/// Translates a gRPC error.
pub(crate) fn for_grpc(status: &Status) -> TablesError {
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    for_status(&RpcStatus { code: status.code().into(), message: status.message().to_owned(), details })
}

/// Translates a status. If the details contain a specific [`StorageErrorCode`], that code decides, because it is exact.
/// Otherwise, the gRPC code decides.
fn for_status(status: &RpcStatus) -> TablesError {
    let detail = status.details.iter().find(|detail| detail.type_url == StorageError::TYPE_URL);
    let storage = detail.and_then(|detail| StorageError::decode(detail.value.clone()).ok());
    let code = storage.and_then(|storage| StorageErrorCode::try_from(storage.code).ok());
    let message = status.message.clone();
    match code {
        Some(StorageErrorCode::StreamNotFound) => TablesError::UnknownStream,
        Some(StorageErrorCode::StreamFinalized) => TablesError::Finalized,
        Some(StorageErrorCode::OffsetAlreadyExists) => TablesError::OffsetExists,
        Some(StorageErrorCode::OffsetOutOfRange) => TablesError::OffsetOutOfRange,
        Some(StorageErrorCode::KmsServiceError) => TablesError::Failed(message),
        Some(
            StorageErrorCode::TableNotFound
            | StorageErrorCode::StreamAlreadyCommitted
            | StorageErrorCode::InvalidStreamType
            | StorageErrorCode::InvalidStreamState
            | StorageErrorCode::SchemaMismatchExtraFields
            | StorageErrorCode::CmekNotProvided
            | StorageErrorCode::InvalidCmekProvided
            | StorageErrorCode::CmekEncryptionError
            | StorageErrorCode::KmsPermissionDenied,
        ) => TablesError::Refused(message),
        Some(StorageErrorCode::Unspecified) | None => for_code(Code::from_i32(status.code), message),
    }
}

fn for_code(code: Code, message: String) -> TablesError {
    match code {
        Code::AlreadyExists => TablesError::OffsetExists,
        Code::OutOfRange => TablesError::OffsetOutOfRange,
        // `NotFound` can also mean that a table or dataset does not exist.
        Code::NotFound if message.contains("/streams/") => TablesError::UnknownStream,
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::Unauthenticated => TablesError::Refused(message),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => TablesError::Failed(message),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::messages::{Any, AppendResult, RowError};

    fn status(code: Code, message: &str, storage: Option<StorageErrorCode>) -> RpcStatus {
        let detail = |code: StorageErrorCode| Any {
            type_url: StorageError::TYPE_URL.to_owned(),
            value: Bytes::from(StorageError { code: code.into() }.encode_to_vec()),
        };
        RpcStatus { code: code.into(), message: message.to_owned(), details: storage.into_iter().map(detail).collect() }
    }

    #[test]
    fn an_answer_says_whether_rows_were_appended() {
        let answer = |answer| AppendRowsResponse { answer: Some(answer), row_errors: Vec::new() };
        assert_eq!(appended(answer(Answer::Result(AppendResult { offset: Some(4) }))), Ok(()));
        let finalized = status(Code::InvalidArgument, "no", Some(StorageErrorCode::StreamFinalized));
        assert_eq!(appended(answer(Answer::Error(finalized.clone()))), Err(TablesError::Finalized));
        let row_errors = vec![RowError { index: 3, message: "too long".to_owned() }];
        let refused = AppendRowsResponse { answer: Some(Answer::Error(finalized)), row_errors };
        let expected = TablesError::Rows(vec![RefusedRow { index: 3, reason: "too long".to_owned() }]);
        assert_eq!(appended(refused), Err(expected));
    }

    #[test]
    fn the_error_code_in_the_details_takes_precedence_over_the_grpc_code() {
        for (code, storage, message, expected) in [
            (Code::NotFound, Some(StorageErrorCode::StreamNotFound), "gone", TablesError::UnknownStream),
            (Code::NotFound, Some(StorageErrorCode::TableNotFound), "t", TablesError::Refused("t".to_owned())),
            (Code::NotFound, None, "tables/t/streams/s", TablesError::UnknownStream),
            (Code::NotFound, None, "tables/t", TablesError::Refused("tables/t".to_owned())),
            (Code::AlreadyExists, None, "", TablesError::OffsetExists),
            (Code::OutOfRange, None, "", TablesError::OffsetOutOfRange),
            (Code::PermissionDenied, None, "p", TablesError::Refused("p".to_owned())),
            (Code::Unavailable, None, "u", TablesError::Failed("u".to_owned())),
            (
                Code::InvalidArgument,
                Some(StorageErrorCode::SchemaMismatchExtraFields),
                "a",
                TablesError::Refused("a".to_owned()),
            ),
        ] {
            assert_eq!(for_status(&status(code, message, storage)), expected, "{code:?} {message}");
        }
    }
}
