//! Tests `cargo local up --data` after an earlier copy has replaced PostgreSQL's data folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use shared::database;
use sqlx::PgPool;

use super::positions::{ROWS, Receipt, Sender};
use crate::support::gateway::client_of;
use crate::support::process::UpProcess;

/// The beginning of the printed line with the password.
const LOGIN: &str = "Log in as demo with the password ";

/// Copies a folder with its owners and permissions, because PostgreSQL may run as another user.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success(), "{} to {}", from.display(), to.display());
}

/// A running gateway and its database.
struct Running {
    up: UpProcess,
    sender: Sender,
    pool: PgPool,
}

impl Running {
    async fn start(data: &Path) -> Self {
        let up = UpProcess::start_in(data).await;
        let password = up.printed(LOGIN);
        let sender = Sender { url: up.url.clone(), http: client_of(("demo", &password)) };
        let pool = database::connect(&up.printed("DATABASE_URL="), 1).unwrap();
        Self { up, sender, pool }
    }

    /// Returns the printed password and addresses.
    fn access(&self) -> [String; 3] {
        [LOGIN, "DATABASE_URL=", "KAFKA_BOOTSTRAP_SERVERS="].map(|words| self.up.printed(words))
    }

    /// Waits until every receipt says `written`, then checks that each event is in the table once.
    async fn has_all(&self, receipts: &[Receipt]) {
        self.sender.all_are_written(receipts).await;
        let rows: Vec<(i64, i64)> = sqlx::query_as(ROWS).fetch_all(&self.pool).await.unwrap();
        let numbers = 1..=i64::try_from(receipts.len()).unwrap();
        assert_eq!(rows, numbers.map(|number| (number, 1)).collect::<Vec<_>>(), "each event is in the table once");
    }

    async fn stop(mut self) {
        self.pool.close().await;
        self.up.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_data_folder_is_restored_each_missing_event_is_written_once_even_if_no_newer_event_arrives() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let database = data.join("postgresql");
    let put_back = || {
        std::fs::remove_dir_all(&database).unwrap();
        copy(&backup, &database);
    };

    let running = Running::start(&data).await;
    let access = running.access();
    running.stop().await;
    copy(&database, &backup);

    let running = Running::start(&data).await;
    assert_eq!(running.access(), access, "the password and the addresses stay the same");
    let mut receipts = running.sender.write(1..=3).await;
    running.stop().await;
    put_back();

    let running = Running::start(&data).await;
    receipts.extend(running.sender.write(4..=6).await);
    running.has_all(&receipts).await;
    running.stop().await;
    put_back();

    // No newer event arrives, so only the comparison at the start can find the missing events.
    let running = Running::start(&data).await;
    running.has_all(&receipts).await;
    assert_eq!(running.access(), access, "the password and the addresses stay the same");
    running.stop().await;
}
