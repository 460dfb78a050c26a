//! What a batch costs, in counts that do not depend on the machine: database round trips and memory allocations.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allocation_counter::measure;
use serde_json::{Value, json};
use testing::TestDatabase;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use crate::model;
use crate::own_stream::replay;
use crate::support::{Function, Record, record, route, user_event};

/// A proxy in front of PostgreSQL that counts round trips.
struct Proxy {
    address: SocketAddr,
    round_trips: Arc<AtomicU64>,
}

impl Proxy {
    async fn start(server: String) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, round_trips) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&round_trips);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counted) = (TcpStream::connect(server.clone()).await?, Arc::clone(&counted));
                tokio::spawn(pass_on(client, server, counted));
            }
            Ok::<(), io::Error>(())
        });
        Ok(Self { address, round_trips })
    }

    /// Returns how many round trips there were since the last call.
    fn take(&self) -> u64 {
        self.round_trips.swap(0, Ordering::SeqCst)
    }
}

/// Passes bytes on, and counts round trips. A round trip begins when the client sends something after the server has
/// answered.
async fn pass_on(mut client: TcpStream, mut server: TcpStream, round_trips: Arc<AtomicU64>) -> io::Result<()> {
    let (mut sent, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_answered = true;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => match read? {
                0 => return Ok(()),
                read => {
                    round_trips.fetch_add(u64::from(is_answered), Ordering::SeqCst);
                    is_answered = false;
                    server.write_all(&sent[..read]).await?;
                }
            },
            read = server.read(&mut answered) => match read? {
                0 => return Ok(()),
                read => {
                    is_answered = true;
                    client.write_all(&answered[..read]).await?;
                }
            },
        }
    }
}

/// Splits a database's URL into three parts: the text before the server's address, the address, and the text after the
/// address.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (start, rest) = url.split_once('@')?;
    let (server, end) = rest.split_once('/')?;
    Some((start, server, end))
}

async fn behind_proxy(contracts: &Path) -> (Function, Proxy) {
    let database = TestDatabase::create().await;
    let (start, server, end) = split(&database.url).expect("an address");
    let proxy = Proxy::start(server.to_owned()).await.expect("a proxy");
    let pool = shared::database::connect(&format!("{start}@{}/{end}", proxy.address), 1).expect("a pool");
    (Function::connected(database, pool, Some(contracts)).await, proxy)
}

fn batch(topic: &str, first: i64, records: i64, event: impl Fn(i64) -> Value) -> Vec<Record> {
    (first..first + records).map(|offset| record(topic, offset, &event(offset))).collect()
}

fn position(offset: i64) -> Value {
    route(offset, 1.5)
}

fn numbered(offset: i64) -> Value {
    user_event(u128::from(offset.unsigned_abs()), "Baltimore")
}

fn gauge(offset: i64) -> Value {
    json!({"id": 10 + offset % 90, "value": offset})
}

fn continent(offset: i64) -> Value {
    json!({"name": format!("Continent {offset}"), "population": 1, "area": 1})
}

#[tokio::test]
async fn a_batch_takes_few_round_trips() {
    /// Enough batches to average out the work that is done only once a minute.
    const BATCHES: i64 = 10;
    const RECORDS: i64 = 100;
    let contracts = model::contracts();
    let (function, proxy) = behind_proxy(contracts.path()).await;
    for (topic, event, most) in [
        ("routes", position as fn(i64) -> Value, 1),
        ("user-events", numbered, 1),
        ("gauges", gauge, 1),
        ("continent", continent, 9),
    ] {
        // The first two batches are not counted, because they also create the watermark and prepare statements.
        for first in [0, RECORDS] {
            function.land(&batch(topic, first, RECORDS, event)).await;
        }
        proxy.take();
        for number in 2..2 + BATCHES {
            function.land(&batch(topic, number * RECORDS, RECORDS, event)).await;
        }
        let round_trips = proxy.take() / BATCHES.unsigned_abs();
        println!("{topic}: {round_trips} round trips for each batch");
        assert!(round_trips <= most, "{topic}: {round_trips} round trips for each batch");
    }
}

#[tokio::test]
async fn a_batch_of_replays_that_are_rejected_again_takes_few_round_trips_however_large_it_is() {
    const RECORDS: i64 = 1_000;
    let contracts = model::contracts();
    let (function, proxy) = behind_proxy(contracts.path()).await;
    let invalid = |offset| record("routes", offset, &json!({"userID": "none"}));
    let letters: Vec<Record> = (0..RECORDS).map(invalid).collect();
    function.land(&letters).await;
    let replays: Vec<Record> = letters.iter().map(|letter| replay(letter, letter, RECORDS + letter.offset)).collect();
    proxy.take();
    function.land(&replays).await;
    let round_trips = proxy.take();
    assert!(round_trips <= 40, "{round_trips} round trips for {RECORDS} replays");
    let counts = "select count(*) filter (where status = 'replayed') as replayed,
                         count(*) filter (where status = 'open') as open from sluice.dead_letters";
    assert_eq!(function.database.json(counts).await, json!([{"replayed": RECORDS, "open": RECORDS}]));
}

#[test]
fn landing_a_record_takes_few_allocations() {
    const RECORDS: i64 = 5_000;
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let function = runtime.block_on(Function::new());
    for (topic, event, most) in [("routes", position as fn(i64) -> Value, 18), ("user-events", numbered, 18)] {
        runtime.block_on(function.land(&batch(topic, 0, 100, event)));
        let next = crate::support::event(&batch(topic, 100, RECORDS, event));
        let counted = measure(|| {
            runtime.block_on(function.consume.invoke(&next, crate::support::BUDGET)).expect("the batch lands");
        });
        let allocations = counted.count_total / RECORDS.unsigned_abs();
        println!("{topic}: {allocations} allocations for each record");
        assert!(allocations <= most, "{topic}: {allocations} allocations for each record");
    }
}
