//! A test's own gateway, with its own database and topics. The gateway runs in the test's process: its routes are on a
//! free port, and event source mappings invoke `consume`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use local::event_source_mapping::EventSourceMapping;
use local::event_source_mapping::configuration::MappingConfiguration;
use local::gateway::Gateway;
use report::ReportSettings;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use shared::contract::Registry;
use shared::database::DatabaseSource;
use shared::identity::lockout::Rule;
use shared::identity::name::UserName;
use shared::identity::password::{Blocklist, Password};
use shared::identity::{IdentitySettings, TokenKeys, make_admin};
use shared::kafka::{KafkaSettings, topics};
use shared::process::clock::Clock;
use shared::start::{Retention, Settings, WAIT_FOR_PARENT};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use users::{Registration, UsersSettings};

use super::database::TestDatabase;
use super::kafka;

/// The options of a gateway.
pub struct GatewayPlan {
    contracts: TempDir,
    suffix: String,
    clock: Clock,
    wait_for_parent: Duration,
    batch_size: usize,
    window: Duration,
    consumes: bool,
    lockout: Rule,
    report: ReportSettings,
    cluster: KafkaSettings,
}

/// The admin of every gateway.
pub const ADMIN: (&str, &str) = ("Admin", "the admin's password");

/// Returns a client that sends these Basic credentials.
pub fn client_of((name, password): (&str, &str)) -> reqwest::Client {
    let credentials = base64_simd::STANDARD.encode_to_string(format!("{name}:{password}"));
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Basic {credentials}").parse().unwrap());
    reqwest::Client::builder().default_headers(headers).build().unwrap()
}

/// Plans a gateway with the built-in contracts.
pub fn plan() -> GatewayPlan {
    let contracts = tempfile::tempdir().unwrap();
    std::fs::create_dir(contracts.path().join("migrations")).unwrap();
    let mut plan = GatewayPlan {
        contracts,
        suffix: super::unique(""),
        clock: Clock::system(),
        wait_for_parent: WAIT_FOR_PARENT,
        batch_size: 10_000,
        window: Duration::from_millis(20),
        consumes: true,
        lockout: Rule { after: 5, window_ms: 60_000, for_ms: 900_000 },
        report: ReportSettings { mail: None },
        cluster: kafka::settings(),
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/contracts");
    for entry in std::fs::read_dir(shipped).unwrap() {
        let path = entry.unwrap().path();
        let contract = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        plan = plan.contract(path.file_stem().unwrap().to_str().unwrap(), contract);
    }
    plan
}

impl GatewayPlan {
    /// Adds a stream, or replaces a built-in contract. The topic gets a unique name, which [`TestGateway::topic`]
    /// returns.
    pub fn contract(self, stream: &str, mut contract: Value) -> Self {
        let topic = &mut contract["x-sluice"]["topic"];
        *topic = json!(format!("{}{}", topic.as_str().unwrap(), self.suffix));
        std::fs::write(self.contracts.path().join(format!("{stream}.json")), contract.to_string()).unwrap();
        self
    }

    /// Uses the contracts and migrations of a folder. Of the built-in contracts, keeps only `login`.
    pub fn only(mut self, folder: &Path) -> Self {
        for entry in std::fs::read_dir(self.contracts.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("login.json") {
                std::fs::remove_file(path).unwrap();
            }
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let contract = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                self = self.contract(path.file_stem().unwrap().to_str().unwrap(), contract);
            }
        }
        for entry in std::fs::read_dir(folder.join("migrations")).unwrap() {
            let path = entry.unwrap().path();
            let sql = std::fs::read_to_string(&path).unwrap();
            self = self.migration(path.file_stem().unwrap().to_str().unwrap(), &sql);
        }
        self
    }

    /// Adds a migration, named `<version>_<description>`.
    pub fn migration(self, name: &str, sql: &str) -> Self {
        std::fs::write(self.contracts.path().join(format!("migrations/{name}.sql")), sql).unwrap();
        self
    }

    /// Sets the functions' clock.
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sets how long an event waits for its parent.
    pub fn wait_for_parent(self, wait_for_parent: Duration) -> Self {
        Self { wait_for_parent, ..self }
    }

    /// Sets the maximum number of records in a batch, and the batch window. The defaults are 10,000 records and 20 ms.
    pub fn batches(self, batch_size: usize, window: Duration) -> Self {
        Self { batch_size, window, ..self }
    }

    /// Starts the gateway without reading the topics; [`TestGateway::consume`] starts reading them.
    pub fn without_consuming(self) -> Self {
        Self { consumes: false, ..self }
    }

    /// Sets the limit on failed logins. The default is five failures within a minute.
    pub fn lockout(self, lockout: Rule) -> Self {
        Self { lockout, ..self }
    }

    /// Mails reports through this server.
    pub fn mailing(self, smtp_url: &str) -> Self {
        let report = ReportSettings::read(|name| match name {
            "REPORT_TO" => Some("ann@example.com, Bob <bob@example.com>".to_owned()),
            "REPORT_FROM" => Some("sluice@example.com".to_owned()),
            "SMTP_URL" => Some(smtp_url.to_owned()),
            _ => None,
        });
        Self { report: report.unwrap(), ..self }
    }

    /// Uses a different cluster instead of the cluster that all tests share.
    pub fn cluster(self, cluster: KafkaSettings) -> Self {
        Self { cluster, ..self }
    }

    /// Returns the folder with the gateway's contracts.
    pub fn contracts(&self) -> &Path {
        self.contracts.path()
    }

    pub async fn start(self) -> TestGateway {
        let database = TestDatabase::create().await;
        shared::database::migrate(&database.pool, Some(self.contracts.path())).await.unwrap();
        let registry = Arc::new(Registry::load(Some(self.contracts.path())).unwrap());
        let kafka = self.cluster.clone();
        topics::ensure(&kafka, &registry).await.unwrap();
        let settings = Settings {
            database: DatabaseSource::from_url(&database.url).unwrap(),
            contracts_dir: Some(self.contracts.path().to_owned()),
            wait_for_parent: self.wait_for_parent,
            retention: Retention::default(),
        };
        let identity = IdentitySettings {
            token_keys: TokenKeys::parse(&"5a".repeat(32)).unwrap(),
            token_for: Duration::from_secs(3_600),
            lockout: self.lockout,
        };
        let users = UsersSettings { registration: Registration::Open, blocklist: Blocklist::Off };
        let gateway =
            Gateway::new(settings, kafka, &identity, users, &self.report, Arc::clone(&registry), self.clock.clone())
                .await
                .unwrap();
        let admin = UserName::parse(ADMIN.0).unwrap();
        make_admin(&database.pool, &admin, Password::given(ADMIN.1)).await.unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(gateway.serve(listener, CancellationToken::new()));
        let mut running = TestGateway {
            url,
            http: client_of(ADMIN),
            registry,
            mappings: Vec::new(),
            gateway,
            _serving: AbortOnDropHandle::new(serving),
            database,
            plan: self,
        };
        if running.plan.consumes {
            running.consume();
        }
        running
    }
}

