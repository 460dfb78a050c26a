//! Measures the cost of authentication. Each request posts one event to `/events/route`: without authentication, with
//! Basic credentials, with a token or with a service key. The variants alternate, so that variations in the machine's
//! speed affect all of them alike.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use ingest::Ingest;
use local::CommandError;
use local::function_settings;
use local::servers::RunningServers;
use operator::OperatorError;
use operator::environment::Environment;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::{Origin, serve};
use shared::identity::keys::NewKey;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Grant, Identity, make_admin};
use shared::kafka::reader::KafkaReader;
use shared::kafka::{KafkaSettings, Producer, topics};
use shared::metrics::Metrics;
use shared::process::clock::Clock;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::spread::Spread;
use crate::table::{Cell, Table};

/// The number of concurrent requests.
const CLIENTS: usize = 16;
const ROUND: Duration = Duration::from_secs(2);
const USER: &str = "bench";
const PASSWORD: &str = "correct horse battery";
const EVENT: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

/// A server and the credentials to send to it.
struct Way {
    name: &'static str,
    url: String,
    authorization: Option<String>,
    /// The number of requests in each round.
    requests: Vec<f64>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

/// Measures and prints the rates. Returns the table as JSON.
pub(crate) async fn measure(servers: &RunningServers, rounds: u32) -> Result<Value, CommandError> {
    let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
    let registry = Arc::new(Registry::load(None)?);
    topics::ensure(&kafka, &registry).await.map_err(OperatorError::from)?;
    let pool = database::connect(&servers.database_url, 8)?;
    database::migrate(&pool, None).await?;
    let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
    let name = UserName::parse(USER).map_err(|error| failed(&error))?;
    make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;

    let identity =
        Identity::new(pool.clone(), Clock::system(), &function_settings::identity(&Environment::default())?, None);
    let logged_in = identity.log_in(&name, Password::given(PASSWORD), &Origin::default()).await;
    let (token, _) = logged_in.map_err(|error| failed(&error))?;
    let user = identity.user(&name).await.map_err(|error| failed(&error))?;
    let key = NewKey {
        user_id: user.map(|user| user.id).unwrap_or_default(),
        name: USER.to_owned(),
        grant: Grant::new(vec!["route".to_owned()], true),
        created_at_ms: Clock::system().now_ms(),
        expires_at_ms: None,
    };
    let created = identity.create_key(&key, USER).await.map_err(|error| failed(&error))?;
    let (key, _) = created.ok_or_else(|| failed(&"the user was deleted"))?;
    let basic = base64_simd::STANDARD.encode_to_string(format!("{USER}:{PASSWORD}"));
    let ingest = || -> Result<Arc<Ingest>, CommandError> {
        let (producer, reader) = (Producer::new(&kafka)?, KafkaReader::new(kafka.clone()));
        let wait = Duration::from_secs(3_600);
        let metrics = Metrics::default();
        let (pool, registry) = (pool.clone(), Arc::clone(&registry));
        Ok(Arc::new(Ingest::new(pool, registry, producer, reader, Clock::system(), wait, metrics)))
    };
    let mut ways = [
        Way::serve("no authentication", ingest::routes_for_anyone(ingest()?), None).await?,
        Way::serve("Basic", ingest::routes(ingest()?, identity.clone()), Some(format!("Basic {basic}"))).await?,
        Way::serve("Bearer", ingest::routes(ingest()?, identity.clone()), Some(format!("Bearer {token}"))).await?,
        Way::serve("service key", ingest::routes(ingest()?, identity), Some(format!("Bearer {}", key.reveal())))
            .await?,
    ];
    let client = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
    for way in &mut ways {
        way.run(&client).await?;
        way.requests.clear();
    }
    for _ in 0..rounds {
        for way in &mut ways {
            way.run(&client).await?;
        }
    }
    let title = format!("POST /events/route of one event, {CLIENTS} concurrent requests from the same process");
    let mut table = Table::new(title, &["credentials", "requests per second", "relative to no authentication"]);
    for way in &ways {
        let rates = way.requests.iter().map(|requests| requests / ROUND.as_secs_f64()).collect();
        let pairs = way.requests.iter().zip(&ways[0].requests);
        let ratio = Spread::from_values(pairs.map(|(requests, without)| requests / without).collect());
        table.row(&[Cell::text(way.name), Cell::Number(Spread::from_values(rates).median, 0), Cell::Ratio(ratio)]);
    }
    pool.close().await;
    Ok(table.end())
}

impl Way {
    async fn serve(name: &'static str, routes: Router, authorization: Option<String>) -> Result<Self, CommandError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(CommandError::Serve)?;
        let url = format!("http://{}/events/route", listener.local_addr().map_err(CommandError::Serve)?);
        let serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, serve(routes)).into_future()));
        Ok(Self { name, url, authorization, requests: Vec::new(), _serving: serving })
    }

    /// Sends requests for the duration of a round.
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
        #[expect(clippy::cast_precision_loss, reason = "request counts are small")]
        self.requests.push(sent.iter().sum::<u64>() as f64);
        Ok(())
    }
}
