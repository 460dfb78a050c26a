//! Tests `send` against a fake gateway that answers like the real gateway, and can be made to misbehave.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::run::{RunResult, run};
use super::tally::Reasons;
use super::*;

/// The fake gateway's state.
#[derive(Debug, Default)]
struct Gate {
    /// The number of times that the gateway turns a batch away before it accepts the batch.
    turn_away: usize,
    /// The number of times that the gateway accepts a batch without completing its answer.
    lose_answers: usize,
    /// The number of lookups that the gateway answers with `pending` before it reports outcomes.
    pending_looks: usize,
    /// A stop signal, which is given when the first batch arrives.
    stop: Option<Stop>,
    keys: HashMap<String, usize>,
    looks: usize,
    look_requests: usize,
    /// Every accepted event, in order: its index is its offset.
    events: Vec<Value>,
    names: BTreeSet<String>,
    /// The outcome of each event, decided when the event was accepted.
    statuses: Vec<Value>,
    authorization: BTreeSet<String>,
}

type Shared = Arc<Mutex<Gate>>;

fn with<T>(gate: &Shared, act: impl FnOnce(&mut Gate) -> T) -> T {
    act(&mut gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

async fn post_events(State(gate): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let key = header("idempotency-key");
    with(&gate, |gate| {
        gate.authorization.insert(header("authorization"));
        if let Some(stop) = &gate.stop {
            stop.sending.cancel();
        }
        let attempts = gate.keys.entry(key.clone()).or_default();
        *attempts += 1;
        let attempts = *attempts;
        if attempts <= gate.turn_away {
            let problem = json!({"title": "Temporarily unavailable", "status": 503});
            return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], problem.to_string()).into_response();
        }
        let is_repeat = attempts > gate.turn_away + 1;
        let (mut receipts, mut errors) = (Vec::new(), Vec::new());
        for (index, line) in body.lines().enumerate() {
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            let Some(name) = event["name"].as_str().filter(|name| !name.is_empty()) else {
                errors.push(json!({"index": index, "pointer": "/name", "detail": "is empty"}));
                continue;
            };
            let event_status = match name {
                _ if is_repeat => json!({"status": "duplicate"}),
                "waits" => json!({"status": "waiting"}),
                "lost" => json!({"status": "pending"}),
                _ if gate.names.insert(name.to_owned()) => json!({"status": "written"}),
                _ => json!({"status": "rejected", "reason": "already exists"}),
            };
            let offset = gate.events.len();
            receipts.push(json!({
                "index": index, "topic": "continent", "partition": 0, "offset": offset, "timestamp": 1_780_000_000_000_i64,
                "href": format!("/receipts/continent/0/{offset}")
            }));
            gate.events.push(event);
            gate.statuses.push(event_status);
        }
        if attempts <= gate.turn_away + gate.lose_answers {
            return (StatusCode::OK, "{\"accepted\": ").into_response();
        }
        let status = if receipts.is_empty() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::ACCEPTED };
        let answer = json!({"accepted": receipts.len(), "receipts": receipts, "errors": errors});
        (status, answer.to_string()).into_response()
    })
}

