//! Measures the CPU time and memory that invocations of the functions take, and derives the cost of a million events.
//! The functions are warm release builds, and the prices are AWS's list prices.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use base64_simd::STANDARD;
use random_events::RandomEvents;
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::process::clock::Clock;

use crate::invocation::{PASSWORD, USER, World, request};
use crate::process::{peak_bytes, processor_time};
use crate::table::{Cell, Table};
use local::CommandError;
use local::lambda::{Answer, Lambda, Plan};
use local::servers::RunningServers;
use local::template::{self, Template};

/// The number of invocations before the measurement begins.
const WARM_UP: usize = 5;
/// The prices, in US dollars, of a GB-second on arm64, of a million invocations, and of a million requests to an HTTP
/// API, as listed for us-east-1 in November 2026. <https://aws.amazon.com/lambda/pricing/>,
/// <https://aws.amazon.com/api-gateway/pricing/>
const GB_SECOND: f64 = 0.000_013_333_4;
const MILLION_INVOCATIONS: f64 = 0.20;
const MILLION_REQUESTS: f64 = 1.00;
/// The memory size at which Lambda allots one full CPU.
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MB_OF_A_PROCESSOR: f64 = 1_769.0;

/// An invocation to measure.
struct Case {
    function: &'static str,
    what: &'static str,
    /// The number of events per invocation. A request without events counts as one event.
    events: u32,
    is_request: bool,
    payloads: Vec<Bytes>,
}

/// Measures and prints CPU time, memory and cost.
pub(crate) async fn measure(servers: &RunningServers, folder: &Path) -> Result<Value, CommandError> {
    let World { binaries, environment, token, pool } = World::prepare(servers).await?;
    let template = Template::read(&template::own_path())?;
    let title = format!(
        "Warm invocations, and the cost of a million events in US dollars, at these prices: {GB_SECOND} per GB-second, \
         {MILLION_INVOCATIONS} per million invocations, {MILLION_REQUESTS} per million requests to the HTTP API"
    );
    let mut table = Table::new(
        title,
        &[
            "function",
            "invocation",
            "CPU ms",
            "elapsed ms",
            "peak MB",
            "configured MB",
            "billed ms",
            "$ per million events",
        ],
    );
    for case in cases(&token)? {
        let plan = Plan {
            name: case.function,
            binary: binaries.join(case.function),
            environment: environment.clone(),
            timeout: Duration::from_secs(60),
            freezes: false,
            folder: folder.to_owned(),
        };
        let memory_mb = memory_mb(&template, case.function)?;
        let usage = case.run(plan).await?;
        // With less than one full CPU, a function needs proportionally more time for the same work.
        let billed_ms = (usage.elapsed_ms - usage.processor_ms).max(0.0)
            + usage.processor_ms * (MB_OF_A_PROCESSOR / memory_mb).max(1.0);
        let invocations = 1e6 / f64::from(case.events);
        let request = if case.is_request { MILLION_REQUESTS } else { 0.0 };
        let dollars = invocations * billed_ms / 1e3 * memory_mb / 1_024.0 * GB_SECOND
            + invocations / 1e6 * (MILLION_INVOCATIONS + request);
        table.row(&[
            Cell::Text(format!("`{}`", case.function)),
            Cell::text(case.what),
            Cell::Number(usage.processor_ms, 2),
            Cell::Number(usage.elapsed_ms, 2),
            Cell::Number(usage.peak_mb, 0),
            Cell::Number(memory_mb, 0),
            Cell::Number(billed_ms, 1),
            Cell::Number(dollars, 3),
        ]);
    }
    pool.close().await;
    Ok(table.end())
}

