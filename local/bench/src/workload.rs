//! The benchmarks' workloads. Each is a stream of one write mode, with its events.

use serde_json::{Value, json};

/// A stream, its table and its events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) mode: &'static str,
    pub(crate) what: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) table: &'static str,
    /// The columns that `\copy` writes. The other columns have defaults.
    pub(crate) columns: &'static str,
    /// An SQL expression for a number in each row, which is divisible by N in about one row of N. The benchmark of bad
    /// rows uses it to choose the rows that a constraint refuses.
    pub(crate) number: &'static str,
    /// SQL expressions for the values of `columns` in row `n` of the rows that fill the table before the events land
    /// (benchmark of growth). No event has the key of such a row. `None` if this workload is not measured in a filled
    /// table.
    pub(crate) rows: Option<&'static str>,
    event: fn(u64) -> Value,
}

/// The table for the workload in mode `upsert`. No built-in stream has this mode.
pub(crate) const POSITIONS: &str = "create table public.positions (user_id bigint primary key, at timestamptz not null,
    latitude double precision not null, longitude double precision not null)";
/// The table for mode `changes`. It is created beforehand, so that the figures do not include its creation.
pub(crate) const READINGS: &str =
    "create table landing.readings (id bigint primary key, sensor text, celsius numeric(6,2), taken timestamptz)";
/// The countries that the cities refer to.
pub(crate) const COUNTRIES: &str = "insert into public.continents (name) values ('Pangaea');
    insert into public.countries (continent, name) select 'Pangaea', 'Country ' || n from generate_series(0, 249) n";

pub(crate) const WORKLOADS: [Workload; 5] = [
    Workload {
        mode: "append",
        what: "positions of users, no index",
        topic: "landing-routes",
        table: "public.routes_table",
        columns: r#"user_id, "timestamp", latitude, longitude"#,
        number: "user_id",
        rows: Some("n % 10000, to_timestamp(n), 52.3676, 4.9041"),
        event: |n| json!({"userID": n % 10_000, "timestamp": seconds(n), "coordinates": [latitude(n), longitude(n)]}),
    },
    Workload {
        mode: "append",
        what: "user events with an id, uuid primary key",
        topic: "landing-user-events",
        table: "public.user_events",
        columns: "id, city, state, country, post_code, datetime",
        number: "post_code::int",
        rows: Some(
            "gen_random_uuid(), 'Baltimore', 'Maryland', 'United States', '21201', timestamp '2019-05-07 19:54:13'",
        ),
        event: |n| {
            json!({
                "id": uuid::Uuid::from_u128(scattered(n)).to_string(),
                "address": {"city": "Baltimore", "state": "Maryland", "country": "United States",
                            "postCode": format!("{:05}", n % 100_000)},
                "datetime": "2019-05-07 19:54:13.563"
            })
        },
    },
    Workload {
        mode: "upsert",
        what: "last positions, bigint primary key",
        topic: "positions",
        table: "public.positions",
        columns: "user_id, at, latitude, longitude",
        number: "user_id",
        rows: Some("1000000000 + n, to_timestamp(n), 52.3676, 4.9041"),
        event: |n| json!({"user": n, "at": seconds(n), "latitude": latitude(n), "longitude": longitude(n)}),
    },
    Workload {
        mode: "entity",
        what: "cities of 250 countries, two unique indexes, a foreign key",
        topic: "landing-city",
        table: "public.cities",
        columns: "country, name, population, area, latitude, longitude",
        number: "population",
        rows: None,
        event: |n| {
            json!({"name": format!("City {n}"), "country": format!("Country {}", n % 250), "population": n,
                   "latitude": latitude(n), "longitude": longitude(n)})
        },
    },
    Workload {
        mode: "changes",
        what: "wal2json format 2, one insert per event, bigint primary key",
        topic: "landing-changes",
        table: "landing.readings",
        columns: "id, sensor, celsius, taken",
        number: "id",
        rows: None,
        event: |n| {
            json!({"action": "I", "schema": "public", "table": "readings", "columns": [
                {"name": "id", "type": "bigint", "value": n},
                {"name": "sensor", "type": "text", "value": format!("sensor {}", n % 100)},
                {"name": "celsius", "type": "numeric(6,2)", "value": 21.5},
                {"name": "taken", "type": "timestamp with time zone", "value": "2019-05-07 19:54:13.563+00"}
            ]})
        },
    },
];

impl Workload {
    pub(crate) fn events(&self, count: u64) -> impl Iterator<Item = String> + use<> {
        let event = self.event;
        (0..count).map(move |n| event(n).to_string())
    }
}

/// Returns an id for a number. The ids of successive numbers are scattered, but are the same in every run.
fn scattered(n: u64) -> u128 {
    const ODD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
    u128::from(n + 1).wrapping_mul(ODD)
}

#[expect(clippy::cast_precision_loss, reason = "event numbers are small")]
fn seconds(n: u64) -> f64 {
    1_557_258_853.563 + n as f64
}

#[expect(clippy::cast_precision_loss, reason = "a number below 180,000")]
fn latitude(n: u64) -> f64 {
    (n * 7 % 180_000) as f64 / 1_000.0 - 90.0
}

#[expect(clippy::cast_precision_loss, reason = "a number below 360,000")]
fn longitude(n: u64) -> f64 {
    (n * 11 % 360_000) as f64 / 1_000.0 - 180.0
}
