//! Records why partitions cannot land. For each such partition, one sentence says why it is stalled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::contract::{Contract, Mode, Registry};
use shared::database::error_class::{function, is_from_built_statement, is_raised};
use shared::drift::{self, Difference};
use shared::ledger::Destination;
use shared::ledger::stalls::{self, Failure, Fault, FoundBy};
use sqlx::postgres::PgDatabaseError;
use tokio::time::timeout;

use crate::batch::Batch;
use crate::connection::{Connections, in_time};
use crate::error::{STOP, failed};
use crate::{ConsumeError, WriteError};

/// The time limit for recording a failure if the invocation has time left.
const RECORD_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for recording a failure once the deadline has passed. This is part of the time that an invocation
/// reserves for its answer.
const LAST_RECORD_TIMEOUT: Duration = Duration::from_millis(500);

/// Where a failure is recorded, and what the search for its cause needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stalls<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) registry: &'a Registry,
    pub(crate) destination: Destination,
    /// The end of the invocation's budget. After this, only the time that is reserved for the answer is left.
    pub(crate) deadline: Instant,
}

/// A change to what is recorded about partitions.
#[derive(Debug, Clone, Copy)]
enum Change<'c> {
    Record(&'c Failure, FoundBy),
    /// Deletes what comparisons have recorded.
    ClearCompared,
    /// Deletes everything that is recorded.
    Clear,
}

impl Stalls<'_> {
    /// Records why partitions could not land. A failure that cannot be recorded is only logged: usually the database is
    /// unreachable, which `/health` reports anyway.
    pub(crate) async fn record(&self, partitions: &[(&str, i32)], error: &ConsumeError, found_by: FoundBy) {
        let (now, patience) = (Instant::now(), self.patience());
        // Finding a precise reason may take half of the time; the rest is for recording that there is a failure at all.
        let (connections, until) = (self.connections, now + patience / 2);
        let search = Search { connections, registry: self.registry, until, found_by };
        if let Some(failure) = failure(&search, partitions, error).await {
            self.change(now + patience, partitions, Change::Record(&failure, found_by)).await;
        }
    }

    /// Records these partitions as stalled: their next events cannot land, because the stream's table differs from the
    /// stream's contract.
    pub(crate) async fn record_drift(&self, partitions: &[(&str, i32)], differences: &[Difference]) {
        let failure = Failure {
            reason: format!("New events cannot land: {}.", list(differences)),
            error_type: STOP,
            sqlstate: None,
            fault: Fault::Operator,
        };
        let change = Change::Record(&failure, FoundBy::Comparison);
        self.change(Instant::now() + self.patience(), partitions, change).await;
    }

    /// Deletes what earlier comparisons have recorded about partitions.
    pub(crate) async fn clear_compared(&self, partitions: &[(&str, i32)]) {
        self.change(Instant::now() + self.patience(), partitions, Change::ClearCompared).await;
    }

    /// Deletes everything that is recorded about partitions.
    pub(crate) async fn clear(&self, partitions: &[(&str, i32)]) {
        self.change(Instant::now() + LAST_RECORD_TIMEOUT, partitions, Change::Clear).await;
    }

    /// Runs `recording`, which records several findings, and stops it when the invocation's time is up. If a finding
    /// was not recorded by then, a later comparison makes the same finding again.
    pub(crate) async fn within_the_invocation(&self, recording: impl Future<Output = ()>) {
        let left = self.deadline.saturating_duration_since(Instant::now()) + LAST_RECORD_TIMEOUT;
        if timeout(left, recording).await.is_err() {
            tracing::warn!("sluice.stalls is not up to date: the database is slow");
        }
    }

    async fn change(&self, until: Instant, partitions: &[(&str, i32)], change: Change<'_>) {
        let changing = async {
            let mut connection = self.connections.take(until).await?;
            let changed = match change {
                Change::Record(failure, found_by) => {
                    stalls::record(connection.get(), self.destination, partitions, failure, found_by).await
                }
                Change::ClearCompared => stalls::clear_compared(connection.get(), self.destination, partitions).await,
                Change::Clear => stalls::clear(connection.get(), self.destination, partitions).await,
            };
            self.connections.finish(connection, &changed).await;
            changed.map_err(|error| failed(error.into()))
        };
        if let Err(error) = in_time(until, changing).await {
            tracing::warn!(cause = error.cause(), "sluice.stalls is not up to date");
        }
    }

    fn patience(&self) -> Duration {
        RECORD_TIMEOUT.min(self.deadline.saturating_duration_since(Instant::now()) + LAST_RECORD_TIMEOUT)
    }
}

