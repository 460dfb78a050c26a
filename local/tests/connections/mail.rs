//! Sends the hourly report through Amazon SES.

use axum::Router;
use base64_simd::STANDARD;
use lambda_runtime::{Context, Diagnostic};
use report::{ReportFunction, ReportSettings, Reports};
use serde_json::{Value, json};
use shared::process::clock::Clock;
use testing::TestDatabase;

use crate::aws::StubAws;

#[tokio::test(flavor = "multi_thread")]
async fn an_hourly_report_is_retried_until_ses_accepts_it_and_is_then_not_sent_again() {
    let (aws, database) = (StubAws::start().await, TestDatabase::create().await);
    sqlx::query(
        "insert into public.user_events (id, city, datetime) values (gen_random_uuid(), 'Holland', '2019-05-07')",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    let settings = ReportSettings::read(|name| match name {
        "REPORT_TO" => Some("ann@example.com, bob@example.com".to_owned()),
        "REPORT_FROM" => Some("sluice@example.com".to_owned()),
        _ => None,
    });
    let clock = Clock::fixed(1_557_258_853_563);
    let reports = Reports::new(database.pool.clone(), clock, &settings.unwrap(), &aws.client().await).unwrap();
    let function = ReportFunction::new(reports, Router::new());
    let fire = async || function.invoke(r#"{"time": "2019-05-07T19:00:00Z"}"#, Context::default()).await;

    aws.set(|answers| answers.is_down = true);
    let failed = fire().await.unwrap_err();
    assert_eq!(Diagnostic::from(failed).error_type, "Sluice.Mail");
    aws.set(|answers| answers.is_down = false);
    for outcome in ["sent", "already_sent"] {
        let answer: Value = serde_json::from_str(fire().await.unwrap().get()).unwrap();
        assert_eq!(answer, json!({"report": outcome}));
    }

    let [mail] = &aws.answers().mails[..] else { panic!("{:?}", aws.answers()) };
    let raw = STANDARD.decode_to_vec(mail["Content"]["Raw"]["Data"].as_str().unwrap()).unwrap();
    let raw = String::from_utf8(raw).unwrap();
    for line in [
        "From: sluice@example.com\r\n",
        "To: ann@example.com, bob@example.com\r\n",
        "Subject: User events by city: 1 event, 2019-05-07 19:00 UTC\r\n",
        "Message-ID: <report.2019-05-07T19@example.com>\r\n",
    ] {
        assert!(raw.contains(line), "{raw}");
    }
}
