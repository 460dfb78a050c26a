//! Asks a table which Kafka records are in it.

use std::time::Duration;

use consume::bigquery::{TablesError, WrittenQuery};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::contract::BigQueryTable;

use crate::credentials::Authentication;

/// The maximum number of rows in a page of a result.
const PAGE: u32 = 50_000;

/// A client of BigQuery's REST API.
#[derive(Debug)]
pub(crate) struct Rest {
    client: Client,
    base: String,
    project: String,
}

/// A page of a query's result.
/// <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query>
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    job_complete: bool,
    job_reference: JobReference,
    page_token: Option<String>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobReference {
    job_id: String,
    location: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    f: Vec<Cell>,
}

#[derive(Debug, Deserialize)]
struct Cell {
    v: Value,
}

impl Rest {
    pub(crate) fn new(base: String, project: String, timeout: Duration) -> Result<Self, reqwest::Error> {
        Ok(Self { client: Client::builder().timeout(timeout).build()?, base, project })
    }

    /// Returns the Kafka offsets of a partition's rows.
    pub(crate) async fn written_offsets(
        &self,
        authentication: &Authentication,
        query: WrittenQuery<'_>,
    ) -> Result<Vec<i64>, TablesError> {
        let url = format!("{}/bigquery/v2/projects/{}/queries", self.base, self.project);
        let body = json!({
            "query": sql(&self.project, query), "useLegacySql": false, "useQueryCache": false, "maxResults": PAGE,
            "timeoutMs": 20_000
        });
        let mut page = self.ask(authentication, self.client.post(&url).json(&body)).await?;
        let mut offsets = Vec::new();
        loop {
            for row in &page.rows {
                offsets.push(offset(row).ok_or_else(|| TablesError::Failed("an offset is not a number".to_owned()))?);
            }
            if page.job_complete && page.page_token.is_none() {
                return Ok(offsets);
            }
            let JobReference { job_id, location } = page.job_reference.clone();
            let mut request = self.client.get(format!("{url}/{job_id}")).query(&[("maxResults", PAGE.to_string())]);
            if let Some(location) = location {
                request = request.query(&[("location", location)]);
            }
            if let Some(token) = &page.page_token {
                request = request.query(&[("pageToken", token)]);
            }
            page = self.ask(authentication, request).await?;
        }
    }

    async fn ask(
        &self,
        authentication: &Authentication,
        request: reqwest::RequestBuilder,
    ) -> Result<Page, TablesError> {
        let failed = |error: &dyn std::fmt::Display| TablesError::Failed(error.to_string());
        let headers = authentication.headers().await.map_err(|error| failed(&error))?;
        let response = request.headers(headers).send().await.map_err(|error| failed(&error.without_url()))?;
        let status = response.status();
        if status.is_success() {
            return response.json().await.map_err(|error| failed(&error.without_url()));
        }
        let problem: Value = response.json().await.unwrap_or_default();
        let message = problem["error"]["message"].as_str().unwrap_or("no message");
        let problem = format!("the query failed with {status}: {message}");
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        Err(if passes { TablesError::Failed(problem) } else { TablesError::Refused(problem) })
    }
}

/// Returns the SQL of a query. Names need no escaping, because a contract's names for BigQuery consist only of letters,
/// digits, `_` and `-`.
fn sql(project: &str, query: WrittenQuery<'_>) -> String {
    let WrittenQuery { table, partition_column, offset_column, partition, from } = query;
    let BigQueryTable { project: named, dataset, name } = table;
    let project = named.as_deref().unwrap_or(project);
    format!(
        "select distinct `{offset_column}` from `{project}.{dataset}.{name}` \
         where `{partition_column}` = {partition} and `{offset_column}` >= {from}"
    )
}

fn offset(row: &Row) -> Option<i64> {
    row.f.first()?.v.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_names_the_project_of_the_table_or_else_the_default_project() {
        for (project, expected) in [(None, "main.lake.readings"), (Some("other".to_owned()), "other.lake.readings")] {
            let table = BigQueryTable { project, dataset: "lake".to_owned(), name: "readings".to_owned() };
            let query =
                WrittenQuery { table: &table, partition_column: "p", offset_column: "o", partition: 2, from: 17 };
            let expected = format!("select distinct `o` from `{expected}` where `p` = 2 and `o` >= 17");
            assert_eq!(sql("main", query), expected);
        }
    }

    #[test]
    fn a_page_in_the_format_of_bigquery_is_read() {
        let page: Page = serde_json::from_value(json!({
            "kind": "bigquery#queryResponse", "jobComplete": true, "totalRows": "2",
            "jobReference": {"projectId": "p", "jobId": "j", "location": "EU"},
            "rows": [{"f": [{"v": "9007199254740993"}]}, {"f": [{"v": "4"}]}]
        }))
        .unwrap();
        let offsets: Vec<_> = page.rows.iter().map(offset).collect();
        assert_eq!(offsets, [Some(9_007_199_254_740_993), Some(4)]);
        assert_eq!(page.page_token, None);
    }
}