/// Lists the partitions of a batch.
pub(crate) fn partitions(batch: &Batch) -> Vec<(&str, i32)> {
    let partitions: BTreeSet<(&str, i32)> =
        batch.records.iter().map(|record| (record.topic.as_str(), record.partition)).collect();
    partitions.into_iter().collect()
}

/// What the search for a cause needs.
struct Search<'a> {
    connections: &'a Connections,
    registry: &'a Registry,
    /// The time until which contracts may be compared with the catalogue.
    until: Instant,
    found_by: FoundBy,
}

impl Search<'_> {
    /// Names the records that could not land, and those that could not be read.
    fn records(&self) -> (&'static str, &'static str) {
        match self.found_by {
            FoundBy::Batch => ("the batch", "records before the batch"),
            FoundBy::Comparison => {
                const COMMITTED: &str =
                    "records that no batch will deliver again, because they are below the group's committed offset,";
                (COMMITTED, COMMITTED)
            }
        }
    }
}

/// Describes a failure. Returns `None` if nothing should be recorded.
async fn failure(search: &Search<'_>, partitions: &[(&str, i32)], error: &ConsumeError) -> Option<Failure> {
    let topics: BTreeSet<&str> = partitions.iter().map(|(topic, _)| *topic).collect();
    let contracts: Vec<&Arc<Contract>> = topics.iter().filter_map(|topic| search.registry.topic(topic)).collect();
    let failure = |fault, sqlstate, reason| Failure { reason, error_type: error.name(), sqlstate, fault };
    let (landed, read) = search.records();
    match error {
        // If the payload was not a batch, no partition is known. If a batch is catching up, or waits for the end of a
        // producer's transaction, nothing is stalled. A failed comparison is recorded elsewhere, with a separate error
        // for each partition.
        ConsumeError::NotABatch(_) | ConsumeError::CatchingUp | ConsumeError::Comparison(_) => None,
        ConsumeError::Kafka(cause) => {
            let fault = if cause.is_temporary() { Fault::Environment } else { Fault::Operator };
            let reason = format!("{}: {read} could not be read from Kafka: {cause}", streams(&contracts));
            Some(failure(fault, None, reason))
        }
        ConsumeError::Bigquery(cause) => {
            let fault = if cause.is_temporary() { Fault::Environment } else { Fault::Operator };
            Some(failure(fault, None, format!("{}: {cause}.", streams(&contracts))))
        }
        ConsumeError::UnknownTopic(topic) => {
            Some(failure(Fault::Operator, None, format!("No contract has the topic {topic}.")))
        }
        ConsumeError::Deadline => {
            let reason = format!("{}: {landed} did not land within the invocation's time.", streams(&contracts));
            // The batch has used up an invocation's time, and a retry may do so again. As an operator fault, the missed
            // deadline is shown as a stall at once, not only after 30 s.
            Some(failure(Fault::Operator, None, reason))
        }
        ConsumeError::Retry(cause) | ConsumeError::Stop(cause) => {
            let code = sqlstate(cause);
            let is_operator_fault = matches!(error, ConsumeError::Stop(_)) && code.as_deref() != Some(STALE_PLAN);
            if !is_operator_fault {
                return Some(failure(Fault::Environment, code, describe_database_error(&contracts, cause)));
            }
            let differences = differences(search, &contracts, cause).await;
            Some(failure(
                Fault::Operator,
                code,
                differences.unwrap_or_else(|| describe_database_error(&contracts, cause)),
            ))
        }
    }
}

/// PostgreSQL reports this SQLSTATE if a table has changed since a statement for it was prepared. The next attempt
/// prepares the statement again.
const STALE_PLAN: &str = "0A000";

/// Compares the tables that the batch may write to with their contracts, and describes the differences.
async fn differences(search: &Search<'_>, contracts: &[&Arc<Contract>], cause: &WriteError) -> Option<String> {
    if let WriteError::Drift(difference) = cause {
        return Some(sentence(std::slice::from_ref(&**difference)));
    }
    let mut written: Vec<Arc<Contract>> = Vec::new();
    for contract in contracts {
        gather(search.registry, contract, &mut written);
    }
    let comparing = async {
        let mut connection = search.connections.take(search.until).await?;
        let compared = drift::compare(connection.get(), &written).await.map_err(|error| failed(error.into()));
        search.connections.finish(connection, &compared.as_ref().map(|_| ())).await;
        compared
    };
    let differences = in_time(search.until, comparing).await.ok()?;
    (!differences.is_empty()).then(|| sentence(&differences))
}