/// A running gateway. Dropping this value stops the gateway and drops its database.
pub struct TestGateway {
    /// The gateway's address, without a trailing slash.
    pub url: String,
    /// An HTTP client with the admin's credentials.
    pub http: reqwest::Client,
    /// The gateway's contracts.
    pub registry: Arc<Registry>,
    mappings: Vec<EventSourceMapping>,
    gateway: Gateway,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
    // Fields are dropped in order, so the database comes after the fields that use it.
    /// The gateway's database.
    pub database: TestDatabase,
    plan: GatewayPlan,
}

impl TestGateway {
    /// Returns the topic of a stream.
    pub fn topic(&self, stream: &str) -> &str {
        &self.registry.stream(stream).unwrap().topic
    }

    /// Returns the consumer group of a stream's mapping.
    pub fn group(&self, stream: &str) -> String {
        self.mapping(self.topic(stream)).group
    }

    /// Starts reading every topic. May be called again after [`TestGateway::stop_consuming`].
    pub fn consume(&mut self) {
        let start =
            |topic: &str| self.gateway.start_mapping(self.mapping(topic)).expect("librdkafka accepts the settings");
        let started: Vec<_> = self.registry.contracts().map(|contract| start(&contract.topic)).collect();
        self.mappings.extend(started);
    }

    /// Drains the mappings: batches in flight are finished and committed, and nothing further is read.
    pub async fn stop_consuming(&mut self) {
        join_all(self.mappings.drain(..).map(EventSourceMapping::stop)).await;
    }

    /// Makes `consume` compare its watermarks with Kafka, as its schedule does.
    pub async fn compare(&self) {
        let event = local::scheduler::event("Compare", jiff::Timestamp::now()).to_string();
        let (status, body) = self.post("/2015-03-31/functions/consume/invocations", &[], event).await;
        assert!(status == 200 && body.get("errorType").is_none(), "{status} {body}");
    }

    /// Posts JSON. Returns status and body.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).header("content-type", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request.body(body)).await
    }

    /// Sends a GET request. Returns status and body.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.url))).await
    }

    fn mapping(&self, topic: &str) -> MappingConfiguration {
        MappingConfiguration {
            batch_size: self.plan.batch_size,
            window: self.plan.window,
            ..MappingConfiguration::for_topic(topic)
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.bytes().await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}
