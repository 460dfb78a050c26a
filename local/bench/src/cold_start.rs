//! Measures how long a function takes from the start of its process until it first asks Lambda for an invocation, and
//! until its first answer. There are two baselines: a hello-world function, and a bare function, which makes one query
//! and one acknowledged send. All binaries are release builds. The functions alternate, so that variations in the
//! machine's speed affect all of them alike. Kafka and PostgreSQL are warm, and run on the same machine.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Bytes;

use crate::invocation::{World, request};
use crate::table::{Cell, Table};
use local::CommandError;
use local::lambda::{Answer, Lambda, Plan};
use local::servers::RunningServers;
use serde_json::Value;

const ROUNDS: usize = 100;
const EVENT: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

/// A function and its measurements.
struct Measured {
    plan: Plan,
    /// The event of the first invocation. `None` if the function is only started.
    event: Option<Bytes>,
    ready: Vec<Duration>,
    answered: Vec<Duration>,
}

/// Measures and prints the start times. Returns the table as JSON.
pub(crate) async fn measure(servers: &RunningServers, folder: &Path) -> Result<Value, CommandError> {
    let World { binaries, environment, token, .. } = World::prepare(servers).await?;
    let event = request(&token, "POST", "/events/route", EVENT);
    let function = |name: &'static str, event: Option<&Bytes>| Measured {
        plan: Plan {
            name,
            binary: binaries.join(name),
            environment: environment.clone(),
            timeout: Duration::from_secs(30),
            freezes: false,
            folder: folder.to_owned(),
        },
        event: event.cloned(),
        ready: Vec::new(),
        answered: Vec::new(),
    };
    let mut functions = [
        function("hello", Some(&event)),
        function("bare", Some(&event)),
        function("ingest", Some(&event)),
        function("consume", None),
        function("console", None),
        function("users", None),
        function("report", None),
    ];
    for _ in 0..ROUNDS {
        for function in &mut functions {
            function.start().await?;
        }
    }
    report(&mut functions)
}

impl Measured {
    /// Starts the function once, and records its times.
    async fn start(&mut self) -> Result<(), CommandError> {
        let failed = |what: String| CommandError::Bench(format!("{}: {what}", self.plan.name));
        let begun = Instant::now();
        let lambda = Lambda::start(self.plan.clone(), 1).await?;
        if let Some(event) = &self.event {
            match lambda.invoke(event.clone()).await {
                Answer::Response(_) => self.answered.push(begun.elapsed()),
                Answer::Error(error) => return Err(failed(String::from_utf8_lossy(&error).into_owned())),
            }
        }
        let [sandbox] = lambda.sandboxes() else { return Err(failed("expected exactly one sandbox".to_owned())) };
        self.ready.push(sandbox.ready_after().await.ok_or_else(|| failed("the function did not start".to_owned()))?);
        Ok(lambda.stop().await?)
    }
}

fn report(functions: &mut [Measured]) -> Result<Value, CommandError> {
    let title = format!("Time from process start in milliseconds (median of {ROUNDS})");
    let mut table = Table::new(
        title,
        &[
            "function",
            "MB",
            "to the first request for an invocation",
            "to the first answer",
            "relative to the bare function",
        ],
    );
    let bare = functions.iter_mut().find(|function| function.plan.name == "bare");
    let bare_ms = bare.and_then(|bare| median_ms(&mut bare.answered));
    for function in functions {
        let binary = &function.plan.binary;
        let bytes = std::fs::metadata(binary).map_err(|error| CommandError::Bench(error.to_string()))?.len();
        #[expect(clippy::cast_precision_loss, reason = "a binary is small")]
        let megabytes = bytes as f64 / 1e6;
        let (ready_ms, answered_ms) = (median_ms(&mut function.ready), median_ms(&mut function.answered));
        let share = answered_ms.zip(bare_ms).map(|(answered, bare)| answered / bare);
        let cell = |figure: Option<f64>, digits| figure.map_or(Cell::Empty, |figure| Cell::Number(figure, digits));
        table.row(&[
            Cell::Text(format!("`{}`", function.plan.name)),
            Cell::Number(megabytes, 1),
            cell(ready_ms, 1),
            cell(answered_ms, 1),
            cell(share, 2),
        ]);
    }
    Ok(table.end())
}

fn median_ms(durations: &mut [Duration]) -> Option<f64> {
    durations.sort();
    durations.get(durations.len() / 2).map(|median| median.as_secs_f64() * 1e3)
}
