//! Accepts events: calls `check`, sends the events to Kafka, and answers with their receipts.

use std::time::Instant;

use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::contract::Contract;
use shared::http::answer::json;
use shared::http::edge::note_stream;
use shared::http::{lambda, trace_context};
use shared::identity::Caller;
use shared::kafka::{Acknowledged, Outgoing, SEND_TIMEOUT, SendError};
use shared::metrics::Counter;

use crate::Ingest;
use crate::body::PostedEvents;
use crate::check::{CheckedBatch, Rules, ValidEvent, check};
use crate::entities::Operation;
use crate::error::Error;
use crate::event_error::EventError;
use crate::idempotency::IdempotencyKey;
use crate::prefer::Prefer;
use crate::receipt::Receipt;
use crate::wait::{BatchStatus, wait};

/// The sender of the events, the request's deadline, and what the request's headers ask for.
#[derive(Debug)]
pub(crate) struct AcceptOptions<'c> {
    user: &'c str,
    arrived: Instant,
    deadline: Option<Instant>,
    prefer: Prefer,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
    traceparent: Option<&'c str>,
}

impl<'c> AcceptOptions<'c> {
    /// Reads the request's headers and deadline.
    ///
    /// # Errors
    /// The caller may not post to the stream, or `Idempotency-Key` is malformed.
    pub(crate) fn from_request(caller: &'c Caller, contract: &Contract, request: &'c Parts) -> Result<Self, Error> {
        note_stream(&contract.stream);
        caller.may_post(contract)?;
        let (prefer, idempotency_key) =
            (Prefer::from_headers(&request.headers), IdempotencyKey::from_headers(&request.headers)?);
        let deadline = lambda::deadline(&request.extensions);
        let traceparent = trace_context::traceparent(&request.headers);
        Ok(Self { user: &caller.name, arrived: Instant::now(), deadline, prefer, idempotency_key, traceparent })
    }

    /// Returns the rules that the events are checked against.
    pub(crate) fn rules<'o>(&'o self, contract: &'o Contract, operation: Option<Operation>) -> Rules<'o> {
        Rules {
            contract,
            operation,
            user: self.user,
            idempotency_key: self.idempotency_key.as_ref(),
            traceparent: self.traceparent,
            is_lenient: self.prefer.is_lenient(),
        }
    }

    /// Returns the caller's preferences.
    pub(crate) fn into_prefer(self) -> Prefer {
        self.prefer
    }
}

/// The answer to a request whose events were accepted.
#[derive(Debug)]
pub struct Accepted {
    status: StatusCode,
    prefer: Prefer,
    receipts: Vec<Receipt>,
    errors: Option<Vec<EventError>>,
}

/// Checks the caller's events and sends them. If the caller prefers to wait, the answer is delayed until all events
/// have landed, one is rejected or lost, or the time is up.
pub(crate) async fn accept(
    ingest: &Ingest,
    contract: &Contract,
    posted: &PostedEvents,
    operation: Option<Operation>,
    options: AcceptOptions<'_>,
) -> Result<Accepted, Error> {
    let count = |counter, n: usize| ingest.metrics.count(counter, Some(&contract.stream), n as u64);
    let batch = check(posted, options.rules(contract, operation))
        .inspect_err(|error| count(Counter::Invalid, error.invalid_events()));
    let CheckedBatch { valid, errors } = batch?;
    let AcceptOptions { arrived, deadline, prefer, .. } = options;
    let is_lenient = prefer.is_lenient();
    count(Counter::Invalid, EventError::count_events(&errors));
    // Nothing is sent if the time might run out during the send. After an abandoned send, nobody would know whether the
    // events arrived.
    if deadline.is_some_and(|deadline| Instant::now() + SEND_TIMEOUT > deadline) {
        tracing::error!("too little time is left in this invocation to send anything: raise the function's timeout");
        count(Counter::Unacknowledged, valid.len());
        return Err(Error::Unacknowledged { receipts: Vec::new() });
    }
    let errors = is_lenient.then_some(errors);
    let receipts = send(ingest, contract, &valid, is_lenient).await?;
    respond(ingest, &contract.topic, receipts, errors, prefer, (arrived, deadline)).await
}

/// Answers a request whose events were sent. If the caller prefers to wait, looks up their statuses first.
///
/// `times` are the request's arrival time and its deadline.
///
/// # Errors
/// An event was rejected.
pub async fn respond(
    ingest: &Ingest,
    topic: &str,
    mut receipts: Vec<Receipt>,
    errors: Option<Vec<EventError>>,
    prefer: Prefer,
    times: (Instant, Option<Instant>),
) -> Result<Accepted, Error> {
    let (arrived, deadline) = times;
    let status = match prefer.wait {
        Some(duration) => {
            let until = deadline.map_or(arrived + duration, |deadline| deadline.min(arrived + duration));
            // Boxing this future keeps the future of every request small, whether the request waits or not.
            Box::pin(wait(ingest, topic, &mut receipts, until)).await
        }
        None => BatchStatus::Undecided,
    };
    match status {
        BatchStatus::Rejected => Err(Error::Rejected { receipts, errors }),
        BatchStatus::Written => Ok(Accepted { status: StatusCode::OK, prefer, receipts, errors }),
        BatchStatus::Undecided => Ok(Accepted { status: StatusCode::ACCEPTED, prefer, receipts, errors }),
    }
}

