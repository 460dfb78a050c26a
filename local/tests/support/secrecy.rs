//! Collects everything that a gateway writes, so that tests can search it for secrets.

use std::path::Path;

use shared::contract::Registry;

use super::database::TestDatabase;
use super::kafka::{settings, values};
use super::process::UpProcess;

/// Returns the logs of a process at debug level, the records of its topics, and the rows of its tables. Each text comes
/// with the place where it was found: `stdout`, `stderr`, a topic, or a table such as `sluice.users`.
pub async fn texts(process: &UpProcess, contracts: &Path, database: &TestDatabase) -> Vec<(String, Vec<u8>)> {
    let mut texts: Vec<(String, Vec<u8>)> = Vec::new();
    for name in ["stdout", "stderr"] {
        texts.push((name.to_owned(), std::fs::read(process.log(name)).unwrap()));
    }
    assert!(texts[1].1.len() > 5_000, "the log is not at debug level");
    for contract in Registry::load(Some(contracts)).unwrap().contracts() {
        for value in values(&settings(), &contract.topic).await {
            texts.push((contract.topic.clone(), value));
        }
    }
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname in ('sluice', 'public', 'landing')",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap();
    assert!(tables.iter().any(|table| table == "sluice.users"), "{tables:?}");
    for table in &tables {
        let rows: Vec<String> =
            sqlx::query_scalar(&format!("select t::text from {table} t")).fetch_all(&database.pool).await.unwrap();
        texts.extend(rows.into_iter().map(|row| (table.clone(), row.into_bytes())));
    }
    texts
}

/// Returns a secret's spellings: as it is, and in base64 at every alignment. Leaves out base64 texts of fewer than
/// eight characters, because any hash might contain them.
pub fn spellings(secret: &str) -> Vec<String> {
    const FEWEST_CHARACTERS: usize = 8;
    let mut spellings = vec![secret.to_owned()];
    for shift in 0..3 {
        let text = base64(format!("{}{secret}", &"xxx"[..shift]).as_bytes());
        spellings.extend(Some(text[4..text.len() - 3].to_owned()).filter(|text| text.len() >= FEWEST_CHARACTERS));
    }
    spellings
}

pub fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD_NO_PAD.encode_to_string(bytes)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
