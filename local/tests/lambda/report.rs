//! Tests the hourly e-mail when runs of the function are killed.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use futures::future::join_all;
use local::lambda::{Answer, Lambda, Plan};
use local::mail_sink::MailSink;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::function::{TIMEOUT, environment};
use super::support::gateway::plan;
use super::support::{binaries, kafka};

const HOURS: usize = 20;
const SANDBOXES: usize = 3;

fn report_delivery(answer: Answer) -> Option<String> {
    match answer {
        Answer::Response(body) => {
            let answer: Value = serde_json::from_slice(&body).unwrap();
            Some(answer["report"].as_str().unwrap().to_owned())
        }
        Answer::Error(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_has_a_second_mail_only_if_a_run_is_killed_between_the_mail_and_the_commit() {
    let seed = std::env::var("SLUICE_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("SLUICE_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let plan = plan().without_consuming();
    let contracts = plan.contracts().to_owned();
    let gateway = plan.start().await;
    let folder = tempfile::tempdir().unwrap();
    let mails = folder.path().join("mail");
    let sink = MailSink::start(&mails).await.unwrap();
    let mut environment = environment(&gateway.database.url, &kafka::settings(), &contracts);
    environment.extend([
        ("REPORT_TO", "ann@example.com".to_owned()),
        ("REPORT_FROM", "sluice@example.com".to_owned()),
        ("SMTP_URL", sink.url.clone()),
    ]);
    let plan = Plan {
        name: "report",
        binary: binaries::folder().await.join("report"),
        environment,
        timeout: TIMEOUT,
        freezes: false,
        folder: folder.path().to_owned(),
    };
    let lambda = Lambda::start(plan, SANDBOXES).await.unwrap();

    let mut kills = 0;
    for hour in 0..HOURS {
        let event =
            json!({"source": "aws.events", "time": format!("2026-11-{:02}T{:02}:00:00Z", 1 + hour / 10, hour % 10)});
        let event = Bytes::from(event.to_string());
        let runs = join_all((0..SANDBOXES).map(|_| lambda.invoke(event.clone())));
        let kill = async {
            let sandbox = &lambda.sandboxes()[rng.random_range(0..SANDBOXES)];
            sandbox.is_busy().await;
            tokio::time::sleep(Duration::from_micros(rng.random_range(0..40_000))).await;
            kills += usize::from(sandbox.kill().await);
        };
        let (answers, ()) = futures::join!(runs, kill);
        let sent = answers.into_iter().filter_map(report_delivery).filter(|delivery| delivery == "sent").count();
        assert!(sent <= 1);
        // If a run has answered `sent`, the next run does not send the report again.
        let next = report_delivery(lambda.invoke(event.clone()).await).unwrap();
        assert!(sent == 0 || next == "already_sent", "{next} after {sent}");
        assert_eq!(report_delivery(lambda.invoke(event).await).as_deref(), Some("already_sent"));
    }
    lambda.stop().await.unwrap();

    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    for file in std::fs::read_dir(&mails).unwrap() {
        let mail = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let id = mail.lines().find(|line| line.starts_with("Message-ID: ")).unwrap();
        *copies.entry(id.to_owned()).or_default() += 1;
    }
    let twice = copies.values().filter(|copies| **copies > 1).count();
    eprintln!("{HOURS} hours, {kills} runs killed, {twice} of these between the mail and the commit");
    assert_eq!(copies.len(), HOURS);
    assert!(copies.values().all(|copies| *copies <= 2), "{copies:?}");
    assert!(twice < kills, "{copies:?}");
}
