//! From a checked batch to receipts: one send, and what the broker says to each event.

use std::time::Instant;

use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use shared::contract::Contract;
use shared::http::lambda;
use shared::identity::Caller;
use shared::kafka::{Acknowledged, Outgoing, SEND_TIMEOUT, SendError};
use shared::metrics::Counter;

use crate::Ingest;
use crate::body::Posted;
use crate::check::{Checked, EventError, Rules, Verdict, check};
use crate::entities::Operation;
use crate::error::Error;
use crate::idempotency::IdempotencyKey;
use crate::prefer::Prefer;
use crate::receipts::Receipt;
use crate::wait::{Settled, wait};
use shared::http::answer::json;

/// How a caller wants its events to be taken.
#[derive(Debug)]
pub(crate) struct Demand<'c> {
    user: &'c str,
    arrived: Instant,
    deadline: Option<Instant>,
    prefer: Prefer,
    pub(crate) idempotency_key: Option<IdempotencyKey>,
}

impl<'c> Demand<'c> {
    /// What the request says of it. The caller may post to the stream.
    pub(crate) fn of(caller: &'c Caller, contract: &Contract, request: &Parts) -> Result<Self, Error> {
        caller.may_post(&contract.roles)?;
        let (prefer, idempotency_key) = (Prefer::of(&request.headers), IdempotencyKey::of(&request.headers)?);
        let deadline = lambda::deadline(&request.extensions);
        Ok(Self { user: &caller.name, arrived: Instant::now(), deadline, prefer, idempotency_key })
    }
}

/// Accepted events.
#[derive(Debug)]
pub(crate) struct Accepted {
    status: StatusCode,
    prefer: Prefer,
    receipts: Vec<Receipt>,
    errors: Option<Vec<EventError>>,
}

/// Checks the caller's events, sends them, and waits for what becomes of them, if that is asked for.
pub(crate) async fn accept(
    ingest: &Ingest,
    contract: &Contract,
    posted: &Posted,
    operation: Option<Operation>,
    demand: Demand<'_>,
) -> Result<Accepted, Error> {
    let Demand { user, arrived, deadline, prefer, idempotency_key } = demand;
    let is_lenient = prefer.is_lenient();
    let rules = Rules { contract, operation, user, idempotency_key: idempotency_key.as_ref(), is_lenient };
    let count = |counter, n: usize| ingest.metrics.count(counter, Some(&contract.stream), n as u64);
    let verdict = check(posted, rules).inspect_err(|error| count(Counter::Invalid, error.invalid_events()));
    let Verdict { valid, errors } = verdict?;
    count(Counter::Invalid, EventError::events(&errors));
    // A send is not given up once it has begun, as nobody would know then whether it arrives.
    if deadline.is_some_and(|deadline| Instant::now() + SEND_TIMEOUT > deadline) {
        tracing::error!("too little is left of the invocation's time to send anything: see the function's timeout");
        count(Counter::Unacknowledged, valid.len());
        return Err(Error::Unacknowledged { receipts: Vec::new() });
    }
    let errors = is_lenient.then_some(errors);
    let mut receipts = send(ingest, contract, &valid, is_lenient).await?;
    let settled = match prefer.wait {
        Some(duration) => {
            let until = deadline.map_or(arrived + duration, |deadline| deadline.min(arrived + duration));
            wait(ingest, &contract.topic, &mut receipts, until).await
        }
        None => Settled::NotYet,
    };
    match settled {
        Settled::Rejected => Err(Error::Rejected { receipts, errors }),
        Settled::Written => Ok(Accepted { status: StatusCode::OK, prefer, receipts, errors }),
        Settled::NotYet => Ok(Accepted { status: StatusCode::ACCEPTED, prefer, receipts, errors }),
    }
}

/// Sends all events at once. Receipts are in their order, and name an event's index where others were left out.
async fn send(
    ingest: &Ingest,
    contract: &Contract,
    events: &[Checked],
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
        Some(Failure::Unacknowledged) => {
            count(Counter::Unacknowledged, events.len() - receipts.len());
            Err(Error::Unacknowledged { receipts })
        }
        Some(Failure::TooLarge) => Err(Error::RecordTooLarge { receipts }),
    }
}

/// Why a batch, or a part of it, was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The broker did not do its part: it may be tried again.
    Unacknowledged,
    /// The broker takes no record of this size.
    TooLarge,
}

/// What is answered when not all records were acknowledged, if so; the cause goes into the log.
pub(crate) fn first_failure(topic: &str, answers: &[Result<Acknowledged, SendError>]) -> Option<Failure> {
    let failures: Vec<&SendError> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    let is_too_large = |error: &&&SendError| matches!(error, SendError::TooLarge);
    let cause = failures.iter().find(|error| !is_too_large(error)).or(failures.first())?;
    let (failed, sent) = (failures.len(), answers.len());
    match cause {
        SendError::UnknownTopic => {
            tracing::error!(topic, "the topic does not exist: `cargo local topics` creates it");
            Some(Failure::Unacknowledged)
        }
        SendError::Unacknowledged(error) => {
            tracing::warn!(topic, failed, sent, %error, "the broker has not acknowledged");
            Some(Failure::Unacknowledged)
        }
        SendError::Unconnected(error) => {
            tracing::error!(topic, "{error}");
            Some(Failure::Unacknowledged)
        }
        SendError::TooLarge => {
            tracing::error!(topic, failed, sent, "the broker takes smaller records only: see max.message.bytes");
            Some(Failure::TooLarge)
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
