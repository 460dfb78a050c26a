//! The requests to the routes, with realistic and with worst-case parameters.

use serde_json::{Value, json};

use super::client::Request;
use super::sample::{Letter, Sample};

/// The number of requests per round for a variant that does not change letters.
const READS: usize = 60;
/// The number of requests for a variant that changes letters, in all rounds together. The variant with 100 letters per
/// request has fewer.
const CHANGES: usize = 40;
/// The number of replay runs in the filled database. The next replay run gets the next id.
const FINISHED_RUNS: usize = 10_000;

/// A route with some of its parameters.
pub(super) struct Variant {
    pub(super) route: &'static str,
    /// A description of the parameters.
    pub(super) with: &'static str,
    /// The requests, each with different values.
    pub(super) requests: Vec<Request>,
    /// Whether each request can be sent only once.
    is_once: bool,
}

impl Variant {
    /// Returns the number of requests that are counted. One uncounted request comes before them.
    pub(super) fn times(&self, rounds: u32) -> usize {
        let rounds = usize::try_from(rounds).unwrap_or(1);
        if self.is_once { self.requests.len() - 1 } else { READS * rounds }
    }
}

/// Returns all variants. The variants that change letters come last.
pub(super) fn variants(sample: &Sample) -> Vec<Variant> {
    let mut variants = lists(sample);
    variants.extend(groups(sample));
    variants.extend(counts(sample));
    variants.extend(receipts(sample));
    variants.extend(others());
    variants.extend(changes(sample));
    variants
}

fn reads(route: &'static str, with: &'static str, requests: impl IntoIterator<Item = Request>) -> Variant {
    Variant { route, with, requests: requests.into_iter().collect(), is_once: false }
}

/// Returns requests for one path, each with parameters from one of the letters.
fn of_letters<'l, const N: usize>(
    path: &str,
    letters: &'l [Letter],
    query: impl Fn(&'l Letter) -> [(&'static str, &'l str); N],
) -> Vec<Request> {
    letters.iter().map(|letter| Request::get(path, &query(letter))).collect()
}

/// Four texts: one that occurs in few letters, one in many, one in half of all letters, and one in none.
const CONTAINED: [(&str, &str); 4] = [
    ("contains= of 20 letters", "\"userID\": 4711,"),
    ("contains= of 150,000 letters", "Maryland"),
    ("contains= of 500,000 letters", "user"),
    ("contains= of no letter", "there is no such text"),
];

