//! What release binaries are run with, and asked.

use std::path::PathBuf;

use axum::body::Bytes;
use serde_json::json;
use shared::clock::Clock;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::Origin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, IdentitySettings, make_admin};
use shared::kafka::{KafkaSettings, topics};
use sqlx::PgPool;

use crate::CommandError;
use crate::lambda::build;
use crate::servers::RunningServers;

/// `local` among them, so that they share what cargo has built for it.
const PACKAGES: [&str; 6] = ["local", "consume", "ingest", "report", "users", "baseline"];
pub(super) const USER: &str = "invocation";
pub(super) const PASSWORD: &str = "correct horse battery";

/// The functions' world.
pub(super) struct World {
    /// The folder with the functions' release binaries.
    pub(super) binaries: PathBuf,
    /// The functions' variables.
    pub(super) environment: Vec<(&'static str, String)>,
    /// A token of a user's.
    pub(super) token: String,
    /// The database.
    pub(super) pool: PgPool,
}

impl World {
    /// Builds the functions, migrates, creates topics and a user.
    pub(super) async fn prepare(servers: &RunningServers) -> Result<Self, CommandError> {
        let arguments: Vec<&str> = PACKAGES.iter().flat_map(|package| ["--package", package]).collect();
        let binaries = build(&[&arguments[..], &["--release"]].concat()).await?;
        let token_key = "5a".repeat(32);
        let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
        topics::ensure(&kafka, &Registry::load(None)?).await?;
        let pool = database::connect(&servers.database_url, 1)?;
        database::migrate(&pool, None).await?;
        let failed = |error: &dyn std::fmt::Display| CommandError::Bench(error.to_string());
        let name = UserName::parse(USER).map_err(|error| failed(&error))?;
        make_admin(&pool, &name, Password::given(PASSWORD)).await.map_err(|error| failed(&error))?;
        let settings = IdentitySettings::read(|name| (name == "TOKEN_KEY").then(|| token_key.clone()))?;
        let identity = Identity::new(pool.clone(), Clock::system(), &settings, None);
        let logged_in = identity.log_in(&name, Password::given(PASSWORD), &Origin::default()).await;
        let (token, _) = logged_in.map_err(|error| failed(&error))?;
        let environment = vec![
            ("DATABASE_URL", servers.database_url.clone()),
            ("KAFKA_BOOTSTRAP_SERVERS", servers.bootstrap_servers.clone()),
            ("TOKEN_KEY", token_key),
            ("TOPIC", "routes".to_owned()),
            ("RUST_LOG", "info".to_owned()),
        ];
        Ok(Self { binaries, environment, token, pool })
    }
}

/// A request, as API Gateway's HTTP API hands it over.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(super) fn request(token: &str, method: &str, path: &str, body: &str) -> Bytes {
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": format!("Bearer {token}")},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.168.0.1", "userAgent": "bench"},
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1_583_348_638_390_u64,
        },
        "body": body,
        "isBase64Encoded": false,
    });
    Bytes::from(event.to_string())
}
