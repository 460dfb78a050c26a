//! Sends the events of the restore tests: positions of one user, with timestamps one second apart. All events are in
//! one partition.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::gateway::TestGateway;

const USER: i64 = 5;
const FIRST_SECOND: i64 = 1_557_258_800;
/// The time limit for each condition that a test awaits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the event with this number.
pub(crate) fn event(number: i64) -> String {
    json!({"userID": USER, "timestamp": FIRST_SECOND + number, "coordinates": [52.3676, 4.9041]}).to_string()
}

/// Selects the number of each event, and how often the event is in its table.
pub(crate) const ROWS: &str = "
    select extract(epoch from \"timestamp\")::bigint - 1557258800 as number, count(*) as times
    from public.routes_table group by 1 order by 1";

/// Returns what [`ROWS`] selects if each of these events is in its table exactly once.
pub(crate) fn once_each(numbers: impl IntoIterator<Item = i64>) -> Value {
    numbers.into_iter().map(|number| json!({"number": number, "times": 1})).collect()
}

/// Sends events to a gateway, and looks up their receipts.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
}

/// The receipt of an event.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) href: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Sender {
    /// Creates a sender for a gateway, with its admin's credentials.
    pub(crate) fn for_gateway(gateway: &TestGateway) -> Self {
        Self { url: gateway.url.clone(), http: gateway.http.clone() }
    }

    /// Posts an event. Returns the status and the receipt.
    pub(crate) async fn send(&self, number: i64, prefer: &str) -> (u16, Receipt) {
        let request = self.http.post(format!("{}/events/route", self.url)).header("content-type", "application/json");
        let answer = request.header("prefer", prefer).body(event(number)).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        let receipt = &body["receipts"][0];
        let href = receipt["href"].as_str().unwrap_or_else(|| panic!("{status} {body}")).to_owned();
        let partition = i32::try_from(receipt["partition"].as_i64().unwrap()).unwrap();
        (status, Receipt { href, partition, offset: receipt["offset"].as_i64().unwrap() })
    }

    /// Posts events and waits until each is written.
    pub(crate) async fn write(&self, numbers: std::ops::RangeInclusive<i64>) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for number in numbers {
            let (status, receipt) = self.send(number, "wait=20").await;
            assert_eq!(status, 200, "event {number} is written");
            receipts.push(receipt);
        }
        receipts
    }

    /// Returns the current status of a receipt.
    pub(crate) async fn status(&self, receipt: &Receipt) -> String {
        let answer = self.http.get(format!("{}{}", self.url, receipt.href)).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["status"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }

    pub(crate) async fn statuses(&self, receipts: &[Receipt]) -> Vec<String> {
        let mut statuses = Vec::new();
        for receipt in receipts {
            statuses.push(self.status(receipt).await);
        }
        statuses
    }

    /// Waits until all receipts say `written`. Until then, each receipt must say `pending` or `written`.
    pub(crate) async fn all_are_written(&self, receipts: &[Receipt]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let statuses = self.statuses(receipts).await;
            if statuses.iter().all(|status| status == "written") {
                return;
            }
            assert!(statuses.iter().all(|status| status == "written" || status == "pending"), "{statuses:?}");
            assert!(Instant::now() < deadline, "{statuses:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
