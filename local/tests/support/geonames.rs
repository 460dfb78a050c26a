//! The GeoNames data of `examples/geonames`: continents, countries and cities.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use shared::contract::Registry;

use super::database::TestDatabase;
use super::kafka::{committed, settings};

fn example(stream: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../examples/geonames/{stream}.ndjson"));
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The GeoNames files. Children come before their parents: first the cities, then the countries, then the continents.
pub struct GeoNames([(&'static str, &'static str, Vec<Value>); 3]);

impl GeoNames {
    /// Reads the GeoNames files.
    pub fn read() -> Self {
        let files = [("city", "cities"), ("country", "countries"), ("continent", "continents")];
        Self(files.map(|(stream, file)| (stream, file, example(file))))
    }

    /// Returns the files' streams.
    pub fn streams(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(stream, _, _)| *stream)
    }

    /// Posts the events as NDJSON, in requests of the maximum size. Waits until the event source mappings have
    /// committed the offsets of all events.
    pub async fn load(&self, http: &reqwest::Client, url: &str, registry: &Registry) {
        for (stream, _, events) in &self.0 {
            for batch in events.chunks(10_000) {
                let body: Vec<String> = batch.iter().map(Value::to_string).collect();
                let headers = [("content-type", "application/x-ndjson"), ("prefer", "return=minimal")];
                let request = http.post(format!("{url}/events/{stream}"));
                let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                let answer = request.body(body.join("\n")).send().await.unwrap();
                assert_eq!(answer.status(), 202);
            }
        }
        self.is_committed(registry).await;
    }

    /// Waits until the event source mappings have committed the offsets of all events.
    pub async fn is_committed(&self, registry: &Registry) {
        for (stream, _, events) in &self.0 {
            let contract = registry.stream(stream).unwrap();
            let events = i64::try_from(events.len()).unwrap();
            loop {
                let group = format!("sluice-{}", contract.topic);
                let offsets = committed(&settings(), &group, &contract.topic, contract.partitions).await;
                if offsets.into_iter().flatten().sum::<i64>() == events {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Checks every row, value by value. If several events have the same key, the first of these events must be in the
    /// table.
    pub async fn has_landed(&self, database: &TestDatabase) {
        for (table, rows) in
            [("public.continents", 7), ("public.countries", 252), ("public.cities", 32_966), ("sluice.waiting", 0)]
        {
            assert_eq!(database.count(&format!("select count(*) from {table}")).await, rows, "{table}");
        }
        let letters = database.json("select reason, status, count(*) from sluice.dead_letters group by 1, 2").await;
        assert_eq!(letters, json!([{"reason": "already exists", "status": "open", "count": 1_040}]));

        let columns = ["name", "continent", "country", "population", "area", "latitude", "longitude"];
        for (stream, table, events) in &self.0 {
            let key = |row: &Value| (row["country"].to_string(), row["name"].to_string());
            let mut expected: BTreeMap<_, Value> = BTreeMap::new();
            for event in events {
                expected.entry(key(event)).or_insert_with(|| event.clone());
            }
            let found = database.json(&format!("select * from public.{table}")).await;
            let found = found.as_array().unwrap();
            assert_eq!(found.len(), expected.len());
            for row in found {
                let event = &expected[&key(row)];
                for column in columns {
                    let (row, event) = (&row[column], event.get(column).unwrap_or(&Value::Null));
                    let equal = row == event || row.as_f64().is_some_and(|number| Some(number) == event.as_f64());
                    assert!(equal, "{stream} {column}: {row} is not {event}");
                }
            }
        }
    }
}
