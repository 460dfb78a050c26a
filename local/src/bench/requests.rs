//! What it costs to ask who it is: `POST /events/route` of one event to routes that ask nobody, with Basic credentials,
//! and with a token; in turns, so that a machine's moods strike all alike.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use ingest::Ingest;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::{Origin, serve};
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, make_admin};
use shared::kafka::{KafkaSettings, Producer, topics};
use shared::metrics::Metrics;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::CommandError;
use crate::environment::Environment;
use crate::servers::RunningServers;
use crate::terminal::say;

/// Requests at once.
const CLIENTS: usize = 16;
const ROUNDS: usize = 8;
const ROUND: Duration = Duration::from_secs(2);
const USER: &str = "bench";
const PASSWORD: &str = "correct horse battery";
const EVENT: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

/// Whom requests are sent to, and with what.
struct Way {
    name: &'static str,
    url: String,
    authorization: Option<String>,
    requests: u64,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

/// Measures and prints the rates.
pub(super) async fn measure(servers: &RunningServers) -> Result<(), CommandError> {
    let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
    let registry = Arc::new(Registry::load(None)?);
    topics::ensure(&kafka, &registry).await?;
    let pool = database::connect(&servers.database_url, 8)?;
    database::migrate(&pool, None).await?;
    let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;

    let identity = Identity::new(pool.clone(), Clock::system(), &Environment::default().identity()?, None);
    let logged_in = identity.log_in(&name, Password::given(PASSWORD), &Origin::default()).await;
    let (token, _) = logged_in.map_err(|error| failed(&error))?;
    let basic = base64_simd::STANDARD.encode_to_string(format!("{USER}:{PASSWORD}"));
    let ingest = || -> Result<Arc<Ingest>, CommandError> {
        let producer = Producer::new(&kafka)?;
        let wait = Duration::from_secs(3_600);
        let metrics = Metrics::default();
        Ok(Arc::new(Ingest::new(pool.clone(), Arc::clone(&registry), producer, Clock::system(), wait, metrics)))
    };
    let mut ways = [
        Way::serve("nobody is asked", ingest::routes_for_anyone(ingest()?), None).await?,
        Way::serve("Basic", ingest::routes(ingest()?, identity.clone()), Some(format!("Basic {basic}"))).await?,
        Way::serve("Bearer", ingest::routes(ingest()?, identity), Some(format!("Bearer {token}"))).await?,
    ];
    let client = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
    for way in &mut ways {
        way.run(&client).await?;
        way.requests = 0;
    }
    for _ in 0..ROUNDS {
        for way in &mut ways {
            way.run(&client).await?;
        }
    }
    let seconds = ROUND.as_secs_f64() * f64::from(u32::try_from(ROUNDS).unwrap_or(u32::MAX));
    say(format_args!(
        "POST /events/route of one event, {CLIENTS} at once; requests a second, and how many of the first"
    ));
    say("");
    say("| credentials | requests | of the first |");
    say("| --- | --- | --- |");
    for way in &ways {
        #[expect(clippy::cast_precision_loss, reason = "request counts are small")]
        let (rate, share) = (way.requests as f64 / seconds, way.requests as f64 / ways[0].requests as f64);
        say(format_args!("| {} | {rate:.0} | {share:.2} |", way.name));
    }
    pool.close().await;
    Ok(())
}

impl Way {
    async fn serve(name: &'static str, routes: Router, authorization: Option<String>) -> Result<Self, CommandError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(CommandError::Serve)?;
        let url = format!("http://{}/events/route", listener.local_addr().map_err(CommandError::Serve)?);
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, serve(routes)).into_future()));
        Ok(Self { name, url, authorization, requests: 0, _serving: serving })
    }

    /// Sends requests for the time of a round.
    async fn run(&mut self, client: &reqwest::Client) -> Result<(), CommandError> {
        let end = Instant::now() + ROUND;
        let send = async || {
            let mut sent = 0;
            while Instant::now() < end {
                let mut request = client.post(&self.url).header(CONTENT_TYPE, "application/json").body(EVENT);
                if let Some(authorization) = &self.authorization {
                    request = request.header(AUTHORIZATION, authorization);
                }
                let answer = request.send().await.map_err(|error| CommandError::Bench(error.to_string()))?;
                if answer.status() != 202 {
                    return Err(CommandError::Bench(format!("{}: {}", self.name, answer.status())));
                }
                answer.bytes().await.map_err(|error| CommandError::Bench(error.to_string()))?;
                sent += 1;
            }
            Ok(sent)
        };
        let sent = futures::future::try_join_all((0..CLIENTS).map(|_| send())).await?;
        self.requests += sent.iter().sum::<u64>();
        Ok(())
    }
}
