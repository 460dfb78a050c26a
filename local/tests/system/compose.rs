//! Tests the environment of Kafka's container in `local/compose.yaml` without a container engine. Kafka's jars contain
//! the class with which the image `apache/kafka` turns the environment into a configuration and formats the storage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::kafka::{Record, committed, create_topic, move_group, produce, values};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_norway::Value;
use shared::kafka::KafkaSettings;
use tokio::process::{Child, Command};

/// The cluster id that the image sets if the environment does not set one (`configureDefaults`).
const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";
/// The ports inside the container. The test uses other ports, because these may be taken on this machine.
const PORTS: [&str; 3] = ["9092", "9093", "19092"];
/// The broker's folder inside the container.
const DATA: &str = "/var/lib/kafka/data";

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_in_the_compose_file_becomes_a_configuration_with_which_a_broker_works() {
    let folder = tempfile::tempdir().unwrap();
    let held = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
    let environment = environment(folder.path(), ports);
    let jars = local::servers::kafka_jars().await.unwrap();
    let java = |arguments: &[&str], log: &str| {
        let log = File::create(folder.path().join(log)).unwrap();
        let mut java = Command::new("java");
        java.arg("-cp").arg(jars.join("*")).args(["-Xmx512m", "-XX:TieredStopAtLevel=1"]).args(arguments);
        java.envs(&environment).env("CLUSTER_ID", CLUSTER_ID).stdin(Stdio::null()).kill_on_drop(true);
        java.stdout(log.try_clone().unwrap()).stderr(log);
        java
    };
    let [default, mounted, last] = ["default", "mounted", "final"].map(|name| {
        fs::create_dir(folder.path().join(name)).unwrap();
        folder.path().join(name).to_str().unwrap().to_owned()
    });
    // The image contains these files, and uses them only if the environment is empty, so empty files are enough here.
    for name in ["server.properties", "log4j2.yaml", "tools-log4j2.yaml"] {
        fs::write(Path::new(&default).join(name), "").unwrap();
    }

    // The image's script `launch` runs the same command.
    let setup = [
        "kafka.docker.KafkaDockerWrapper",
        "setup",
        "--default-configs-dir",
        &default,
        "--mounted-configs-dir",
        &mounted,
        "--final-configs-dir",
        &last,
    ];
    let set_up = java(&setup, "setup.log").status().await.unwrap();
    let said = || fs::read_to_string(folder.path().join("setup.log")).unwrap();
    assert!(set_up.success(), "{}", said());
    let properties = format!("{last}/server.properties");
    let written = fs::read_to_string(&properties).unwrap();
    for line in ["process.roles=broker,controller", "auto.create.topics.enable=false"] {
        assert!(written.lines().any(|written| written == line), "{line} is not in {written}");
    }

    drop(held);
    let broker = java(&["kafka.Kafka", &properties], "broker.log").spawn().unwrap();
    let kafka = KafkaSettings::plaintext(format!("127.0.0.1:{}", ports[0]));
    answers(broker, &kafka, &folder.path().join("broker.log"), async |kafka| {
        create_topic(kafka, "routes", 2).await;
        assert_eq!(produce(kafka, "routes", &[Record::with_value("1"), Record::with_value("2")]).await, [0, 1]);
        let values = values(kafka, "routes").await;
        assert_eq!(values.iter().filter(|value| !value.is_empty()).count(), 2, "{values:?}");
        // Consumer groups need Kafka's own topic for offsets, whose replication factor has to suit a single broker.
        move_group(kafka, "sluice-routes", "routes", &[(0, 2)]).await;
        assert_eq!(committed(kafka, "sluice-routes", "routes", 2).await, [Some(2), None]);
    })
    .await;
}

/// Returns the container's environment, with other ports and another folder.
fn environment(folder: &Path, ports: [u16; 3]) -> BTreeMap<String, String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose.yaml");
    let compose: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let kafka = &compose["services"]["kafka"];
    assert_eq!(
        kafka["image"].as_str(),
        Some("apache/kafka:4.1.2"),
        "the image's version has changed: local/kafka/pom.xml and this test must name the same version"
    );
    let here = |text: &str| {
        let mut text =
            text.replace("${SLUICE_KAFKA_PORT:-9092}", "9092").replace(DATA, folder.join("data").to_str().unwrap());
        for (inside, port) in PORTS.iter().zip(ports) {
            text = text.replace(&format!(":{inside}"), &format!(":{port}"));
        }
        text
    };
    let variables = kafka["environment"].as_mapping().unwrap().iter();
    variables.map(|(name, value)| (name.as_str().unwrap().to_owned(), here(value.as_str().unwrap()))).collect()
}

/// Waits until the broker answers, runs the work, and then ends the broker.
async fn answers(mut broker: Child, kafka: &KafkaSettings, log: &Path, work: impl AsyncFn(&KafkaSettings)) {
    const PATIENCE: Duration = Duration::from_secs(120);
    let said = || fs::read_to_string(log).unwrap();
    let client: BaseConsumer = kafka.client_config().create().unwrap();
    let answer = tokio::task::spawn_blocking(move || client.fetch_metadata(None, PATIENCE).map(drop));
    tokio::select! {
        answer = answer => answer.unwrap().unwrap_or_else(|error| unreachable(&error.to_string(), &said())),
        ended = broker.wait() => unreachable(&ended.unwrap().to_string(), &said()),
    }
    work(kafka).await;
    broker.kill().await.unwrap();
}

#[expect(clippy::panic, reason = "if the broker does not answer, the test has failed")]
fn unreachable(why: &str, log: &str) -> ! {
    panic!("the broker does not answer: {why}\n{log}")
}
