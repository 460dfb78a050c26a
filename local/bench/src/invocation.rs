//! Builds the release binaries, sets up their environment, and builds the requests for them.

use std::path::PathBuf;

use axum::body::Bytes;
use local::CommandError;
use local::lambda::build;
use local::servers::RunningServers;
use operator::OperatorError;
use serde_json::json;
use shared::contract::Registry;
use shared::database;
use shared::http::edge::Origin;
use shared::identity::name::UserName;
use shared::identity::password::Password;
use shared::identity::{Identity, IdentitySettings, make_admin};
use shared::kafka::{KafkaSettings, topics};
use shared::process::clock::Clock;
use sqlx::PgPool;

/// The packages to build. The list includes `local`, so that cargo enables the same features of most dependencies as
/// when it built `local`. Cargo can then use the same builds of these dependencies for the functions.
const PACKAGES: [&str; 7] = ["local", "sluice-console", "consume", "ingest", "report", "users", "baseline"];
pub(crate) const USER: &str = "invocation";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Everything that the functions need to run.
pub(crate) struct World {
    /// The folder with the functions' release binaries.
    pub(crate) binaries: PathBuf,
    /// The functions' environment variables.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// A user's token.
    pub(crate) token: String,
    /// The database.
    pub(crate) pool: PgPool,
}

impl World {
    /// Builds the functions, applies the migrations, and creates the topics and a user.
    pub(crate) async fn prepare(servers: &RunningServers) -> Result<Self, CommandError> {
        let arguments: Vec<&str> = PACKAGES.iter().flat_map(|package| ["--package", package]).collect();
        let binaries = build(&[&arguments[..], &["--release"]].concat()).await?;
        let token_key = "5a".repeat(32);
        let kafka = KafkaSettings::plaintext(servers.bootstrap_servers.clone());
        topics::ensure(&kafka, &Registry::load(None)?).await.map_err(OperatorError::from)?;
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

/// Builds a request in the form that API Gateway's HTTP API sends.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(crate) fn request(token: &str, method: &str, path: &str, body: &str) -> Bytes {
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
