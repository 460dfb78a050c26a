//! A partial batch response: which records of a batch have failed.

use std::collections::HashSet;

use super::batch::Batch;

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    batch_item_failures: Option<Vec<Failure>>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: Identifier,
}

#[derive(Debug, PartialEq, Eq, Hash, serde::Deserialize)]
struct Identifier {
    /// The topic and the partition, as the event names them.
    partition: String,
    offset: i64,
}

/// The records that failed, by a function that was declared to answer with `ReportBatchItemFailures`. None of them
/// where it names none; all of them where it names one that is not in the batch, or gives another kind of answer.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
pub(super) fn failed_of(mut batch: Batch, answer: &[u8]) -> Batch {
    let identifiers = match read(answer) {
        Ok(identifiers) => identifiers,
        Err(error) => {
            tracing::warn!("the function's answer is no partial batch response, so all of the batch failed: {error}");
            return batch;
        }
    };
    let is_known = |identifier: &Identifier| {
        let Identifier { partition, offset } = identifier;
        batch.segments().iter().any(|segment| segment.origin.name == *partition && segment.has(*offset))
    };
    if let Some(Identifier { partition, offset }) = identifiers.iter().find(|identifier| !is_known(identifier)) {
        tracing::warn!(partition, offset, "the function names a record that is not in the batch, so all of it failed");
        return batch;
    }
    let failed: HashSet<(&str, i64)> = identifiers.iter().map(|item| (item.partition.as_str(), item.offset)).collect();
    batch.extract(|origin, mark| failed.contains(&(origin.name.as_str(), mark.offset)))
}

fn read(answer: &[u8]) -> Result<Vec<Identifier>, serde_json::Error> {
    if answer.is_empty() {
        return Ok(Vec::new());
    }
    let answer: Option<Answer> = serde_json::from_slice(answer)?;
    let failures = answer.and_then(|answer| answer.batch_item_failures).unwrap_or_default();
    Ok(failures.into_iter().map(|failure| failure.item_identifier).collect())
}

#[cfg(test)]
mod tests {
    use super::super::segment::tests::segment;
    use super::*;

    fn failed(answer: &str) -> String {
        let mut batch = Batch::default();
        batch.add(segment("a", [1, 2, 3]));
        batch.add(segment("b", [1, 2]));
        failed_of(batch, answer.as_bytes()).coordinates()
    }

    #[test]
    fn only_the_records_that_are_named_have_failed() {
        let one = r#"{"itemIdentifier":{"partition":"a-0","offset":2}}"#;
        let other = r#"{"itemIdentifier":{"partition":"b-0","offset":1}}"#;
        assert_eq!(failed(&format!(r#"{{"batchItemFailures":[{one}]}}"#)), "a-0: 2");
        assert_eq!(failed(&format!(r#"{{"batchItemFailures":[{other},{one}]}}"#)), "a-0: 2; b-0: 1");
    }

    #[test]
    fn an_answer_without_failures_is_success() {
        for answer in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#, r#"{"a":1}"#] {
            assert_eq!(failed(answer), "", "{answer}");
        }
    }

    #[test]
    fn an_identifier_that_is_not_in_the_batch_or_not_one_at_all_fails_all_of_it() {
        for answer in [
            r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"a-1","offset":2}}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"a-0","offset":4}}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":"a-0"}]}"#,
            r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
            r#"{"batchItemFailures":[{}]}"#,
            "what?",
        ] {
            assert_eq!(failed(answer), "a-0: 1 to 3; b-0: 1 to 2", "{answer}");
        }
    }
}
