//! Tests an Apache Kafka that requires clients' certificates, and a PostgreSQL with TLS.

use std::path::Path;

use local::servers::{DataFolder, Kafka, ListenerAccess, Postgres, PostgresOptions};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use testing::TestDatabase;

use crate::authority::Authority;
use crate::aws::{SECRET, StubAws};
use crate::command::run;
use crate::support::gateway::{ADMIN, client_of, plan};
use crate::support::process::UpProcess;

/// A broker and a database with certificates of one authority.
struct World {
    authority: Authority,
    kafka: Kafka,
    brokers: String,
    postgres: Postgres,
    files: tempfile::TempDir,
    _data: DataFolder,
}

impl World {
    async fn start() -> Self {
        let authority = Authority::new();
        let data = DataFolder::temporary().unwrap();
        let listener = (ListenerAccess::Certificate, authority.for_server(&["localhost"]));
        // The certificate is for the server's address and not for `localhost`, so that the name `localhost` can be
        // refused.
        let certificate = Some(authority.for_server(&["127.0.0.1"]));
        let options = PostgresOptions { certificate, ..PostgresOptions::default() };
        let (kafka, postgres) =
            tokio::try_join!(Kafka::start_with(&data, vec![listener]), Postgres::start(&data, options)).unwrap();
        let brokers = kafka.secure_bootstrap_servers().remove(0);
        Self { authority, kafka, brokers, postgres, files: tempfile::tempdir().unwrap(), _data: data }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn stop(mut self) {
        self.kafka.stop().await;
        self.postgres.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_its_row_over_verified_tls_with_a_client_certificate_from_an_env_file() {
    let world = World::start().await;
    let ca = world.file("ca.pem", &world.authority.certificate);
    let (certificate, key) = world.authority.sign(&["sluice"]);
    let secret = json!({"certificate": certificate, "privateKey": key}).to_string();
    let key = world.file("client.key", &key);
    let env_file = world.file(
        "variables",
        // The client's certificate is given as text. The authority's certificate and the key are given as paths.
        &format!(
            "KAFKA_AUTH=tls\nKAFKA_SSL_CA={ca}\nKAFKA_SSL_CERT=\"{}\"\nKAFKA_SSL_KEY={key}\n",
            certificate.trim().replace('\n', "\\n")
        ),
    );
    let url = format!("{}?sslmode=verify-full&sslrootcert={ca}", world.postgres.database_url());
    let plan = plan();
    let arguments = ["--env-file", &env_file];

    let mut up = UpProcess::start_on(&world.brokers, &url, plan.contracts(), &arguments).await;
    let event = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
    let request = client_of(ADMIN).post(format!("{}/events/route", up.url)).header("prefer", "wait=20");
    let answer = request.header("content-type", "application/json").body(event).send().await.unwrap();

    assert_eq!(answer.status(), 200);
    let mut connection = PgConnection::connect(&world.postgres.database_url()).await.unwrap();
    let user: i64 =
        sqlx::query_scalar("select user_id from public.routes_table").fetch_one(&mut connection).await.unwrap();
    assert_eq!(user, 5);
    let unencrypted: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity join pg_stat_ssl using (pid)
         where application_name = 'sluice' and not ssl",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(unencrypted, 0, "every connection from Sluice is encrypted");
    up.stop().await;
    let (stdout, stderr) = (read(&up.log("stdout")), read(&up.log("stderr")));
    assert!(!stdout.contains("PRIVATE KEY") && !stderr.contains("PRIVATE KEY"));

    refused_connections_are_reported_in_one_line(&world).await;
    a_certificate_and_key_in_a_secret_work_too(&world, secret).await;
    world.stop().await;
}

async fn a_certificate_and_key_in_a_secret_work_too(world: &World, secret: String) {
    let aws = StubAws::start().await;
    let topics = async || {
        let variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", world.brokers.as_str()),
            ("KAFKA_AUTH", "tls"),
            ("KAFKA_SSL_CA", &world.authority.certificate),
            ("KAFKA_SECRET_ARN", SECRET),
        ];
        run("topics", &[variables.as_slice(), &aws.variables()].concat()).await
    };
    aws.set(|answers| answers.secret = secret);
    let said = topics().await;
    assert!(said.is_well && said.stdout.contains("topic routes"), "{said:?}");
    aws.set(|answers| answers.secret = json!({"certificate": "hunter2", "privateKey": "hunter2"}).to_string());
    let said = topics().await;
    let unfit = "KAFKA_SECRET_ARN names an unsuitable resource: the resource must be a JSON object with certificate and privateKey in PEM";
    assert!(said.error().contains(unfit) && !said.stderr.contains("hunter2"), "{said:?}");
}

/// Uses the servers that an earlier part of the test started.
async fn refused_connections_are_reported_in_one_line(world: &World) {
    let other = Authority::named("a stranger");
    let (own_certificate, other_certificate) = (&world.authority.certificate, &other.certificate);
    let (certificate, key) = world.authority.sign(&["sluice"]);
    let (unknown_certificate, unknown_key) = other.sign(&["sluice"]);
    let topics = async |ca: &str, certificate: &str, key: &str| {
        let servers = ("KAFKA_BOOTSTRAP_SERVERS", world.brokers.as_str());
        let pem = [("KAFKA_SSL_CA", ca), ("KAFKA_SSL_CERT", certificate), ("KAFKA_SSL_KEY", key)];
        run("topics", &[[("KAFKA_AUTH", "tls"), servers].as_slice(), &pem].concat()).await
    };

    let said = topics(own_certificate, &certificate, &key).await;
    assert!(said.is_well && said.stdout.contains("topic routes created, 4 partitions"), "{said:?}");
    let wrong_ca = topics(other_certificate, &certificate, &key).await;
    assert!(wrong_ca.error().contains("Kafka: the connection is refused: "), "{wrong_ca:?}");
    assert!(wrong_ca.error().contains("certificate verify failed"), "{wrong_ca:?}");
    let unknown = topics(own_certificate, &unknown_certificate, &unknown_key).await;
    assert!(unknown.error().contains("Kafka: the connection is refused: "), "{unknown:?}");

    let url = world.postgres.database_url();
    let by_name = url.replace("127.0.0.1", "localhost");
    let (own_certificate, other_certificate) =
        (world.file("ours.pem", own_certificate), world.file("strangers.pem", other_certificate));
    let migrate = async |url: &str, mode: &str, root: &str| {
        let url = format!("{url}?sslmode={mode}&sslrootcert={root}");
        run("migrate", &[("DATABASE_URL", &url)]).await
    };
    for (url, mode) in [(&url, "verify-full"), (&url, "verify-ca"), (&url, "require")] {
        let said = migrate(url, mode, &own_certificate).await;
        assert!(said.is_well, "{mode}: {said:?}");
    }
    for (url, mode, root, why) in [
        (&url, "verify-full", &other_certificate, "UnknownIssuer"),
        (&url, "verify-ca", &other_certificate, "UnknownIssuer"),
        (&by_name, "verify-full", &own_certificate, "not valid for name"),
    ] {
        let said = migrate(url, mode, root).await;
        assert!(said.error().contains("DATABASE_URL: the connection is refused: "), "{said:?}");
        assert!(said.error().contains(why), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tls_is_refused_if_tls_is_required() {
    let database = TestDatabase::create().await;
    let said = run("migrate", &[("DATABASE_URL", &format!("{}?sslmode=verify-full", database.url))]).await;
    assert!(said.error().contains("DATABASE_URL: the connection is refused: "), "{said:?}");
    assert!(said.error().contains("server does not support TLS"), "{said:?}");

    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    connection.execute("select 1").await.unwrap();
    assert_eq!(database.json("select 1 as one").await, json!([{"one": 1}]));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