/// Sends records, such as those of dead letters, to their stream's topic again. Returns a result for each record, in
/// the same order: the receipt, or the reason why there is none.
pub async fn send_records(
    ingest: &Ingest,
    contract: &Contract,
    records: &[Outgoing<'_>],
) -> Vec<Result<Receipt, Error>> {
    let answers = ingest.producer.send(records).await;
    // `first_failure` is called only because it logs the cause.
    let _failure = first_failure(&contract.topic, &answers);
    let sent = answers.iter().map(|answer| match answer {
        Ok(acknowledged) => Ok(Receipt::new(None, &contract.topic, acknowledged)),
        Err(SendError::TooLarge) => Err(Error::RecordTooLarge { receipts: Vec::new() }),
        Err(SendError::Unacknowledged(_) | SendError::UnknownTopic | SendError::Unconnected(_)) => {
            Err(Error::Unacknowledged { receipts: Vec::new() })
        }
    });
    let sent: Vec<_> = sent.collect();
    let accepted = sent.iter().filter(|sent| sent.is_ok()).count();
    ingest.metrics.count(Counter::Accepted, Some(&contract.stream), accepted as u64);
    sent
}

/// Sends all events at once and returns their receipts in event order. The receipts include the events' indexes if
/// `with_index` is set, or if some events were not acknowledged and so have no receipt.
async fn send(
    ingest: &Ingest,
    contract: &Contract,
    events: &[ValidEvent],
    with_index: bool,
) -> Result<Vec<Receipt>, Error> {
    let records: Vec<Outgoing<'_>> = events
        .iter()
        .map(|event| Outgoing {
            topic: &contract.topic,
            key: event.key.as_deref().map(str::as_bytes),
            value: Some(&event.text),
            headers: &event.headers,
        })
        .collect();
    let answers = ingest.producer.send(&records).await;
    let failure = first_failure(&contract.topic, &answers);
    let receipts = events.iter().zip(&answers).filter_map(|(event, answer)| {
        let index = (with_index || failure.is_some()).then_some(event.index);
        answer.as_ref().ok().map(|acknowledged| Receipt::new(index, &contract.topic, acknowledged))
    });
    let receipts: Vec<Receipt> = receipts.collect();
    let count = |counter, n: usize| ingest.metrics.count(counter, Some(&contract.stream), n as u64);
    count(Counter::Accepted, receipts.len());
    match failure {
        None => Ok(receipts),
        Some(SendFailure::Unacknowledged) => {
            count(Counter::Unacknowledged, events.len() - receipts.len());
            Err(Error::Unacknowledged { receipts })
        }
        Some(SendFailure::TooLarge) => Err(Error::RecordTooLarge { receipts }),
    }
}

/// Why a batch, or a part of it, was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendFailure {
    /// The broker did not acknowledge in time, the topic does not exist, or no client could be created. Retrying may
    /// help.
    Unacknowledged,
    /// A record exceeds the broker's size limit.
    TooLarge,
}

/// Logs and returns why records were not acknowledged, or returns `None` if all were acknowledged. Reports a record
/// that is too large only if nothing else failed, because the other failures can be retried.
fn first_failure(topic: &str, answers: &[Result<Acknowledged, SendError>]) -> Option<SendFailure> {
    let failures: Vec<&SendError> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let is_too_large = |error: &&&SendError| matches!(error, SendError::TooLarge);
    let cause = failures.iter().find(|error| !is_too_large(error)).or(failures.first())?;
    let (failed, sent) = (failures.len(), answers.len());
    match cause {
        SendError::UnknownTopic => {
            tracing::error!(topic, "the topic does not exist: `cargo local topics` creates it");
            Some(SendFailure::Unacknowledged)
        }
        SendError::Unacknowledged(error) => {
            tracing::warn!(topic, failed, sent, %error, "the broker did not acknowledge in time");
            Some(SendFailure::Unacknowledged)
        }
        SendError::Unconnected(error) => {
            tracing::error!(topic, "{error}");
            Some(SendFailure::Unacknowledged)
        }
        SendError::TooLarge => {
            tracing::error!(topic, failed, sent, "records exceed the broker's size limit: raise max.message.bytes");
            Some(SendFailure::TooLarge)
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    accepted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<&'a [Receipt]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [EventError]>,
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let receipts = (!self.prefer.is_minimal()).then_some(self.receipts.as_slice());
        let body = Body { accepted: self.receipts.len(), receipts, errors: self.errors.as_deref() };
        let mut response = json(self.status, &body);
        if let Some(applied) = self.prefer.applied() {
            response.headers_mut().insert("preference-applied", applied);
        }
        if let [receipt] = self.receipts.as_slice()
            && let Ok(location) = HeaderValue::from_str(receipt.href())
        {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }
}
