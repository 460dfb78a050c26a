//! How long functions take from the start of their process: to their first request for an invocation, and to their
//! first answer - beside a hello world, and a bare function that does one query and one acknowledged send. Release
//! binaries, in turns, so that a machine's moods strike all alike; the servers are warm and nearby.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::Origin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, IdentitySettings, make_admin};
use shared::kafka::{KafkaSettings, topics};

use crate::CommandError;
use crate::lambda::{Answer, Lambda, Plan, build};
use crate::servers::RunningServers;
use crate::terminal::say;

const ROUNDS: usize = 20;
/// `local` among them, so that they share what cargo has built for it.
const PACKAGES: [&str; 6] = ["local", "consume", "ingest", "report", "users", "baseline"];
const USER: &str = "cold-start";
const PASSWORD: &str = "correct horse battery";
const EVENT: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

/// A function, and what was measured of it.
struct Measured {
    plan: Plan,
    /// What it is asked first, if it is asked.
    event: Option<Bytes>,
    ready: Vec<Duration>,
    answered: Vec<Duration>,
}

/// Measures and prints the times.
pub(super) async fn measure(servers: &RunningServers, folder: &Path) -> Result<(), CommandError> {
    let arguments: Vec<&str> = PACKAGES.iter().flat_map(|package| ["--package", package]).collect();
    let binaries = build(&[&arguments[..], &["--release"]].concat()).await?;
    let token_key = "5a".repeat(32);
    let token = log_in(servers, &token_key).await?;
    let environment = vec![
        ("DATABASE_URL", servers.database_url.clone()),
        ("KAFKA_BOOTSTRAP_SERVERS", servers.bootstrap_servers.clone()),
        ("TOKEN_KEY", token_key),
        ("TOPIC", "routes".to_owned()),
        ("RUST_LOG", "info".to_owned()),
    ];
    let event = Bytes::from(event(&token).to_string());
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

/// Makes a user; answers a token.
async fn log_in(servers: &RunningServers, token_key: &str) -> Result<String, CommandError> {
    let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
    topics::ensure(&kafka, &Registry::load(None)?).await?;
    let pool = database::connect(&servers.database_url, 1)?;
    database::migrate(&pool, None).await?;
    let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
    let settings = IdentitySettings::read(|name| (name == "TOKEN_KEY").then(|| token_key.to_owned()))?;
    let identity = Identity::new(pool, Clock::system(), &settings, None);
    let logged_in = identity.log_in(&name, Password::given(PASSWORD), &Origin::default()).await;
    Ok(logged_in.map_err(|error| failed(&error))?.0)
}

/// `POST /events/route`, as API Gateway has it.
fn event(token: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/events/route",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": format!("Bearer {token}")},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "http": {"method": "POST", "path": "/events/route", "protocol": "HTTP/1.1", "sourceIp": "192.168.0.1", "userAgent": "bench"},
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "body": EVENT,
        "isBase64Encoded": false,
    })
}

impl Measured {
    /// Starts it once.
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
        let [sandbox] = lambda.sandboxes() else { return Err(failed("one sandbox was asked for".to_owned())) };
        self.ready.push(sandbox.ready_after().await.ok_or_else(|| failed("it did not start".to_owned()))?);
        Ok(lambda.stop().await?)
    }
}

fn report(functions: &mut [Measured]) -> Result<(), CommandError> {
    say(format_args!("From the start of the process, medians of {ROUNDS}, in milliseconds"));
    say("");
    say("| function | MB | to the first `next` | to the first answer | of the bare function's |");
    say("| --- | --- | --- | --- | --- |");
    let bare = functions.iter_mut().find(|function| function.plan.name == "bare");
    let bare_ms = bare.and_then(|bare| median_ms(&mut bare.answered));
    for function in functions {
        let binary = &function.plan.binary;
        let bytes = std::fs::metadata(binary).map_err(|error| CommandError::Bench(error.to_string()))?.len();
        #[expect(clippy::cast_precision_loss, reason = "a binary is small")]
        let megabytes = bytes as f64 / 1e6;
        let (ready_ms, answered_ms) = (median_ms(&mut function.ready), median_ms(&mut function.answered));
        let share = answered_ms.zip(bare_ms).map(|(answered, bare)| answered / bare);
        let cell = |figure: Option<f64>, digits| figure.map_or(String::new(), |figure| format!("{figure:.digits$}"));
        say(format_args!(
            "| `{}` | {megabytes:.1} | {} | {} | {} |",
            function.plan.name,
            cell(ready_ms, 1),
            cell(answered_ms, 1),
            cell(share, 2)
        ));
    }
    Ok(())
}

fn median_ms(durations: &mut [Duration]) -> Option<f64> {
    durations.sort();
    durations.get(durations.len() / 2).map(|median| median.as_secs_f64() * 1e3)
}