/// Collects a contract and the contracts of its child streams, because a batch of the parent stream may release the
/// children's waiting events.
fn gather(registry: &Registry, contract: &Arc<Contract>, written: &mut Vec<Arc<Contract>>) {
    written.push(Arc::clone(contract));
    if matches!(contract.mode, Mode::Entity(_)) {
        for (child, _) in registry.children(&contract.stream) {
            gather(registry, child, written);
        }
    }
}

fn sentence(differences: &[Difference]) -> String {
    format!("{}.", capitalised(&list(differences)))
}

fn list(differences: &[Difference]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = differences.iter().take(SHOWN).map(Difference::to_string).collect();
    let more = match differences.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{}{more}", shown.join("; "))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Describes a database error without the driver's message, which may repeat a value.
fn describe_database_error(contracts: &[&Arc<Contract>], cause: &WriteError) -> String {
    let streams = streams(contracts);
    let (WriteError::Sql(error) | WriteError::Value(error) | WriteError::Commit(error)) = cause else {
        return format!("{streams}: {cause}.");
    };
    let Some(error) = error.as_database_error() else {
        return format!("{streams}: the connection to the database failed.");
    };
    let code = error.code().unwrap_or_default();
    let postgres = error.try_downcast_ref::<PgDatabaseError>();
    let place = postgres.and_then(|error| {
        let table = format!(", table {}.{}", error.schema()?, error.table()?);
        let column = error.column().map_or_else(String::new, |column| format!(", column {column}"));
        Some(table + &column)
    });
    let message = postgres.filter(|error| names_only(error)).map_or(meaning(&code), PgDatabaseError::message);
    let function = postgres.and_then(function);
    let function = function.map_or_else(String::new, |function| format!(", in {function}"));
    format!("{streams}{}: {message} (SQLSTATE {code}){function}.", place.unwrap_or_default())
}

/// Returns whether PostgreSQL's message may be shown: it names only a schema, relation, column or function that is
/// missing or forbidden, and the name cannot be an event's value.
fn names_only(error: &PgDatabaseError) -> bool {
    ["42501", "42703", "42883", "42P01", "3F000"].contains(&error.code())
        && !is_raised(error)
        && !is_from_built_statement(error)
}

fn streams(contracts: &[&Arc<Contract>]) -> String {
    let names: Vec<&str> = contracts.iter().map(|contract| contract.stream.as_str()).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("Stream{plural} {}", names.join(", "))
}

fn sqlstate(cause: &WriteError) -> Option<String> {
    match cause {
        WriteError::Sql(error) | WriteError::Value(error) | WriteError::Commit(error) => {
            error.as_database_error().and_then(|error| error.code()).map(std::borrow::Cow::into_owned)
        }
        WriteError::Refused(_) | WriteError::Drift(_) => None,
    }
}

/// Explains an SQLSTATE to an operator
/// (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
fn meaning(code: &str) -> &'static str {
    match code {
        "25006" => "the database is read-only",
        "40001" | "40P01" => "the transaction conflicts with other transactions",
        "42501" => "the database role lacks a privilege",
        "42703" => "a column does not exist",
        "42883" => "a function or operator does not exist",
        "42P01" => "a table does not exist",
        "42P10" => "no unique index has the columns that the contract relies on",
        "428C9" => "a generated column cannot be written",
        "53100" => "the database's disk is full",
        "53200" => "the database is out of memory",
        "53300" => "the database has no connection left",
        "55P03" => "another transaction holds a lock",
        "57014" => "a statement took too long",
        _ => match code.get(..2).unwrap_or_default() {
            "08" => "the connection to the database failed",
            "28" => "the database refuses the login",
            "3D" | "3F" => "the database or a schema does not exist",
            "53" => "the database is out of resources",
            "57" => "the database is starting or shutting down",
            "58" | "XX" => "the database has an internal error",
            _ => "the database refuses the batch",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_three_differences_and_counts_the_rest() {
        let difference = |column: &str| Difference {
            stream: "route".to_owned(),
            table: "public.t".to_owned(),
            column: Some(column.to_owned()),
            expected: "text".to_owned(),
            found: "no such column".to_owned(),
            keeps_all_out: true,
        };
        let said = sentence(&["a", "b", "c", "d", "e"].map(difference));
        assert!(
            said.starts_with("Stream route: table public.t, column a: expected text, found no such column; stream"),
            "{said}"
        );
        assert!(said.ends_with("; and 2 more."), "{said}");
    }
}
