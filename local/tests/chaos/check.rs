//! Compares the final state of the database with the events that the clients sent.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use shared::ledger::receipts::{self, Status};
use sqlx::PgPool;
use tokio::time::Instant;

use super::kills::PATIENCE;
use super::sender::{Place, SentEvent};
use super::workload::entities::{self, Entity, ExpectedState, Stream};
use super::workload::{Client, Kind, routes, user_events};
use super::world::World;

/// The results of the check.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Acknowledged routes and user events without a row, and expected entities without a row.
    pub(crate) lost: Vec<String>,
    /// Events that are in their table more than once.
    pub(crate) twice: Vec<String>,
    /// All other faults.
    pub(crate) wrong: Vec<String>,
    /// The number of events that were never acknowledged. The clients do not know whether these events were written.
    pub(crate) unknown: u64,
    /// The number of events that were written, although they were never acknowledged.
    pub(crate) unknown_written: u64,
    pub(crate) written: u64,
    pub(crate) duplicates: i64,
    pub(crate) rejected: u64,
    /// The number of rejected events that were sent again and rejected again.
    pub(crate) rejected_again: u64,
}

/// Waits until every record is applied, no event waits for its parent, and no partition is stalled.
pub(crate) async fn everything_is_applied(world: &World) {
    let ends = world.log_ends().await;
    let mut seen = BTreeMap::new();
    let mut since = Instant::now();
    loop {
        let watermarks = watermarks(&world.pool).await;
        let (waiting, stalled) = (waiting(&world.pool).await, stalled(&world.pool).await);
        if watermarks == ends && waiting == 0 && stalled == 0 {
            return;
        }
        if watermarks != seen {
            (seen, since) = (watermarks, Instant::now());
        }
        assert!(
            since.elapsed() < PATIENCE,
            "progress has stopped: {waiting} waiting, {stalled} stalled, watermarks {seen:?}, logs end at {ends:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn watermarks(pool: &PgPool) -> BTreeMap<(String, i32), i64> {
    const SELECT: &str = r#"select topic, "partition", next_offset from sluice.watermarks where next_offset > 0"#;
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(SELECT).fetch_all(pool).await.unwrap();
    rows.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect()
}

async fn waiting(pool: &PgPool) -> i64 {
    scalar(pool, "select count(*) from sluice.waiting").await
}

/// Returns the number of partitions that are stalled now.
pub(crate) async fn stalled(pool: &PgPool) -> i64 {
    scalar(pool, "select count(*) from sluice.stalled").await
}

async fn scalar(pool: &PgPool, query: &str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

pub(crate) async fn check(pool: &PgPool, clients: &[Client], sent: &[Vec<SentEvent>]) -> Findings {
    let mut findings = Findings::default();
    let mut check = Check { pool, clients, sent, findings: &mut findings };
    check.routes().await;
    check.user_events().await;
    check.entities().await;
    check.receipts().await;
    check.ledger().await;
    findings
}

struct Check<'a> {
    pool: &'a PgPool,
    clients: &'a [Client],
    sent: &'a [Vec<SentEvent>],
    findings: &'a mut Findings,
}

impl Check<'_> {
    async fn routes(&mut self) {
        const SELECT: &str = r#"
            select user_id, (extract(epoch from "timestamp") * 1000000)::bigint, latitude, longitude
            from public.routes_table"#;
        let rows: Vec<routes::Row> = sqlx::query_as(SELECT).fetch_all(self.pool).await.unwrap();
        let make = |client: &Client, sequence| routes::Route::new(client, sequence).row();
        self.rows(rows, routes::origin, make, |kind| matches!(kind, Kind::Routes));
    }

    async fn user_events(&mut self) {
        const SELECT: &str = "
            select id, city, state, country, post_code, to_char(datetime, 'YYYY-MM-DD HH24:MI:SS.US')
            from public.user_events";
        let rows: Vec<user_events::Row> = sqlx::query_as(SELECT).fetch_all(self.pool).await.unwrap();
        let make = |client: &Client, sequence| user_events::UserEvent::new(client, sequence).row();
        self.rows(rows, user_events::origin, make, |kind| matches!(kind, Kind::UserEvents));
    }

    /// Checks that every row equals an event that a client sent. Each acknowledged event must have exactly one row, and
    /// each other event must have at most one row.
    fn rows<R: PartialEq + Debug>(
        &mut self,
        rows: Vec<R>,
        origin: impl Fn(&R) -> Option<(u32, u64)>,
        make: impl Fn(&Client, u64) -> R,
        is_kind: impl Fn(&Kind) -> bool,
    ) {
        let mut times: HashMap<(u32, u64), u64> = HashMap::with_capacity(rows.len());
        for row in &rows {
            let event = origin(row).filter(|(number, sequence)| {
                let client = self.clients.get(*number as usize).filter(|client| is_kind(&client.kind));
                client.is_some_and(|client| *sequence < client.events && make(client, *sequence) == *row)
            });
            match event {
                Some(event) => *times.entry(event).or_default() += 1,
                None => self.findings.wrong.push(format!("a row that no client sent: {row:?}")),
            }
        }
        self.findings.written += rows.len() as u64;
        for (client, sent) in self.clients.iter().zip(self.sent).filter(|(client, _)| is_kind(&client.kind)) {
            for (sequence, sent) in (0..).zip(sent) {
                let times = times.get(&(client.number, sequence)).copied().unwrap_or_default();
                let event = || client.event(sequence);
                if times > 1 {
                    self.findings.twice.push(format!("{times} times: {}", event()));
                }
                match sent {
                    SentEvent::Acknowledged(_) if times == 0 => self.findings.lost.push(event()),
                    SentEvent::Acknowledged(_) => {}
                    SentEvent::Unacknowledged => {
                        self.findings.unknown += 1;
                        self.findings.unknown_written += times.min(1);
                    }
                }
            }
        }
    }

    /// Checks that the entities are the result of each client's commands, applied in order, and that invalid commands
    /// are rejected.
    async fn entities(&mut self) {
        const SELECT: &str = "
            select 'continent', name, null as country, null as parent, population, area, null::float8, null::float8
            from public.continents
            union all
            select 'country', name, null, continent, population, area, null, null from public.countries
            union all
            select 'city', name, country, country, population, area, latitude, longitude from public.cities";
        type Row = (String, String, Option<String>, Option<String>, i64, f64, Option<f64>, Option<f64>);
        let rows: Vec<Row> = sqlx::query_as(SELECT).fetch_all(self.pool).await.unwrap();
        let mut there = BTreeMap::new();
        for (stream, name, country, parent, population, area, latitude, longitude) in rows {
            let stream = [Stream::Continent, Stream::Country, Stream::City].into_iter().find(|s| s.name() == stream);
            let entity = Entity { parent, population, area, latitude, longitude };
            there.insert((stream.unwrap(), name, country), entity);
        }
        let letters = self.dead_letters().await;
        for client in self.clients {
            let Kind::Entities(script) = &client.kind else { continue };
            let ExpectedState { entities, rejected } = script.expected_state();
            self.findings.written += client.events - rejected.len() as u64;
            self.findings.rejected += rejected.len() as u64;
            for (key, expected) in entities {
                match there.remove(&key) {
                    Some(found) if found == expected => {}
                    Some(found) => {
                        self.findings.wrong.push(format!("{key:?} is {found:?} and should be {expected:?}"));
                    }
                    None => self.findings.lost.push(format!("{key:?} {expected:?}")),
                }
            }
            for sequence in 0..client.events {
                let code = letters.get(&(client.number, sequence)).map(String::as_str);
                if code != rejected.get(&sequence).copied() {
                    let expected = rejected.get(&sequence);
                    self.findings.wrong.push(format!(
                        "the dead letter is {code:?} and should be {expected:?}: {}",
                        client.event(sequence)
                    ));
                }
            }
        }
        self.findings.wrong.extend(there.into_iter().map(|entity| format!("unexpected entity: {entity:?}")));
    }

    /// Returns the error code of each rejected event. An event that was sent twice may have two dead letters.
    async fn dead_letters(&mut self) -> BTreeMap<(u32, u64), String> {
        const SELECT: &str = "
            select error_code, (convert_from(payload, 'UTF8')::jsonb -> 'population')::bigint, topic
            from sluice.dead_letters";
        let rows: Vec<(String, Option<i64>, String)> = sqlx::query_as(SELECT).fetch_all(self.pool).await.unwrap();
        let mut letters = BTreeMap::new();
        for (code, population, topic) in rows {
            match population.and_then(entities::origin) {
                Some(event) => match letters.insert(event, code.clone()) {
                    Some(before) if before == code => self.findings.rejected_again += 1,
                    Some(before) => self.findings.wrong.push(format!("{event:?} is rejected twice: {before}, {code}")),
                    None => {}
                },
                None => self.findings.wrong.push(format!("unexpected dead letter of {topic}: {code}")),
            }
        }
        letters
    }

    /// Checks that no receipt says `pending` or `waiting`, and that at most one of an event's receipts says `written`.
    async fn receipts(&mut self) {
        let mut events: BTreeMap<&str, Vec<(usize, Place)>> = BTreeMap::new();
        let mut statuses: Vec<Vec<Status>> = Vec::new();
        for (client, sent) in self.clients.iter().zip(self.sent) {
            for (sequence, sent) in (0..).zip(sent) {
                let SentEvent::Acknowledged(places) = sent else { continue };
                let (stream, _) = client.stream(sequence);
                events.entry(stream).or_default().extend(places.iter().map(|place| (statuses.len(), *place)));
                statuses.push(Vec::new());
            }
        }
        for (stream, receipts) in events {
            let topic = match stream {
                "route" => "routes",
                "user-event" => "user-events",
                entity => entity,
            };
            for receipts in receipts.chunks(10_000) {
                let places: Vec<Place> = receipts.iter().map(|(_, place)| *place).collect();
                let outcomes = receipts::look_up(self.pool, None, topic, &places).await.unwrap();
                for ((event, _), outcome) in receipts.iter().zip(outcomes) {
                    statuses[*event].push(outcome.status());
                }
            }
        }
        for statuses in statuses {
            let count = |status| statuses.iter().filter(|found| **found == status).count();
            let is_settled = count(Status::Pending) + count(Status::Waiting) == 0;
            if !is_settled || count(Status::Written) > 1 {
                self.findings.wrong.push(format!("an event's receipts say {statuses:?}"));
            }
        }
    }

    /// Checks that the written events, the duplicates and the dead letters add up to the number of records, that no
    /// partition appears to have been recreated, and that there are no gaps.
    async fn ledger(&mut self) {
        const ANOMALIES: &str = "select (select count(*) from sluice.watermarks where incarnation <> 1)
                            + (select count(*) from sluice.gaps)";
        const RECORDS: &str = "select coalesce(sum(next_offset), 0)::bigint from sluice.watermarks";
        const LETTERS: &str = "select count(*) from sluice.dead_letters";
        let anomalies = scalar(self.pool, ANOMALIES).await;
        if anomalies > 0 {
            self.findings.wrong.push(format!("gaps, plus partitions that appear to have been recreated: {anomalies}"));
        }
        self.findings.duplicates = scalar(self.pool, "select count(*) from sluice.duplicates").await;
        let records = scalar(self.pool, RECORDS).await;
        let decided = self.findings.duplicates + scalar(self.pool, LETTERS).await;
        let written = self.findings.written;
        if i64::try_from(written).unwrap() != records - decided {
            self.findings.wrong.push(format!(
                "of {records} records, {decided} are duplicates or dead letters, but {written} were written"
            ));
        }
    }
}

/// Returns a checksum of every table except `sluice.stalls`, in which an ended stall remains until a sweep removes it.
pub(crate) async fn checksums(pool: &PgPool) -> BTreeMap<String, String> {
    const TABLES: &str = "
        select format('%I.%I', schemaname, tablename) from pg_catalog.pg_tables
        where schemaname in ('sluice', 'public', 'landing') and (schemaname, tablename) <> ('sluice', 'stalls')";
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(pool).await.unwrap();
    let mut checksums = BTreeMap::new();
    for table in tables {
        let select = format!("select coalesce(md5(string_agg(t::text, chr(10) order by t::text)), '') from {table} t");
        checksums.insert(table, sqlx::query_scalar(&select).fetch_one(pool).await.unwrap());
    }
    checksums
}
