//! Tests PostgreSQL with a password that AWS Secrets Manager keeps, and that is rotated while Sluice runs.

use serde_json::json;
use shared::database::{DatabaseSource, Login};
use shared::process::clock::Clock;
use sqlx::postgres::PgPool;
use testing::TestDatabase;
use tokio_util::task::AbortOnDropHandle;

use crate::aws::{SECRET, StubAws};

/// A test's own database, and a role whose credentials are in the secret.
struct Rotating {
    database: TestDatabase,
    aws: StubAws,
    role: String,
    source: DatabaseSource,
}

impl Rotating {
    async fn start() -> Self {
        let database = TestDatabase::create().await;
        let role = format!("role_{}", uuid::Uuid::new_v4().simple());
        let aws = StubAws::start().await;
        // The address names the database, and the secret contains the credentials.
        let (_, place) = database.url.split_once('@').unwrap();
        let url = format!("postgres://{place}");
        let source = DatabaseSource::read(|name| match name {
            "DATABASE_URL" => Some(url.clone()),
            "DATABASE_SECRET_ARN" => Some(SECRET.to_owned()),
            _ => None,
        })
        .unwrap();
        let rotating = Self { database, aws, role, source };
        rotating.run(&format!("create role {} login password 'first'", rotating.role)).await;
        rotating.set_secret("first");
        rotating
    }

    async fn run(&self, sql: &str) {
        sqlx::query(sql).execute(&self.database.pool).await.unwrap();
    }

    fn set_secret(&self, password: &str) {
        self.aws.set(|answers| answers.secret = json!({"username": self.role, "password": password}).to_string());
    }

    /// Rotates the password: changes it in the database and in the secret, and closes the old connections.
    async fn rotate(&self, password: &str) {
        self.run(&format!("alter role {} password '{password}'", self.role)).await;
        self.set_secret(password);
        self.run(&format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{}'", self.role))
            .await;
    }

    async fn open(&self, max_connections: u32) -> (PgPool, Login) {
        let aws = self.aws.client().await;
        Login::open(&self.source, &aws, &Clock::system(), max_connections).await.unwrap()
    }

    fn asked(&self) -> usize {
        self.aws.answers().secret_asked
    }

    async fn stop(self, pool: PgPool) {
        pool.close().await;
        self.run(&format!("drop role {}", self.role)).await;
    }
}

async fn who(pool: &PgPool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select current_user::text").fetch_one(pool).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_query_succeeds_and_the_secret_is_read_once_after_a_rotation_that_closed_the_connections() {
    let rotating = Rotating::start().await;
    let (pool, _login) = rotating.open(2).await;
    for _ in 0..3 {
        assert_eq!(who(&pool).await.unwrap(), rotating.role);
    }
    assert_eq!(rotating.asked(), 1);

    for (rotation, password) in [(1, "second"), (2, "third")] {
        rotating.rotate(password).await;
        assert_eq!(who(&pool).await.unwrap(), rotating.role, "rotation {rotation}");
        assert_eq!(rotating.asked(), 1 + rotation);
    }
    // If connections die without a rotation, the secret is not read.
    rotating
        .run(&format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{}'", rotating.role))
        .await;
    assert_eq!(who(&pool).await.unwrap(), rotating.role);
    assert_eq!(rotating.asked(), 3);
    rotating.stop(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_without_open_connections_a_batch_is_retried_but_the_first_http_request_fails() {
    let rotating = Rotating::start().await;
    let (pool, login) = rotating.open(1).await;
    rotating.rotate("second").await;

    // A batch can be repeated safely, so it is retried immediately.
    assert_eq!(login.run(async || who(&pool).await).await.unwrap(), rotating.role);
    assert_eq!(rotating.asked(), 2);
    pool.close().await;

    // A request is not retried: it fails, and the next request succeeds.
    let (pool, login) = rotating.open(1).await;
    rotating.rotate("third").await;
    let asked = pool.clone();
    let question = axum::routing::get(async move || match who(&asked).await {
        Ok(_) => axum::http::StatusCode::OK,
        Err(_) => axum::http::StatusCode::SERVICE_UNAVAILABLE,
    });
    let routes = shared::http::login::logged_in(axum::Router::new().route("/", question), login);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _serving = AbortOnDropHandle::new(tokio::spawn(axum::serve(listener, routes).into_future()));
    let statuses = [reqwest::get(&url).await.unwrap().status(), reqwest::get(&url).await.unwrap().status()];
    assert_eq!(statuses.map(|status| status.as_u16()), [503, 200]);
    assert_eq!(rotating.asked(), 4);
    rotating.stop(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_starts_while_aws_is_down_gets_its_secret_as_soon_as_aws_is_back() {
    let rotating = Rotating::start().await;
    rotating.aws.set(|answers| answers.is_down = true);
    let (pool, login) = rotating.open(1).await;
    assert!(who(&pool).await.is_err());
    rotating.aws.set(|answers| answers.is_down = false);
    login.renew_if_due().await;
    assert_eq!(who(&pool).await.unwrap(), rotating.role);
    rotating.stop(pool).await;
}

/// A refused password must count as an answer. Otherwise, the circuit breaker would stay open forever after a rotation
/// that took place while the database was unreachable.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_password_counts_as_an_answer_of_the_database_and_the_login_is_then_renewed() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
    let rotating = Rotating::start().await;
    let (pool, login) = rotating.open(2).await;
    assert_eq!(who(&pool).await.unwrap(), rotating.role);
    // Drops the connection before the rotation kills it. Otherwise, the pool would notice that the connection is dead,
    // and would itself renew the login. Only an idle connection can be dropped, so the test first waits.
    while pool.num_idle() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    login.drop_idle_connections();
    rotating.rotate("second").await;
    assert!(login.connects_within(PATIENCE).await);
    assert_eq!(rotating.asked(), 1);
    assert!(login.renew_if_refused().await);
    assert_eq!(who(&pool).await.unwrap(), rotating.role);
    assert_eq!(rotating.asked(), 2);
    rotating.stop(pool).await;
}
