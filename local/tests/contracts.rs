//! Tests contracts that a team keeps in its own repository. Events of these contracts land, and
//! `cargo local contracts check` compares versions of the contracts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic if its setup fails")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use local::template::Template;
use serde_json::{Value, json};
use shared::contract::{Contract, Registry};
use support::database::TestDatabase;
use support::gateway::plan;

const ROUTE: &str = r#"{"userID":5,"timestamp":1557258853.563,"coordinates":[52.3676,4.9041]}"#;

/// Returns the folder of contracts that a team keeps in its own repository.
fn own_contracts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders/contracts")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_teams_own_contracts_land_and_the_built_in_streams_are_gone() {
    let gateway = plan().only(&own_contracts()).start().await;
    let contract: Value = serde_json::from_slice(&std::fs::read(own_contracts().join("order.json")).unwrap()).unwrap();
    let order = contract["examples"][0].to_string();

    let (status, body) = gateway.post("/events/order", &[("prefer", "wait=20")], order).await;
    assert_eq!(status, 200, "{body}");
    let row: (String, String) = sqlx::query_as("select total::text, discount::text from public.orders")
        .fetch_one(&gateway.database.pool)
        .await
        .unwrap();
    assert_eq!(row, ("59.90".to_owned(), "5.00".to_owned()));

    for path in ["/events/route", "/submit/1", "/city"] {
        let (status, body) = gateway.post(path, &[], ROUTE).await;
        assert_eq!((status, &body["type"]), (404, &json!("/problems/not-found")), "{path} {body}");
    }
    let (_, streams) = gateway.get("/streams").await;
    let names: Vec<&str> =
        streams["items"].as_array().unwrap().iter().map(|item| item["stream"].as_str().unwrap()).collect();
    assert_eq!(names, ["login", "order"]);
    let (_, document) = gateway.get("/openapi.json").await;
    for path in ["/events/route", "/submit/{n}", "/city"] {
        assert!(document["paths"].get(path).is_none(), "{path}");
    }
}

#[test]
fn each_topic_of_a_teams_own_contracts_has_a_mapping_in_the_teams_template() {
    let template = Template::read(&own_contracts().join("../template.yaml")).unwrap();
    let topics: BTreeSet<&str> = template
        .resources()
        .filter(|(_, resource)| resource["Type"].as_str() == Some("AWS::Lambda::EventSourceMapping"))
        .map(|(_, mapping)| mapping["Properties"]["Topics"][0].as_str().unwrap())
        .collect();
    let registry = Registry::load(Some(&own_contracts())).unwrap();
    let own = registry.contracts().filter(|contract| contract.stream != Contract::LOGIN);
    assert_eq!(topics, own.map(|contract| contract.topic.as_str()).collect());
}

