//! Checks a password: counts the attempt, compares the password, and records the result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::account::{self, Account};
use super::attempt::{self, Attempt, AttemptOutcome};
use super::denied::Denied;
use super::lockout::{self, Admission};
use super::name::UserName;
use super::password::{Compared, Password};
use super::{Identity, Inner, Via};
use crate::http::database::{in_time, is_out_of_reach, spawn};
use crate::http::edge::Origin;

/// The sender of a name and a password.
struct Claimant {
    name: UserName,
    /// How the password was sent. If `None`, the attempt is counted but not published.
    via: Option<Via>,
    origin: Origin,
}

/// An attempt whose password may be compared, and the time at which the attempt was counted.
struct Admitted {
    account: Option<Arc<Account>>,
    at_ms: i64,
}

impl Identity {
    /// Returns the account of this name, if the password is correct. The attempt is published with `via`, unless `via`
    /// is `None`.
    ///
    /// # Errors
    /// The password is wrong, the name is blocked, or the database or hashing does not finish in time.
    pub(super) async fn check(
        &self,
        name: &UserName,
        password: Password,
        via: Option<Via>,
        origin: &Origin,
    ) -> Result<Arc<Account>, Denied> {
        let claimant = Claimant { name: name.clone(), via, origin: origin.clone() };
        let inner = Arc::clone(&self.0);
        // The check runs in its own task, so that the attempt is counted even if the caller hangs up.
        let check = spawn(async move { inner.check(claimant, password).await });
        check.await.unwrap_or(Err(Denied::Fault))
    }
}

impl Inner {
    async fn check(&self, claimant: Claimant, password: Password) -> Result<Arc<Account>, Denied> {
        // Blocked users are answered here, without waiting for a hashing permit.
        let until_ms = in_time(lockout::blocked_until(&self.pool, claimant.name.key(), self.clock.now_ms())).await?;
        if let Some(until_ms) = until_ms {
            let mut connection = in_time(self.pool.acquire()).await?;
            in_time(self.tell(&mut connection, &claimant, None, AttemptOutcome::Blocked)).await?;
            drop(connection);
            self.relay().await;
            return Err(self.blocked(until_ms));
        }
        let outcome = self.compare(&claimant, password).await;
        self.relay().await;
        outcome
    }

    async fn compare(&self, claimant: &Claimant, password: Password) -> Result<Arc<Account>, Denied> {
        const PATIENCE: Duration = Duration::from_secs(15);
        const PAUSE: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        loop {
            let permit = self.hasher.permit().await?;
            match in_time(self.admit(claimant)).await? {
                Ok(admitted) => {
                    let stored = admitted.account.as_ref().map(|account| account.password_hash.clone());
                    let compared = permit.compare(password, stored).await?;
                    return in_time(self.settle(claimant, admitted, compared)).await;
                }
                Err(Admission::Wait) if begun.elapsed() < PATIENCE => {
                    drop(permit);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Admission::Blocked { until_ms }) => return Err(self.blocked(until_ms)),
                Err(Admission::Wait | Admission::Admitted) => return Err(Denied::Busy),
            }
        }
    }

    /// Decides about the attempt, and counts it if it is admitted.
    async fn admit(&self, claimant: &Claimant) -> Result<Result<Admitted, Admission>, sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = self.clock.now_ms();
        let mut count = lockout::lock(&mut transaction, &claimant.name, now_ms).await?;
        let account = account::find(&mut *transaction, claimant.name.key()).await?.account;
        let admission = count.admit(self.lockout, now_ms);
        lockout::store(&mut transaction, claimant.name.key(), &count).await?;
        if matches!(admission, Admission::Blocked { .. }) {
            self.tell(&mut transaction, claimant, account.as_deref(), AttemptOutcome::Blocked).await?;
        }
        transaction.commit().await?;
        match admission {
            Admission::Admitted => Ok(Ok(Admitted { account, at_ms: now_ms })),
            Admission::Wait | Admission::Blocked { .. } => Ok(Err(admission)),
        }
    }

    /// Records the attempt's result.
    async fn settle(
        &self,
        claimant: &Claimant,
        Admitted { account, at_ms }: Admitted,
        compared: Compared,
    ) -> Result<Arc<Account>, Denied> {
        let mut transaction = self.pool.begin().await?;
        let now_ms = self.clock.now_ms();
        let mut count = lockout::lock(&mut transaction, &claimant.name, now_ms).await?;
        let result = match (compared, account) {
            (Compared::Same { rehashed }, Some(mut account)) => {
                count.succeed(at_ms);
                self.tell(&mut transaction, claimant, Some(&account), AttemptOutcome::Success).await?;
                if let Some(hash) = rehashed {
                    account::rehash(&mut transaction, &account, &hash).await?;
                    Arc::make_mut(&mut account).password_hash = hash;
                }
                Ok(account)
            }
            (Compared::Same { .. } | Compared::Differs, account) => {
                count.fail(self.lockout, at_ms, now_ms);
                self.tell(&mut transaction, claimant, account.as_deref(), AttemptOutcome::Failure).await?;
                lockout::forget(&mut transaction, self.lockout, now_ms).await?;
                Err(Denied::WrongPassword)
            }
        };
        lockout::store(&mut transaction, claimant.name.key(), &count).await?;
        transaction.commit().await?;
        // The remembered account is outdated: by now, the name may be blocked, or the password may have another hash.
        self.remembered.forget(claimant.name.key());
        result
    }

    async fn tell(
        &self,
        connection: &mut PgConnection,
        claimant: &Claimant,
        account: Option<&Account>,
        outcome: AttemptOutcome,
    ) -> Result<(), sqlx::Error> {
        let (Some(_), Some(via)) = (&self.relay, claimant.via) else {
            return Ok(());
        };
        let at = jiff::Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or_default().to_string();
        let attempt = Attempt {
            user: account.map_or(claimant.name.shown(), |account| &account.name),
            at,
            outcome,
            via,
            source_ip: claimant.origin.source_ip.as_deref(),
            request_id: &claimant.origin.request_id,
        };
        attempt::record(connection, &attempt).await
    }

    async fn relay(&self) {
        // If the database is out of reach, so is the outbox. Nothing can be sent, and waiting would only occupy the
        // Lambda sandbox.
        if let Some(relay) = &self.relay
            && !is_out_of_reach()
        {
            relay.send().await;
        }
    }

    fn blocked(&self, until_ms: i64) -> Denied {
        let left_ms = u64::try_from(until_ms - self.clock.now_ms()).unwrap_or_default().max(1);
        Denied::Blocked { retry_after_seconds: u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX) }
    }
}