fn cases(token: &str) -> Result<Vec<Case>, CommandError> {
    const TIMES: usize = 200;
    let registry = Registry::load(None)?;
    let contract =
        registry.stream("user-event").ok_or_else(|| CommandError::Bench("no stream user-event".to_owned()))?;
    let mut random = RandomEvents::new(Arc::clone(contract), Clock::system());
    let mut events = |n: usize| -> Result<Vec<Value>, CommandError> {
        let event = |_| random.event(&mut rand::rng()).map_err(|error| CommandError::Bench(error.to_string()));
        (0..n).map(event).collect()
    };
    let mut requests = |size: usize, times: usize| -> Result<Vec<Bytes>, CommandError> {
        let body = |_| Ok(request(token, "POST", "/events/user-event", &Value::from(events(size)?).to_string()));
        (0..times + WARM_UP).map(body).collect()
    };
    let [one, hundred, most] = [requests(1, TIMES)?, requests(100, TIMES)?, requests(10_000, 10)?];
    let credentials = json!({"user": USER, "pass": PASSWORD}).to_string();
    let log_in = request(token, "POST", "/login", &credentials);
    let report = request(token, "GET", "/report", "");
    let mut next_offset = 0;
    let mut batches = |size: usize, times: usize| -> Result<Vec<Bytes>, CommandError> {
        let batch = |_| {
            let batch = batch(next_offset, &events(size)?);
            next_offset += size;
            Ok(batch)
        };
        (0..times + WARM_UP).map(batch).collect()
    };
    let case = |function, what, events, is_request, payloads| Case { function, what, events, is_request, payloads };
    Ok(vec![
        case("ingest", "one event", 1, true, one),
        case("ingest", "100 events", 100, true, hundred),
        case("ingest", "10,000 events", 10_000, true, most),
        case("consume", "a batch of 1", 1, false, batches(1, TIMES)?),
        case("consume", "a batch of 100", 100, false, batches(100, TIMES)?),
        case("consume", "a batch of 10,000", 10_000, false, batches(10_000, 20)?),
        case("users", "a login", 1, true, vec![log_in; 50 + WARM_UP]),
        case("report", "a report", 1, true, vec![report; TIMES + WARM_UP]),
    ])
}

/// Builds a batch of records in the form that the event source mapping sends.
fn batch(first_offset: usize, events: &[Value]) -> Bytes {
    let record = |(index, event): (usize, &Value)| {
        json!({
            "topic": "user-events",
            "partition": 0,
            "offset": first_offset + index,
            "timestamp": 1_700_000_000_000_u64,
            "timestampType": "CREATE_TIME",
            "value": STANDARD.encode_to_string(event.to_string()),
            "headers": [],
        })
    };
    let records: Vec<Value> = events.iter().enumerate().map(record).collect();
    let event =
        json!({"eventSource": "aws:kafka", "bootstrapServers": "b-1:9098", "records": {"user-events-0": records}});
    Bytes::from(event.to_string())
}

/// The average CPU time and duration of an invocation, and the peak memory of the process.
struct Usage {
    processor_ms: f64,
    elapsed_ms: f64,
    peak_mb: f64,
}

impl Case {
    async fn run(&self, plan: Plan) -> Result<Usage, CommandError> {
        let failed = |what: String| CommandError::Bench(format!("{} {}: {what}", self.function, self.what));
        let lambda = Lambda::start(plan, 1).await?;
        let [sandbox] = lambda.sandboxes() else { return Err(failed("expected exactly one sandbox".to_owned())) };
        let pid = sandbox.first_process().ok_or_else(|| failed("the function did not start".to_owned()))?;
        let mut before = (Duration::ZERO, Instant::now());
        let times = self.payloads.len() - WARM_UP;
        for (number, payload) in self.payloads.iter().enumerate() {
            if number == WARM_UP {
                before = (processor_time(pid)?, Instant::now());
            }
            match lambda.invoke(payload.clone()).await {
                Answer::Response(answer) if is_well(&answer) => {}
                Answer::Response(answer) | Answer::Error(answer) => {
                    let mut answer = String::from_utf8_lossy(&answer).into_owned();
                    answer.truncate(500);
                    return Err(CommandError::Bench(format!("{} {}: {answer}", self.function, self.what)));
                }
            }
        }
        let elapsed = before.1.elapsed();
        let processor = processor_time(pid)? - before.0;
        #[expect(clippy::cast_precision_loss, reason = "no function has petabytes")]
        let peak_mb = peak_bytes(pid)? as f64 / 1_048_576.0;
        lambda.stop().await?;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred invocations")]
        let each_ms = |time: Duration| time.as_secs_f64() * 1e3 / times as f64;
        Ok(Usage { processor_ms: each_ms(processor), elapsed_ms: each_ms(elapsed), peak_mb })
    }
}

/// Returns whether the answer is a success. Only answers to API Gateway have a status. Other answers are successes.
fn is_well(answer: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    answer.get("statusCode").and_then(Value::as_u64).is_none_or(|status| status < 300)
}

/// Returns the memory size that template.yaml configures for a function.
fn memory_mb(template: &Template, function: &str) -> Result<f64, CommandError> {
    let is_it =
        |resource: &serde_norway::Value| resource["Metadata"]["BuildProperties"]["Binary"].as_str() == Some(function);
    let resource = template.resources().find(|(_, resource)| is_it(resource));
    resource
        .and_then(|(_, resource)| resource["Properties"]["MemorySize"].as_f64())
        .ok_or_else(|| CommandError::Bench(format!("template.yaml sets no memory size for {function}")))
}
