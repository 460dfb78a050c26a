//! The check of a password: counted first, then compared, then noted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::account::{self, Account};
use super::attempt::{self, Attempt, Outcome};
use super::denied::Denied;
use super::lockout::{self, Admission};
use super::name::UserName;
use super::password::{Compared, Password};
use super::{Identity, Inner, Via};
use crate::http::database::in_time;
use crate::http::edge::Origin;

/// A password that is to be checked.
struct Checked {
    name: UserName,
    /// None: the attempt is counted and not told.
    via: Option<Via>,
    origin: Origin,
}

/// What may be compared, and since when it is counted.
struct Admitted {
    account: Option<Arc<Account>>,
    at_ms: i64,
}

impl Identity {
    /// The account whose password this is. An attempt, told as `via` unless there is none.
    ///
    /// # Errors
    /// The password is wrong, the name is blocked, or something does not do its part in time.
    pub(super) async fn check(
        &self,
        name: &UserName,
        password: Password,
        via: Option<Via>,
        origin: &Origin,
    ) -> Result<Arc<Account>, Denied> {
        let checked = Checked { name: name.clone(), via, origin: origin.clone() };
        let inner = Arc::clone(&self.0);
        // By itself: a caller who hangs up does not keep an attempt from being counted.
        let check = tokio::spawn(async move { inner.check(checked, password).await });
        check.await.unwrap_or(Err(Denied::Fault))
    }
}

impl Inner {
    async fn check(&self, checked: Checked, password: Password) -> Result<Arc<Account>, Denied> {
        // An answer for the blocked that takes no turn from others.
        let until_ms = in_time(lockout::blocked_until(&self.pool, checked.name.key(), self.clock.now_ms())).await?;
        if let Some(until_ms) = until_ms {
            let mut connection = in_time(self.pool.acquire()).await?;
            in_time(self.tell(&mut connection, &checked, None, Outcome::Blocked)).await?;
            drop(connection);
            self.relay().await;
            return Err(self.blocked(until_ms));
        }
        let outcome = self.compare(&checked, password).await;
        self.relay().await;
        outcome
    }

    async fn compare(&self, checked: &Checked, password: Password) -> Result<Arc<Account>, Denied> {
        const PATIENCE: Duration = Duration::from_secs(15);
        const PAUSE: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        loop {
            let turn = self.hasher.turn().await?;
            match in_time(self.admit(checked)).await? {
                Ok(admitted) => {
                    let stored = admitted.account.as_ref().map(|account| account.password_hash.clone());
                    let compared = turn.compare(password, stored).await?;
                    return in_time(self.settle(checked, admitted, compared)).await;
                }
                Err(Admission::Wait) if begun.elapsed() < PATIENCE => {
                    drop(turn);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Admission::Blocked { until_ms }) => return Err(self.blocked(until_ms)),
                Err(Admission::Wait | Admission::Admitted) => return Err(Denied::Busy),
            }
        }
    }

    /// Counts the attempt, if it is not too late for it.
    async fn admit(&self, checked: &Checked) -> Result<Result<Admitted, Admission>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = self.clock.now_ms();
        let mut count = lockout::lock(&mut transaction, &checked.name, now_ms).await?;
        let account = account::find(&mut *transaction, checked.name.key()).await?.account;
        let admission = count.admit(self.lockout, now_ms);
        lockout::store(&mut transaction, checked.name.key(), &count).await?;
        if matches!(admission, Admission::Blocked { .. }) {
            self.tell(&mut transaction, checked, account.as_deref(), Outcome::Blocked).await?;
        }
        transaction.commit().await?;
        match admission {
            Admission::Admitted => Ok(Ok(Admitted { account, at_ms: now_ms })),
            Admission::Wait | Admission::Blocked { .. } => Ok(Err(admission)),
        }
    }

    /// Notes what the attempt came to.
    async fn settle(
        &self,
        checked: &Checked,
        Admitted { account, at_ms }: Admitted,
        compared: Compared,
    ) -> Result<Arc<Account>, Denied> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = self.clock.now_ms();
        let mut count = lockout::lock(&mut transaction, &checked.name, now_ms).await?;
        let checked_account = match (compared, account) {
            (Compared::Same { rehashed }, Some(mut account)) => {
                count.succeed(at_ms);
                self.tell(&mut transaction, checked, Some(&account), Outcome::Success).await?;
                if let Some(hash) = rehashed {
                    account::rehash(&mut transaction, &account, &hash).await?;
                    Arc::make_mut(&mut account).password_hash = hash;
                }
                Ok(account)
            }
            (Compared::Same { .. } | Compared::Differs, account) => {
                count.fail(self.lockout, at_ms, now_ms);
                self.tell(&mut transaction, checked, account.as_deref(), Outcome::Failure).await?;
                lockout::forget(&mut transaction, self.lockout, now_ms).await?;
                Err(Denied::WrongPassword)
            }
        };
        lockout::store(&mut transaction, checked.name.key(), &count).await?;
        transaction.commit().await?;
        // It may be blocked now, or have another hash.
        self.known.forget(checked.name.key());
        checked_account
    }

    async fn tell(
        &self,
        connection: &mut PgConnection,
        checked: &Checked,
        account: Option<&Account>,
        outcome: Outcome,
    ) -> Result<(), sqlx::Error> {
        let (Some(_), Some(via)) = (&self.relay, checked.via) else {
            return Ok(());
        };
        let at = jiff::Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default().to_string();
        let attempt = Attempt {
            user: account.map_or(checked.name.shown(), |account| &account.name),
            at,
            outcome,
            via,
            source_ip: checked.origin.source_ip.as_deref(),
            request_id: &checked.origin.request_id,
        };
        attempt::record(connection, &attempt).await
    }

    async fn relay(&self) {
        if let Some(relay) = &self.relay {
            relay.send().await;
        }
    }

    fn blocked(&self, until_ms: i64) -> Denied {
        let left_ms = u64::try_from(until_ms - self.clock.now_ms()).unwrap_or_default().max(1);
        Denied::Blocked { retry_after_seconds: u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX) }
    }
}
