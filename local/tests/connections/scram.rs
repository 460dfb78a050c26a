//! Tests an Apache Kafka that requires a name and a password, given as variables or looked up on AWS.

use std::time::Duration;

use local::servers::{DataFolder, Kafka, ListenerAccess};
use serde_json::json;
use shared::kafka::{KafkaSource, Outgoing, Producer, SendError};
use testing::TestDatabase;

use crate::authority::Authority;
use crate::aws::{CLUSTER, SECRET, StubAws};
use crate::command::run;
use crate::support::gateway::{ADMIN, client_of, plan};
use crate::support::kafka::{create_topic, topic_name};
use crate::support::process::UpProcess;
use shared::kafka::KafkaSettings;

const USER: &str = "sluice";
const PASSWORD: &str = "scram-pass-of-a-test";
const WRONG: &str = "another user's password";

fn secret() -> String {
    json!({"username": USER, "password": PASSWORD}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_its_row_through_a_cluster_that_requires_name_and_password() {
    let authority = Authority::new();
    let data = DataFolder::temporary().unwrap();
    let access = ListenerAccess::Scram { username: USER.to_owned(), password: PASSWORD.to_owned() };
    let listener = (access, authority.for_server(&["localhost"]));
    let mut kafka = Kafka::start_with(&data, vec![listener]).await.unwrap();
    let brokers = kafka.secure_bootstrap_servers().remove(0);
    let aws = StubAws::start().await;
    aws.set(|answers| {
        answers.brokers = json!({"bootstrapBrokerString": "127.0.0.1:1", "bootstrapBrokerStringSaslScram": brokers});
        answers.secret = secret();
    });

    // An event takes the whole path. The name and the password are given as variables.
    let database = TestDatabase::create().await;
    let plan = plan();
    let files = tempfile::tempdir().unwrap();
    let (ca, env_file) = (files.path().join("ca.pem"), files.path().join("variables"));
    std::fs::write(&ca, &authority.certificate).unwrap();
    let lines = format!(
        "KAFKA_AUTH=scram\nKAFKA_SSL_CA={}\nKAFKA_SASL_USERNAME={USER}\nKAFKA_SASL_PASSWORD={PASSWORD}\n",
        ca.display()
    );
    std::fs::write(&env_file, lines).unwrap();
    let arguments = ["--env-file", env_file.to_str().unwrap()];
    let mut up = UpProcess::start_on(&brokers, &database.url, plan.contracts(), &arguments).await;
    let event = r#"{"userID":6,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;
    let request = client_of(ADMIN).post(format!("{}/events/route", up.url)).header("prefer", "wait=20");
    let answer = request.header("content-type", "application/json").body(event).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(database.count("select user_id from public.routes_table").await, 6);
    up.stop().await;
    for name in ["stdout", "stderr"] {
        assert!(!std::fs::read_to_string(up.log(name)).unwrap().contains(PASSWORD), "{name}");
    }

    // The brokers and the password are looked up on AWS.
    let topics = async |variables: &[(&str, &str)]| {
        let common = [("KAFKA_AUTH", "scram"), ("KAFKA_SSL_CA", authority.certificate.as_str())];
        run("topics", &[common.as_slice(), &aws.variables(), variables].concat()).await
    };
    let said = topics(&[("MSK_CLUSTER_ARN", CLUSTER), ("KAFKA_SECRET_ARN", SECRET)]).await;
    assert!(said.is_well && said.stdout.contains("topic routes created, 4 partitions"), "{said:?}");
    assert_eq!((aws.answers().brokers_asked, aws.answers().secret_asked), (1, 1));

    // Errors say that the password is wrong, or that the brokers or the password cannot be looked up.
    let servers = ("KAFKA_BOOTSTRAP_SERVERS", brokers.as_str());
    let said = topics(&[servers, ("KAFKA_SASL_USERNAME", USER), ("KAFKA_SASL_PASSWORD", WRONG)]).await;
    assert!(said.error().contains("Kafka: the connection is refused: "), "{said:?}");
    assert!(said.error().to_lowercase().contains("authentication failed"), "{said:?}");
    assert!(!said.stderr.contains(WRONG), "{said:?}");
    aws.set(|answers| answers.brokers = json!({"bootstrapBrokerStringTls": "b-1:9094"}));
    let said = topics(&[("MSK_CLUSTER_ARN", CLUSTER), ("KAFKA_SECRET_ARN", SECRET)]).await;
    assert!(
        said.error()
            .contains("MSK_CLUSTER_ARN names an unsuitable resource: the resource must be a cluster with SASL/SCRAM"),
        "{said:?}"
    );
    let said = topics(&[servers, ("KAFKA_SECRET_ARN", &SECRET.replace("sluice", "other"))]).await;
    let refusal = "KAFKA_SECRET_ARN: AWS Secrets Manager refuses: ResourceNotFoundException: there is no such secret";
    assert!(said.error().contains(refusal), "{said:?}");
    aws.set(|answers| answers.is_down = true);
    let said = topics(&[servers, ("KAFKA_SECRET_ARN", SECRET)]).await;
    assert!(said.error().contains("KAFKA_SECRET_ARN: AWS Secrets Manager does not answer: "), "{said:?}");
    kafka.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_looks_up_its_brokers_after_an_outage_of_aws_and_again_only_after_all_brokers_have_failed() {
    let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").unwrap();
    let topic = topic_name("looked-up");
    create_topic(&KafkaSettings::plaintext(&*servers), &topic, 1).await;
    let aws = StubAws::start().await;
    let source = KafkaSource::read(|name| (name == "MSK_CLUSTER_ARN").then(|| CLUSTER.to_owned())).unwrap();
    let producer = Producer::looked_up(source, aws.client().await);
    let send = async || {
        let record = Outgoing { topic: &topic, key: None, value: Some(b"{}"), headers: &[] };
        producer.send(&[record]).await.remove(0).map(|acknowledged| acknowledged.offset)
    };

    // AWS is down when the producer first connects. Once AWS is back, it names a broker that does not respond.
    aws.set(|answers| answers.is_down = true);
    assert!(producer.connect(Duration::from_secs(3)).await.unwrap_err().is_temporary());
    assert!(matches!(send().await, Err(SendError::Unconnected(_))));
    aws.set(|answers| {
        answers.is_down = false;
        answers.brokers = json!({"bootstrapBrokerString": "127.0.0.1:1"});
        answers.brokers_asked = 0;
    });
    assert!(matches!(send().await, Err(SendError::Unacknowledged(_))));
    assert_eq!(aws.answers().brokers_asked, 1);

    // The producer looks up the brokers again, but only once.
    aws.set(|answers| answers.brokers = json!({"bootstrapBrokerString": servers}));
    for offset in 0..3 {
        assert_eq!(send().await.unwrap(), offset);
    }
    assert_eq!(aws.answers().brokers_asked, 2);
}