fn lists(sample: &Sample) -> Vec<Variant> {
    const ROUTE: &str = "GET /dead-letters";
    let Sample { open, replayed, .. } = sample;
    let list = |with, query: &[(&'static str, &str)]| reads(ROUTE, with, [Request::get("/dead-letters", query)]);
    let mut variants = vec![
        list("the first page", &[]),
        reads(ROUTE, "after=", of_letters("/dead-letters", open, |l| [("after", l.cursor.as_str())])),
        reads(
            ROUTE,
            "after= limit=1000",
            of_letters("/dead-letters", open, |l| [("after", l.cursor.as_str()), ("limit", "1000")]),
        ),
        reads(
            ROUTE,
            "topic= after=",
            of_letters("/dead-letters", open, |l| [("topic", l.topic.as_str()), ("after", l.cursor.as_str())]),
        ),
        reads(ROUTE, "error_code=", of_letters("/dead-letters", open, |l| [("error_code", l.error_code.as_str())])),
        reads(
            ROUTE,
            "error_code= after= limit=1000",
            of_letters("/dead-letters", open, |l| {
                [("error_code", l.error_code.as_str()), ("after", l.cursor.as_str()), ("limit", "1000")]
            }),
        ),
        list("topic= error_code= of no letter", &[("topic", "routes"), ("error_code", "not_json")]),
        reads(ROUTE, "reason=", of_letters("/dead-letters", open, |l| [("reason", l.reason.as_str())])),
        reads(ROUTE, "reason= of a group", of_letters("/dead-letters", open, |l| [("reason", l.pattern.as_str())])),
        reads(
            ROUTE,
            "reason= topic= of no letter",
            of_letters("/dead-letters", open, |l| [("reason", l.reason.as_str()), ("topic", "continent")]),
        ),
        reads(
            ROUTE,
            "topic= error_code= reason= since= after=",
            of_letters("/dead-letters", open, |l| {
                [
                    ("topic", l.topic.as_str()),
                    ("error_code", l.error_code.as_str()),
                    ("reason", l.pattern.as_str()),
                    ("since", l.at.as_str()),
                    ("after", l.cursor.as_str()),
                ]
            }),
        ),
        reads(ROUTE, "since=", of_letters("/dead-letters", open, |l| [("since", l.at.as_str())])),
        reads(
            ROUTE,
            "topic= until=",
            of_letters("/dead-letters", open, |l| [("topic", l.topic.as_str()), ("until", l.at.as_str())]),
        ),
        reads(
            ROUTE,
            "status=replayed after=",
            of_letters("/dead-letters", replayed, |l| [("status", "replayed"), ("after", l.cursor.as_str())]),
        ),
        reads(
            ROUTE,
            "status=replayed after= limit=1000",
            of_letters("/dead-letters", replayed, |l| {
                [("status", "replayed"), ("after", l.cursor.as_str()), ("limit", "1000")]
            }),
        ),
        list("status=expired", &[("status", "expired")]),
        list("200 ids=", &[("ids", ids(open).as_str()), ("limit", "1000")]),
    ];
    variants.extend(CONTAINED.map(|(with, text)| list(with, &[("contains", text)])));
    variants.push(list("contains= of no letter, topic=", &[("contains", CONTAINED[3].1), ("topic", "routes")]));
    variants.push(reads(
        "GET /dead-letters/{id}",
        "open and replayed",
        open.iter()
            .zip(replayed)
            .flat_map(|(one, other)| [one, other])
            .map(|l| Request::get(format!("/dead-letters/{}", l.id), &[])),
    ));
    variants
}

fn ids(letters: &[Letter]) -> String {
    letters.iter().map(|letter| letter.id.to_string()).collect::<Vec<_>>().join(",")
}

fn groups(sample: &Sample) -> Vec<Variant> {
    const ROUTE: &str = "GET /dead-letters/groups";
    const PATH: &str = "/dead-letters/groups";
    let Sample { open, .. } = sample;
    let list = |with, query: &[(&'static str, &str)]| reads(ROUTE, with, [Request::get(PATH, query)]);
    let mut variants = vec![
        list("the first page", &[]),
        list("after=100", &[("after", "100")]),
        list("limit=1000", &[("limit", "1000")]),
        reads(
            ROUTE,
            "topic= error_code=",
            of_letters(PATH, open, |l| [("topic", l.topic.as_str()), ("error_code", l.error_code.as_str())]),
        ),
        reads(ROUTE, "reason=", of_letters(PATH, open, |l| [("reason", l.reason.as_str())])),
        reads(
            ROUTE,
            "reason= since=",
            of_letters(PATH, open, |l| [("reason", l.reason.as_str()), ("since", l.at.as_str())]),
        ),
        reads(ROUTE, "since=", of_letters(PATH, open, |l| [("since", l.at.as_str())])),
        reads(
            ROUTE,
            "since= until=",
            pairs(open).map(|(since, until)| Request::get(PATH, &[("since", since), ("until", until)])),
        ),
        list("status=replayed", &[("status", "replayed")]),
        list("200 ids=", &[("ids", ids(open).as_str())]),
    ];
    variants.extend(CONTAINED.map(|(with, text)| list(with, &[("contains", text)])));
    variants
}

/// Returns time ranges between pairs of letters.
fn pairs(letters: &[Letter]) -> impl Iterator<Item = (&str, &str)> {
    letters.chunks_exact(2).filter_map(|pair| match pair {
        [one, other] if one.at < other.at => Some((&*one.at, &*other.at)),
        [one, other] => Some((&*other.at, &*one.at)),
        _ => None,
    })
}

/// Returns requests for exact counts. A discard counts letters in the same way as a run of replays, so one variant with
/// a discard is enough.
fn counts(sample: &Sample) -> Vec<Variant> {
    const ROUTE: &str = "POST /dead-letters/replays, dry_run";
    let Sample { open, .. } = sample;
    let count = |filter: Value| Request::post("/dead-letters/replays", json!({"filter": filter, "dry_run": true}));
    let of_each = |with, filter: &dyn Fn(&Letter) -> Value| {
        reads(ROUTE, with, open.iter().map(|letter| count(filter(letter))).collect::<Vec<_>>())
    };
    let mut variants = vec![
        reads(ROUTE, "all", [count(json!({}))]),
        of_each("topic error_code", &|l| json!({"topic": l.topic, "error_code": l.error_code})),
        of_each("reason", &|l| json!({"reason": l.reason})),
        of_each("reason of a group", &|l| json!({"reason": l.pattern})),
        of_each("since", &|l| json!({"since": l.at})),
        of_each("topic until", &|l| json!({"topic": l.topic, "until": l.at})),
        of_each("reason since", &|l| json!({"reason": l.reason, "since": l.at})),
        of_each(
            "topic error_code reason until",
            &|l| json!({"topic": l.topic, "error_code": l.error_code, "reason": l.reason, "until": l.at}),
        ),
        reads(ROUTE, "since until", pairs(open).map(|(since, until)| count(json!({"since": since, "until": until})))),
        reads(ROUTE, "200 ids", [count(json!({"ids": open.iter().map(|l| l.id).collect::<Vec<_>>()}))]),
    ];
    variants.extend(CONTAINED.map(|(with, text)| reads(ROUTE, with, [count(json!({"contains": text}))])));
    variants.push(reads(
        "POST /dead-letters/discard, dry_run",
        "topic since",
        open.iter().map(|l| {
            Request::post(
                "/dead-letters/discard",
                json!({"filter": {"topic": l.topic, "since": l.at}, "dry_run": true}),
            )
        }),
    ));
    variants
}

fn receipts(sample: &Sample) -> Vec<Variant> {
    const ONE: &str = "GET /receipts/{topic}/{partition}/{offset}";
    const MANY: &str = "GET /receipts";
    let Sample { open, replayed, exceptions, .. } = sample;
    let place = |letter: &Letter| format!("{}/{}/{}", letter.topic, letter.partition, letter.offset);
    let open: Vec<String> = open.iter().map(place).collect();
    let replayed: Vec<String> = replayed.iter().map(place).collect();
    let written: Vec<String> = (0..200).map(|n| format!("routes/{}/{}", n % 4, 1_200_000 + n)).collect();
    let pending: Vec<String> = (0..200).map(|n| format!("routes/{}/{}", n % 4, 3_200_000 + n)).collect();
    let mut variants = Vec::new();
    for (one, many, places) in [
        ("written", "100 written", written),
        ("rejected", "100 rejected", open),
        ("replayed", "100 replayed", replayed),
        ("pending in a stalled partition", "100 pending in stalled partitions", pending),
        ("waiting, duplicate, superseded", "100 waiting, duplicate, superseded", exceptions.clone()),
    ] {
        variants.push(reads(ONE, one, places.iter().map(|place| Request::get(format!("/receipts/{place}"), &[]))));
        let ids = places.chunks(100).map(|places| places.join(","));
        variants.push(reads(MANY, many, ids.map(|ids| Request::get("/receipts", &[("ids", ids.as_str())]))));
    }
    variants
}

fn others() -> Vec<Variant> {
    let get = |route: &'static str, with, path: &str, query: &[(&'static str, &str)]| {
        reads(route, with, [Request::get(path, query)])
    };
    let mut variants = vec![
        get("GET /activity", "the last hour", "/activity", &[]),
        get("GET /activity", "minutes=1440", "/activity", &[("minutes", "1440")]),
        get("GET /audit", "the first page", "/audit", &[]),
        get("GET /audit", "after=250000 limit=1000", "/audit", &[("after", "250000"), ("limit", "1000")]),
        get("GET /dead-letters/replays", "the first page", "/dead-letters/replays", &[]),
        get(
            "GET /dead-letters/replays",
            "after= limit=1000",
            "/dead-letters/replays",
            &[("after", "5000"), ("limit", "1000")],
        ),
        get("GET /dead-letters/replays/{id}", "a finished one", "/dead-letters/replays/5000", &[]),
        get("GET /keys", "the first page", "/keys", &[]),
        get("GET /keys", "after=30000 limit=1000", "/keys", &[("after", "30000"), ("limit", "1000")]),
        get("GET /users", "the first page", "/users", &[]),
        get("GET /users", "after= limit=1000", "/users", &[("after", "user 15000"), ("limit", "1000")]),
        get("GET /blocked", "1,000 blocked users", "/blocked", &[]),
        get("GET /gaps", "after=10000 limit=1000", "/gaps", &[("after", "10000"), ("limit", "1000")]),
        get("GET /streams", "", "/streams", &[]),
        get("GET /streams/{stream}", "", "/streams/changes", &[]),
        get("GET /openapi.json", "", "/openapi.json", &[]),
        get("GET /health", "", "/health", &[]),
        get("GET /metrics", "", "/metrics", &[]),
        get("GET /countries", "", "/countries", &[]),
        get("GET /cities", "limit=1000", "/cities", &[("limit", "1000")]),
        get("GET /cities", "country=", "/cities", &[("country", "Country 17")]),
        get("GET /city", "", "/city", &[("country", "Country 17"), ("name", "City 10017")]),
        get("GET /report", "20,000 cities in four spellings", "/report", &[]),
        get("GET /report", "by=country", "/report", &[("by", "country")]),
    ];
    let event = json!({"userID": 5, "timestamp": 1_557_258_853.563, "coordinates": [52.3676, 4.9041]});
    variants.push(reads("POST /events/{stream}", "one event", [Request::post("/events/route", event)]));
    variants.push(reads("POST /submit/{n}", "10 events", [Request::post_nothing("/submit/10")]));
    variants
}

/// Returns the variants that change letters. Each of their requests can be sent only once.
fn changes(sample: &Sample) -> Vec<Variant> {
    let once = |route, with, requests: Vec<Request>| Variant { route, with, requests, is_once: true };
    let mut ids = sample.routes.iter();
    let mut next = || ids.by_ref().take(CHANGES + 1).copied().collect::<Vec<i64>>();
    let runs = |ids: Vec<i64>| ids.into_iter().map(|id| json!({"filter": {"ids": [id]}}));
    vec![
        once(
            "POST /dead-letters/{id}/replay",
            "a letter of mode `append`",
            next().into_iter().map(|id| Request::post_nothing(format!("/dead-letters/{id}/replay"))).collect(),
        ),
        once(
            "POST /dead-letters/discard",
            "one letter",
            next()
                .into_iter()
                .map(|id| Request::post("/dead-letters/discard", json!({"filter": {"ids": [id]}, "note": "bench"})))
                .collect(),
        ),
        once(
            "POST /dead-letters/replays",
            "one letter",
            runs(next()).map(|body| Request::post("/dead-letters/replays", body)).collect(),
        ),
        once(
            "POST /dead-letters/replays",
            "100 letters",
            sample
                .routes
                .rchunks(100)
                .take(CHANGES / 4)
                .map(|ids| Request::post("/dead-letters/replays", json!({"filter": {"ids": ids}})))
                .collect(),
        ),
        once(
            "POST /dead-letters/replays/{id}/cancel",
            "",
            (0..=CHANGES)
                .map(|n| Request::post_nothing(format!("/dead-letters/replays/{}/cancel", FINISHED_RUNS + 1 + n)))
                .collect(),
        ),
    ]
}