async fn get_receipts(State(gate): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let url = Url::parse(&format!("http://gate/?{}", query.unwrap_or_default())).ok();
    let ids = url.and_then(|url| url.query_pairs().find(|(name, _)| name == "ids").map(|(_, ids)| ids.into_owned()));
    let ids = ids.unwrap_or_default();
    let ids: Vec<&str> = ids.split(',').collect();
    with(&gate, |gate| {
        gate.look_requests += 1;
        if ids.len() > 100 {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let mut items = Vec::new();
        for id in ids {
            gate.looks += 1;
            let offset = id.strip_prefix("continent/0/").and_then(|offset| offset.parse::<usize>().ok());
            match offset.and_then(|offset| gate.statuses.get(offset)) {
                Some(event_status) if gate.looks > gate.pending_looks => items.push(event_status.clone()),
                Some(_) => items.push(json!({"status": "pending"})),
                None => return StatusCode::NOT_FOUND.into_response(),
            }
        }
        json!({"items": items, "next": null}).to_string().into_response()
    })
}

/// Short delays, so that the tests are quick.
const PATIENCE: Patience = Patience {
    first_pause: Duration::ZERO,
    longest_pause: Duration::ZERO,
    repeat_for: Duration::from_secs(60),
    look_every: Duration::from_millis(1),
    waiting_for: Duration::from_millis(50),
    pending_for: Duration::from_secs(60),
};

async fn serve(gate: &Shared) -> Option<GatewayClient> {
    let router = Router::new()
        .route("/events/continent", post(post_events))
        .route("/events/forbidden", post(|_: Bytes| async { StatusCode::FORBIDDEN }))
        .route("/streams/continent", get(|| async { "{}" }))
        .route("/continents", get(|| async { json!({"items": [{"name": "Asia"}], "next": null}).to_string() }))
        .route("/receipts", get(get_receipts))
        .with_state(Arc::clone(gate));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.ok()?;
    let url: Url = format!("http://{}", listener.local_addr().ok()?).parse().ok()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    GatewayClient::new(url, "ada:secret".parse().ok(), PATIENCE).ok()
}

fn contract() -> Arc<Contract> {
    match Registry::load(None).ok().and_then(|registry| registry.stream("continent").cloned()) {
        Some(contract) => contract,
        None => panic!("no stream continent"),
    }
}

fn random_source(count: Option<u64>) -> EventSource {
    let contract = contract();
    let events = RandomEvents::new(Arc::clone(&contract), Clock::system());
    EventSource::Random(Box::new(Random { contract, events, rng: rand::make_rng(), left: count, made: 0 }))
}

async fn sent_with(
    patience: Patience,
    stream: &str,
    gate: Gate,
    source: EventSource,
    lanes: Lanes,
) -> (RunResult, Shared) {
    let stop = gate.stop.clone().unwrap_or_default();
    let gate = Arc::new(Mutex::new(gate));
    let Some(mut gateway) = serve(&gate).await else { panic!("the gateway cannot be served") };
    gateway.patience = patience;
    let (gateway, stream) = (Arc::new(gateway), stream.to_owned());
    let plan = SendPlan { gateway, stream, source, lanes, per_second: None, flush_after: None, origin: "line" };
    (run(plan, &mut ProgressDisplay::new(None, Instant::now()), &stop).await, gate)
}

async fn sent(gate: Gate, source: EventSource, lanes: Lanes) -> (RunResult, Shared) {
    sent_with(PATIENCE, "continent", gate, source, lanes).await
}

fn file_source(text: &str) -> EventSource {
    let file = tempfile::NamedTempFile::new().and_then(|file| std::fs::write(file.path(), text).map(|()| file));
    match file.as_ref().ok().and_then(|file| lines(&contract(), file.path()).ok()) {
        Some(lines) => EventSource::Lines(lines),
        None => panic!("no file"),
    }
}

async fn sent_file(gate: Gate, text: &str) -> (RunResult, Shared) {
    sent(gate, file_source(text), Lanes::new(1, 10_000)).await
}

/// Returns each reason with its count and sample.
fn counts(reasons: &Reasons) -> Vec<(&str, u64, Option<&str>)> {
    reasons.by_count().into_iter().map(|(reason, group)| (reason, group.count, group.sample.as_deref())).collect()
}

#[tokio::test]
async fn every_event_is_followed_until_it_is_decided_although_the_gateway_first_turns_batches_away() {
    let gate = Gate { turn_away: 2, pending_looks: 2, ..Gate::default() };
    let (outcome, gate) = sent(gate, random_source(Some(1_000)), Lanes::new(4, 100)).await;
    let tally = &outcome.tally;
    let (written, duplicate, rejected) = (tally.written, tally.duplicate, tally.rejected.count());
    assert_eq!((tally.produced, tally.accepted, tally.refused.count(), duplicate), (1_000, 1_000, 0, 0));
    assert_eq!(written + rejected, 1_000);
    assert!(written > 990, "only {written} events were written");
    assert_eq!(tally.requests, 3 * (tally.requests - tally.repeated));
    assert_eq!(outcome.is_success(), rejected == 0, "{outcome:?}");
    with(&gate, |gate| {
        assert_eq!(gate.events.len(), 1_000);
        let basic = base64_simd::STANDARD.encode_to_string("ada:secret");
        assert_eq!(gate.authorization, BTreeSet::from([format!("Basic {basic}")]));
    });
}

#[tokio::test]
async fn if_nothing_answers_the_error_is_one_line_that_ends_with_the_flag_for_another_address() {
    // The listener is dropped at once, so nothing listens on its port.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = Url::parse(&format!("http://{unused}")).unwrap();
    let gateway = GatewayClient::new(to, None, PATIENCE).unwrap();
    let error = gateway.check("continent").await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot connect to http://{unused}/: ")), "{error}");
    assert!(error.ends_with("Name another address with --to URL") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn receipts_are_looked_up_in_batches() {
    let text: String = (0..2_000).map(|number| format!("{{\"name\": \"Continent {number}\"}}\n")).collect();
    let (outcome, gate) = sent_file(Gate::default(), &text).await;
    assert_eq!(outcome.tally.written, 2_000);
    // The first event is looked up alone, and then the other events a hundred at a time.
    with(&gate, |gate| assert_eq!((gate.looks, gate.look_requests), (2_000, 1 + 20)));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_counted_once() {
    let gate = Gate { lose_answers: 1, ..Gate::default() };
    let (outcome, gate) = sent(gate, random_source(Some(50)), Lanes::new(1, 100)).await;
    let tally = &outcome.tally;
    assert_eq!((tally.produced, tally.accepted, tally.duplicate, tally.repeated), (50, 50, 50, 1));
    assert!(outcome.is_success(), "{outcome:?}");
    assert_eq!(with(&gate, |gate| gate.keys.len()), 1);
}

#[tokio::test]
async fn all_valid_lines_are_sent_and_each_invalid_line_is_refused_with_a_reason() {
    let text = "{\"name\": \"Asia\"}\nnot json\n\n{\"name\": \"\"}\n{\"name\": \"Asia\"}\n{\"name\": \"Europe\"}";
    let (outcome, gate) = sent_file(Gate::default(), text).await;
    let tally = &outcome.tally;
    assert_eq!((tally.produced, tally.accepted, tally.written), (5, 3, 2));
    assert_eq!(counts(&tally.rejected), [("already exists", 1, Some("/receipts/continent/0/1"))]);
    let refused = counts(&tally.refused);
    assert_eq!(refused[0], ("/name: is empty", 1, Some("line 4")));
    assert!(refused[1].0.starts_with("not JSON") && refused[1].2 == Some("line 2"), "{refused:?}");
    assert!(!outcome.is_success(), "{outcome:?}");
    let names = with(&gate, |gate| gate.events.iter().map(|event| event["name"].clone()).collect::<Vec<_>>());
    assert_eq!(names, ["Asia", "Asia", "Europe"]);
}

#[tokio::test]
async fn a_file_without_any_valid_event_is_refused_as_a_whole() {
    let (outcome, _) = sent_file(Gate::default(), "{\"name\": \"\"}\n").await;
    assert_eq!(counts(&outcome.tally.refused), [("/name: is empty", 1, Some("line 1"))]);
    assert!(!outcome.is_success());
    assert_eq!(outcome.tally.accepted, 0);
}

#[tokio::test]
async fn a_run_that_ends_while_events_still_wait_for_their_parents_is_not_a_success() {
    let (outcome, _) = sent_file(Gate::default(), "{\"name\": \"waits\"}\n{\"name\": \"Asia\"}\n").await;
    assert_eq!((outcome.waiting, outcome.pending.len(), outcome.tally.written), (1, 0, 1));
    assert!(!outcome.is_success());
}

#[tokio::test]
async fn a_run_names_the_receipt_that_stayed_pending_and_is_not_a_success() {
    let patience = Patience { pending_for: Duration::from_millis(50), ..PATIENCE };
    let source = file_source("{\"name\": \"Asia\"}\n{\"name\": \"lost\"}\n");
    let (outcome, _) = sent_with(patience, "continent", Gate::default(), source, Lanes::new(1, 10)).await;
    let pending: Vec<String> = outcome.pending.iter().map(ToString::to_string).collect();
    assert_eq!((pending, outcome.tally.written), (vec!["continent/0/1".to_owned()], 1));
    assert!(!outcome.is_success());
}

#[tokio::test]
async fn after_a_stop_no_more_events_are_sent_and_the_sent_events_are_followed() {
    let gate = Gate { stop: Some(Stop::default()), pending_looks: 1, ..Gate::default() };
    let (outcome, gate) = sent(gate, random_source(None), Lanes::new(2, 10)).await;
    let tally = &outcome.tally;
    assert_eq!(tally.accepted, with(&gate, |gate| gate.events.len() as u64));
    assert!((1..=40).contains(&tally.accepted), "{}", tally.accepted);
    assert_eq!(outcome.is_success(), tally.rejected.count() == 0, "{outcome:?}");
}

#[tokio::test]
async fn a_run_ends_when_the_gateway_forbids_the_sender_to_post() {
    let (outcome, _) = sent_with(PATIENCE, "forbidden", Gate::default(), random_source(None), Lanes::new(1, 10)).await;
    assert_eq!(outcome.error.as_deref(), Some("403 Forbidden"));
    assert_eq!(outcome.tally.accepted, 0);
    assert!(!outcome.is_success());
}

#[tokio::test]
async fn a_batch_is_given_up_when_the_gateway_turns_it_away_for_too_long() {
    let patience = Patience { repeat_for: Duration::from_millis(20), ..PATIENCE };
    let gate = Gate { turn_away: usize::MAX, ..Gate::default() };
    let (outcome, _) = sent_with(patience, "continent", gate, random_source(Some(5)), Lanes::new(1, 10)).await;
    let expected = [("503 Temporarily unavailable", 5, Some("line 1"))];
    assert_eq!(counts(&outcome.tally.unanswered), expected);
    assert!(!outcome.is_success());
}

#[tokio::test]
async fn the_gateway_is_asked_for_the_stream_and_for_the_names_of_the_parents() {
    let gate = Arc::new(Mutex::new(Gate::default()));
    let Some(gateway) = serve(&gate).await else { panic!("the gateway cannot be served") };
    assert!(gateway.check("continent").await.is_ok());
    let refusal = gateway.check("none").await.map_err(|error| error.to_string());
    assert!(refusal.is_err_and(|error| error.ends_with("answered: 404 Not Found")));
    assert_eq!(gateway.names("continents", "name").await, ["Asia"]);
    assert!(gateway.names("none", "name").await.is_empty());
}

#[test]
fn an_address_that_cannot_be_sent_to_is_refused_with_the_reason() {
    let refusal = |url: &str| {
        let url: Url = url.parse().ok()?;
        GatewayClient::new(url, None, PATIENCE).err().map(|error| error.to_string())
    };
    assert!(refusal("https://example.org").is_some_and(|error| error.contains("no TLS")));
    assert!(refusal("ftp://example.org").is_some_and(|error| error.contains("is not a valid address")));
    assert_eq!(refusal("http://example.org/stage"), None);
}

#[test]
fn the_parents_of_cities_are_looked_up_in_the_list_of_countries() {
    let Ok(registry) = Registry::load(None) else { panic!("no contracts") };
    let parent_of = |stream: &str| registry.stream(stream).and_then(|contract| parent(contract, &registry));
    assert_eq!(parent_of("city"), Some(("country", "countries", "name")));
    assert_eq!(parent_of("continent"), None);
    assert_eq!(parent_of("route"), None);
}

/// Reads the events of an example file, and checks them against their contract.
fn example(stream: &str, file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/geonames").join(file);
    let contract = Registry::load(None).ok().and_then(|registry| registry.stream(stream).cloned());
    let lines = contract.as_ref().and_then(|contract| lines(contract, &path).ok());
    let (Some(contract), Some(lines)) = (contract, lines) else { panic!("{}", path.display()) };
    let (mut source, mut events) = (EventSource::Lines(lines), Vec::new());
    loop {
        match source.next() {
            Ok(source::Next::Event { text, origin, .. }) => {
                let event: Value = serde_json::from_slice(&text).unwrap_or_default();
                assert_eq!(contract.check(&text, &event, None, &mut Vec::new()), Ok(()), "{file}, line {origin}");
                events.push(event);
            }
            Ok(source::Next::End) => return events,
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn the_geonames_files_match_their_readme() {
    let continents = example("continent", "continents.ndjson");
    let countries = example("country", "countries.ndjson");
    let cities = example("city", "cities.ndjson");
    let of = |events: &[Value], member: &str| -> BTreeSet<String> {
        events.iter().filter_map(|event| event[member].as_str()).map(str::to_owned).collect()
    };
    assert_eq!((continents.len(), countries.len(), cities.len()), (7, 252, 34_006));
    assert_eq!((of(&continents, "name").len(), of(&countries, "name").len()), (7, 252));
    assert!(of(&countries, "continent").is_subset(&of(&continents, "name")));
    assert!(of(&cities, "country").is_subset(&of(&countries, "name")));
    assert_eq!(of(&countries, "name").difference(&of(&cities, "country")).count(), 8);
    let mut by_place: HashMap<(&str, &str), usize> = HashMap::new();
    for city in &cities {
        *by_place.entry((city["country"].as_str().unwrap_or(""), city["name"].as_str().unwrap_or(""))).or_default() +=
            1;
    }
    assert_eq!(by_place.len(), 32_966);
    assert_eq!(by_place.values().filter(|cities| **cities > 1).count(), 815);
    assert_eq!(by_place.get(&("United States", "Springfield")), Some(&8));
}