/// Runs a program, and returns its exit status and what it printed.
async fn run(program: &str, arguments: &[&str], contracts_dir: &Path) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(program);
    let output = command.args(arguments).env("CONTRACTS_DIR", contracts_dir).output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_counts_the_real_events_that_a_change_of_a_contract_would_break() {
    let gateway = plan().without_consuming().start().await;
    let events: Vec<String> = (0..100).map(|user| ROUTE.replace(":5,", &format!(":{user},"))).collect();
    let (status, body) = gateway.post("/events/route", &[], format!("[{}]", events.join(","))).await;
    assert_eq!(status, 202, "{body}");

    let repository = tempfile::tempdir().unwrap();
    let folder = repository.path().join("contracts");
    std::fs::create_dir(&folder).unwrap();
    let write = |change: &dyn Fn(&mut Value)| {
        let mut contract = gateway.registry.stream("route").unwrap().document.clone();
        change(&mut contract);
        std::fs::write(folder.join("route.json"), contract.to_string()).unwrap();
    };
    let git = async |arguments: &[&str]| {
        let path = repository.path().to_str().unwrap();
        let own = ["-C", path, "-c", "user.name=Ann", "-c", "user.email=ann@example.com"];
        let (code, printed) = run("git", &[&own, arguments].concat(), &folder).await;
        assert_eq!(code, Some(0), "{printed}");
    };
    write(&|_| {});
    for arguments in [["init", "--quiet", "."].as_slice(), &["add", "."], &["commit", "--quiet", "--message", "Old"]] {
        git(arguments).await;
    }
    let check = async |arguments: &[&str]| {
        let (code, printed) =
            run(env!("CARGO_BIN_EXE_local"), &[&["contracts", "check"], arguments].concat(), &folder).await;
        (code, printed.trim_end().to_owned())
    };
    assert_eq!(check(&["--against", "HEAD", "--replay", "1000"]).await, (Some(0), "no changes".to_owned()));
    let accepted = "the contracts accept all of the 100 events that were checked";
    let (code, printed) = check(&["--replay", "1000"]).await;
    assert_eq!((code, printed.lines().last()), (Some(0), Some(accepted)), "{printed}");
    let (code, printed) = check(&[]).await;
    assert!(code == Some(0) && printed.starts_with("the contracts are valid: `--against` compares"), "{printed}");

    write(&|contract| contract["properties"]["userID"]["maximum"] = json!(49));
    let line = "route /properties/userID/maximum: numbers above 49 are no longer accepted";
    let stricter = format!("stricter {line}\n1 change: 0 breaking, 1 stricter, 0 safe");
    assert_eq!(check(&["--against", "HEAD"]).await, (Some(0), stricter));
    let breaking = format!("breaking {line} (50 of 100 events)\n1 change: 1 breaking, 0 stricter, 0 safe");
    assert_eq!(check(&["--against", "HEAD", "--replay", "1000"]).await, (Some(1), breaking));
    let (code, printed) = check(&["--replay", "1000"]).await;
    assert!(
        code == Some(1) && printed.contains("rejects real events: must be at most 49 (50 of 100 events)"),
        "{printed}"
    );

    write(&|contract| contract["x-sluice"]["columns"]["altitude"] = json!({"meta": "offset", "type": "bigint"}));
    let safe = "safe     route /x-sluice/columns/altitude: added: the table needs the column\n1 change: 0 breaking, 0 stricter, 1 safe";
    assert_eq!(check(&["--against", "HEAD"]).await, (Some(0), safe.to_owned()));
    let (code, printed) = check(&["--against", "no-such-commit"]).await;
    assert!(code == Some(1) && printed.contains("should be a folder, or a commit, branch or tag"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_counts_the_change_sets_of_tables_that_a_contract_no_longer_allows() {
    let gateway = plan().without_consuming().start().await;
    let set = |table: &str| json!({"action": "I", "table": table, "columns": []});
    let sets: Vec<Value> = (0..20).map(|number| set(if number % 4 == 0 { "orders" } else { "items" })).collect();
    let (status, body) = gateway.post("/events/changes", &[], Value::Array(sets).to_string()).await;
    assert_eq!(status, 202, "{body}");

    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut contract = gateway.registry.stream("changes").unwrap().document.clone();
    std::fs::write(old.path().join("changes.json"), contract.to_string()).unwrap();
    contract["x-sluice"]["tables"] = json!(["orders"]);
    std::fs::write(new.path().join("changes.json"), contract.to_string()).unwrap();
    let check = async |arguments: &[&str]| {
        run(env!("CARGO_BIN_EXE_local"), &[&["contracts", "check"], arguments].concat(), new.path()).await
    };
    let (code, printed) = check(&["--against", old.path().to_str().unwrap(), "--replay", "1000"]).await;
    assert!(
        code == Some(1)
            && printed.contains("breaking changes /x-sluice/tables")
            && printed.contains("(15 of 20 events)"),
        "{printed}"
    );
    let (code, printed) = check(&["--replay", "1000"]).await;
    assert!(code == Some(1) && printed.contains("does not allow table \"items\" (15 of 20 events)"), "{printed}");
}

/// Runs `local`. Returns its exit status and what it printed.
async fn local(arguments: &[&str], database: &TestDatabase, contracts_dir: &str) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_local"));
    command.args(arguments).env("DATABASE_URL", &database.url).env("CONTRACTS_DIR", contracts_dir);
    let output = command.output().await.unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_about_a_migration_that_cannot_be_applied_says_what_to_do() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(own_contracts().join("order.json"), folder.path().join("order.json")).unwrap();
    let migrations = folder.path().join("migrations");
    std::fs::create_dir(&migrations).unwrap();
    let [table, taken, typo] =
        ["1000_orders.sql", "0001_orders.sql", "1001_typo.sql"].map(|name| migrations.join(name));
    let migrate = async || local(&["migrate"], &database, folder.path().to_str().unwrap()).await;
    let refused = async |reason: &str| {
        let (code, printed) = migrate().await;
        let expected = format!("error: migrations in {}: {reason}", migrations.display());
        assert_eq!((code, printed.lines().last()), (Some(1), Some(expected.as_str())), "{printed}");
        assert!(!printed.contains("terminating connection"), "{printed}");
    };
    for name in ["orders.sql", "add_orders.sql", "1000-orders.sql", "1000.sql", "1000_orders.SQL"] {
        let other = migrations.join(name);
        std::fs::copy(own_contracts().join("migrations/1000_orders.sql"), &other).unwrap();
        refused(&format!(
            "{name} is not named like 1000_orders.sql: its name must be a number of 1000 or more, then _, then a description"
        ))
        .await;
        std::fs::remove_file(&other).unwrap();
    }
    std::fs::write(migrations.join("README.md"), "Files other than *.sql are ignored.").unwrap();

    std::fs::copy(own_contracts().join("migrations/1000_orders.sql"), &taken).unwrap();
    refused("number 1 is taken by one of Sluice's own migrations; give your migrations numbers of 1000 or more").await;

    std::fs::rename(&taken, &table).unwrap();
    assert_eq!(
        migrate().await,
        (Some(0), "migration 1000 orders applied\nevery contract agrees with its tables\n".to_owned())
    );
    assert_eq!(
        migrate().await,
        (Some(0), "no new migrations: all were applied before\nevery contract agrees with its tables\n".to_owned())
    );

    for direction in ["up", "down"] {
        std::fs::write(migrations.join(format!("1002_note.{direction}.sql")), "select 1").unwrap();
    }
    assert_eq!(
        migrate().await,
        (Some(0), "migration 1002 note applied\nevery contract agrees with its tables\n".to_owned())
    );

    std::fs::write(&typo, "creat table public.items (id bigint)").unwrap();
    let syntax = r#"error returned from database: syntax error at or near "creat""#;
    refused(&format!("while executing migration 1001: {syntax}")).await;
    std::fs::remove_file(&typo).unwrap();

    std::fs::write(&table, "create table public.orders (number text)").unwrap();
    refused(
        "migration 1000 was previously applied but has been modified: \
         restore it, and put the change into a new migration with a higher number",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_send_says_in_which_contracts_the_stream_is_missing() {
    let database = TestDatabase::create().await;
    let send = async |stream: &str, contracts_dir: &str| {
        let (code, printed) = local(&["send", stream, "--count", "1"], &database, contracts_dir).await;
        assert_eq!(code, Some(1), "{printed}");
        printed
    };
    let built_in = send("order", "").await;
    let expected =
        "error: there is no stream `order` in the built-in contracts, which are used if CONTRACTS_DIR is not set; ";
    assert!(built_in.starts_with(expected), "{built_in}");
    let folder = own_contracts();
    let own = send("route", folder.to_str().unwrap()).await;
    let expected = format!(
        "error: there is no stream `route` in CONTRACTS_DIR ({}); the streams are login, order\n",
        folder.display()
    );
    assert_eq!(own, expected);
}
