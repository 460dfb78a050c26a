//! The binary's start: what an operator has to mend stops it with one line, what passes does not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where its ground gives way")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

const TOKEN_KEY: (&str, &str) = ("TOKEN_KEY", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");

fn from_environment(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run ./local/test, or cargo local with-servers -- cargo test"))
}

/// Starts the function with these variables and no others.
fn spawn(variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ingest"))
        .env_clear()
        .envs([("AWS_LAMBDA_FUNCTION_NAME", "ingest"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"), ("AWS_LAMBDA_LOG_STREAM_NAME", "none")])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What it says before it ends.
async fn last_words(variables: &[(&str, &str)]) -> String {
    let variables = [variables, &[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")]].concat();
    let output = tokio::time::timeout(Duration::from_secs(10), spawn(&variables).wait_with_output());
    let output = output.await.expect("it ends").unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// How long it takes until it asks for its first invocation, as the runtime API sees it, and what it has said by then.
async fn time_to_first_next(variables: &[(&str, &str)]) -> (Duration, String) {
    let runtime = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = runtime.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let mut function = spawn(&[variables, &[("AWS_LAMBDA_RUNTIME_API", &*address)]].concat());
    let asked = async {
        let (mut connection, _) = runtime.accept().await.unwrap();
        let mut line = [0; 64];
        let read = connection.read(&mut line).await.unwrap();
        assert!(line[..read].starts_with(b"GET /2018-06-01/runtime/invocation/next"));
        connection.shutdown().await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(10), asked).await.expect("Init ends within Lambda's 10 s");
    let elapsed = begun.elapsed();
    function.kill().await.unwrap();
    let mut said = String::new();
    function.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    (elapsed, said)
}

#[tokio::test]
async fn what_an_operator_has_to_mend_stops_the_start_with_one_line_that_names_the_variable() {
    let database = from_environment("DATABASE_URL");
    let servers = from_environment("KAFKA_BOOTSTRAP_SERVERS");
    let (database, servers) = (("DATABASE_URL", &*database), ("KAFKA_BOOTSTRAP_SERVERS", &*servers));
    let (_, place) = database.1.split_once('@').unwrap();
    let wrong_password = format!("postgres://postgres:wrong@{place}");
    for (variables, expected) in [
        (vec![database, TOKEN_KEY], "KAFKA_BOOTSTRAP_SERVERS is not set: it should hold broker addresses"),
        (vec![servers, TOKEN_KEY], "DATABASE_URL is not set: it should hold a PostgreSQL address"),
        (vec![servers, database], "TOKEN_KEY is not set: it should hold"),
        (vec![servers, database, ("TOKEN_SECRET_ARN", "x")], "TOKEN_SECRET_ARN is malformed: it should hold the ARN"),
        (vec![servers, database, TOKEN_KEY, ("KAFKA_AUTH", "tls")], "KAFKA_SSL_CERT is not set: it should hold"),
        (vec![servers, ("DATABASE_URL", &wrong_password), TOKEN_KEY], "DATABASE_URL: the connection is refused: "),
    ] {
        let said = last_words(&variables).await;
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn it_starts_with_both_connections_open_and_in_time_although_nobody_answers() {
    let database = from_environment("DATABASE_URL");
    let servers = from_environment("KAFKA_BOOTSTRAP_SERVERS");
    let (ready, said) =
        time_to_first_next(&[("DATABASE_URL", &database), ("KAFKA_BOOTSTRAP_SERVERS", &servers), TOKEN_KEY]).await;
    assert_eq!(said, "", "nothing to complain of");

    // They take connections and say nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let database = format!("postgres://u:p@{address}/d");
    let (alone, said) =
        time_to_first_next(&[("DATABASE_URL", &database), ("KAFKA_BOOTSTRAP_SERVERS", &address), TOKEN_KEY]).await;
    assert!(said.contains("DATABASE_URL: the database does not answer"), "{said}");
    assert!(said.contains("KAFKA_BOOTSTRAP_SERVERS: no answer from the cluster"), "{said}");
    assert!(ready < alone && alone < Duration::from_secs(6), "{ready:?}, {alone:?}");
}
