//! A function with streams that a test defines itself.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Function, Record, record};

/// The function and the folder with its contracts.
pub(crate) struct Own {
    pub(crate) function: Function,
    _folder: TempDir,
}

/// Creates a stream `order` on the topic `orders`. `members` are added to the contract's `x-sluice` block, and
/// `columns` to the block's columns. `table` is the SQL that creates `public.orders`.
pub(crate) async fn orders(mode: &str, members: &Value, columns: &Value, table: &str) -> Own {
    let mut contract = json!({
        "type": "object",
        "required": ["number"],
        "properties": {"number": {"type": "string"}},
        "x-sluice": {
            "topic": "orders", "partitions": 2, "key": ["/number"], "mode": mode, "table": "public.orders",
            "columns": {
                "number": {"from": "/number", "type": "text"}, "state": {"from": "/state", "type": "text"}
            }
        }
    });
    let block = &mut contract["x-sluice"];
    members.as_object().into_iter().flatten().for_each(|(name, value)| block[name] = value.clone());
    columns.as_object().into_iter().flatten().for_each(|(name, value)| block["columns"][name] = value.clone());
    streams(&[("order", contract)], table).await
}

/// Creates streams with these contracts. `table` is the SQL that creates their tables, including `public.orders`.
pub(crate) async fn streams(contracts: &[(&str, Value)], table: &str) -> Own {
    let folder = tempfile::tempdir().expect("a folder");
    for (stream, contract) in contracts {
        let file = folder.path().join(format!("{stream}.json"));
        std::fs::write(file, contract.to_string()).expect("the contract is written");
    }
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    std::fs::write(folder.path().join("migrations/1000_orders.sql"), table).expect("the migration is written");
    Own { function: Function::with_contracts(Some(folder.path())).await, _folder: folder }
}

/// Returns a record of the topic `orders` on partition 0.
pub(crate) fn order(offset: i64, event: &Value) -> Record {
    record("orders", offset, event)
}

/// Returns a record at `offset` that replays the record `of`. `first` is the first record of the event.
pub(crate) fn replay(of: &Record, first: &Record, offset: i64) -> Record {
    let place =
        |record: &Record| format!("{}/{}/{}/{}", record.topic, record.partition, record.offset, record.timestamp_ms);
    let mut headers: Vec<(String, String)> =
        first.headers.iter().filter(|(name, _)| !name.starts_with("sluice-replay")).cloned().collect();
    headers.push(("sluice-replay".to_owned(), place(first)));
    if of.offset != first.offset {
        headers.push(("sluice-replay-of".to_owned(), place(of)));
    }
    Record { offset, timestamp_ms: of.timestamp_ms + offset - of.offset, headers, ..of.clone() }
}

impl Own {
    /// Returns the rows of `public.orders`, in the order of their keys.
    pub(crate) async fn rows(&self) -> Value {
        self.function.database.json("select * from public.orders order by number").await
    }

    pub(crate) async fn outcomes(&self, offsets: std::ops::Range<i64>) -> Vec<String> {
        self.function.outcomes("orders", offsets).await
    }
}
