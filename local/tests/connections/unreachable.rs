//! Tests servers that cannot be reached: the error names the server, and appears immediately if the server's name does
//! not resolve.

use std::time::{Duration, Instant};

use crate::command::run;
use crate::support::gateway::plan;
use crate::support::kafka::settings;

/// An address in a domain that never resolves (RFC 2606).
const DATABASE: &str = "postgres://user:hunter2@nowhere.invalid/sluice";
const BROKER: &str = "nowhere.invalid:9092";
/// The time limit for an error that appears immediately. A command that waited for a silent server would take longer.
const AT_ONCE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn the_error_immediately_names_a_host_that_does_not_resolve() {
    let up_database = format!("up --port 0 --broker embedded --database {DATABASE}");
    let up_broker = format!("up --port 0 --database embedded --broker {BROKER}");
    for (command, variables) in [
        ("migrate", [("DATABASE_URL", DATABASE)].as_slice()),
        ("topics", &[("KAFKA_BOOTSTRAP_SERVERS", BROKER)]),
        ("poll", &[("KAFKA_BOOTSTRAP_SERVERS", BROKER)]),
        (&up_database, &[]),
        (&up_broker, &[]),
    ] {
        let started = Instant::now();
        let said = run(command, variables).await;
        let took = started.elapsed();
        assert!(said.error().contains("cannot connect to nowhere.invalid"), "{command}: {said:?}");
        assert!(!said.stderr.contains("hunter2"), "{command}: {said:?}");
        assert!(took < AT_ONCE, "{command} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_host_and_the_port_of_a_server_that_is_not_listening() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let database = format!("postgres://user:hunter2@{unused}/sluice");
    let said = run("migrate", &[("DATABASE_URL", &database)]).await;
    assert!(said.error().contains(&format!("DATABASE_URL: cannot connect to {unused}: ")), "{said:?}");
    assert!(!said.stderr.contains("hunter2"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_ignored_if_the_name_of_another_broker_resolves() {
    let plan = plan();
    let servers = format!("{BROKER},{}", settings().bootstrap_servers);
    let contracts = plan.contracts().to_str().unwrap();
    let said = run("topics", &[("KAFKA_BOOTSTRAP_SERVERS", &servers), ("CONTRACTS_DIR", contracts)]).await;
    assert!(said.is_well, "{said:?}");
}
