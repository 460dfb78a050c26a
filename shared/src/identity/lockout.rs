//! Lockout: repeated wrong passwords block a name for a while. An attempt is counted before its password is compared,
//! so that parallel guesses in any number of processes cannot exceed the limit.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row as _};

use super::name::UserName;

/// When failed attempts block a name, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The number of failed attempts after which the name is blocked: `BLOCK_AFTER`.
    pub after: usize,
    /// The time for which a failed attempt counts, in milliseconds: `BLOCK_WINDOW_SECONDS`.
    pub window_ms: i64,
    /// The length of a block, in milliseconds: `BLOCK_FOR_SECONDS`.
    pub for_ms: i64,
}

/// The maximum time that an attempt can be in flight. Comparing a password takes less, so an older attempt belongs to a
/// process that has died. Such an attempt counts as failed.
const CHECK_MOST_MS: i64 = 30_000;

/// The counts of a name: its failed attempts, its attempts in flight, and its block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// The times of failed attempts.
    failed_at_ms: Vec<i64>,
    /// The start times of attempts whose passwords are still being compared.
    checking_at_ms: Vec<i64>,
    blocked_until_ms: Option<i64>,
}

/// The decision about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The attempt's password may be compared.
    Admitted,
    /// If all attempts in flight failed, the name would be blocked. The caller must wait for their results.
    Wait,
    /// The name is blocked.
    Blocked {
        /// When the block ends.
        until_ms: i64,
    },
}

impl Count {
    /// Decides about an attempt, and counts it if it is admitted.
    pub(super) fn admit(&mut self, rule: Rule, now_ms: i64) -> Admission {
        if let Some(until_ms) = self.blocked_until_ms {
            if until_ms > now_ms {
                return Admission::Blocked { until_ms };
            }
            *self = Self::default();
        }
        let is_gone = |at_ms: &mut i64| *at_ms <= now_ms - CHECK_MOST_MS;
        let gone: Vec<i64> = self.checking_at_ms.extract_if(.., is_gone).collect();
        self.failed_at_ms.extend(gone);
        self.failed_at_ms.retain(|at_ms| *at_ms > now_ms - rule.window_ms);
        if self.failed_at_ms.len() >= rule.after {
            Admission::Blocked { until_ms: self.block(rule, now_ms) }
        } else if self.failed_at_ms.len() + self.checking_at_ms.len() >= rule.after {
            Admission::Wait
        } else {
            self.checking_at_ms.push(now_ms);
            Admission::Admitted
        }
    }

    /// Records that the attempt that was admitted at `at_ms` has failed.
    pub(super) fn fail(&mut self, rule: Rule, at_ms: i64, now_ms: i64) {
        if !self.take(at_ms) {
            // The attempt is no longer in flight. Either it took so long that it already counts as failed, or counting
            // has restarted in the meantime, for example because a block was lifted.
            return;
        }
        self.failed_at_ms.push(at_ms);
        self.failed_at_ms.retain(|at_ms| *at_ms > now_ms - rule.window_ms);
        if self.failed_at_ms.len() >= rule.after {
            self.block(rule, now_ms);
        }
    }

    /// Records that the attempt that was admitted at `at_ms` has succeeded.
    pub(super) fn succeed(&mut self, at_ms: i64) {
        self.take(at_ms);
    }

    fn take(&mut self, at_ms: i64) -> bool {
        let found = self.checking_at_ms.iter().position(|checking| *checking == at_ms);
        found.map(|index| self.checking_at_ms.swap_remove(index)).is_some()
    }

    fn block(&mut self, rule: Rule, now_ms: i64) -> i64 {
        let until_ms = now_ms + rule.for_ms;
        *self = Self { blocked_until_ms: Some(until_ms), ..Self::default() };
        until_ms
    }
}

/// Locks the counts of a name until the transaction ends, and returns them.
pub(super) async fn lock(connection: &mut PgConnection, name: &UserName, now_ms: i64) -> Result<Count, sqlx::Error> {
    const UPSERT: &str = "
        insert into sluice.blocks as b (name_key, name, touched_at_ms) values ($1, $2, $3)
        on conflict (name_key) do update set touched_at_ms = greatest(b.touched_at_ms, excluded.touched_at_ms)
        returning failed_at_ms, checking_at_ms, blocked_until_ms";
    let row = sqlx::query(UPSERT).bind(name.key()).bind(name.shown()).bind(now_ms).fetch_one(connection).await?;
    Ok(Count {
        failed_at_ms: row.try_get("failed_at_ms")?,
        checking_at_ms: row.try_get("checking_at_ms")?,
        blocked_until_ms: row.try_get("blocked_until_ms")?,
    })
}

/// Stores the counts of a locked name.
pub(super) async fn store(connection: &mut PgConnection, name_key: &str, count: &Count) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "
        update sluice.blocks set failed_at_ms = $2, checking_at_ms = $3, blocked_until_ms = $4 where name_key = $1";
    sqlx::query(UPDATE)
        .bind(name_key)
        .bind(&count.failed_at_ms)
        .bind(&count.checking_at_ms)
        .bind(count.blocked_until_ms)
        .execute(connection)
        .await?;
    Ok(())
}

/// A blocked name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The name as it was registered or, if it belongs to no user, as it was given in an attempt.
    pub name: String,
    /// Whether the name belongs to a user.
    pub is_user: bool,
    /// When the block ends.
    pub until_ms: i64,
}

/// Lists blocked names.
///
/// # Errors
/// The database's error.
pub async fn blocked(pool: &PgPool, now_ms: i64) -> Result<Vec<Blocked>, sqlx::Error> {
    const SELECT: &str = "
        select coalesce(u.name, b.name) as name, u.id is not null as is_user, b.blocked_until_ms
        from sluice.blocks b left join sluice.users u using (name_key)
        where b.blocked_until_ms > $1 order by b.name_key";
    let read = |row: PgRow| {
        Ok(Blocked {
            name: row.try_get("name")?,
            is_user: row.try_get("is_user")?,
            until_ms: row.try_get("blocked_until_ms")?,
        })
    };
    sqlx::query(SELECT).bind(now_ms).try_map(read).fetch_all(pool).await
}

/// Returns when a name's block ends, if the name is blocked.
pub(super) async fn blocked_until(pool: &PgPool, name_key: &str, now_ms: i64) -> Result<Option<i64>, sqlx::Error> {
    const SELECT: &str = "select blocked_until_ms from sluice.blocks where name_key = $1 and blocked_until_ms > $2";
    sqlx::query_scalar(SELECT).bind(name_key).bind(now_ms).fetch_optional(pool).await
}

/// Lifts a name's block and restarts counting. Returns whether there was a block.
pub(super) async fn lift(executor: impl PgExecutor<'_>, name_key: &str, now_ms: i64) -> Result<bool, sqlx::Error> {
    const DELETE: &str = "delete from sluice.blocks where name_key = $1 and blocked_until_ms > $2";
    let lifted = sqlx::query(DELETE).bind(name_key).bind(now_ms).execute(executor).await?;
    Ok(lifted.rows_affected() > 0)
}

/// Deletes at most 100 names whose counts have all expired.
pub(super) async fn forget(connection: &mut PgConnection, rule: Rule, now_ms: i64) -> Result<(), sqlx::Error> {
    const DELETE: &str = "
        delete from sluice.blocks where name_key in (
            select name_key from sluice.blocks
            where touched_at_ms < $1 and coalesce(blocked_until_ms, 0) < $2
            order by touched_at_ms limit 100 for update skip locked)";
    let before_ms = now_ms - rule.window_ms.max(CHECK_MOST_MS);
    sqlx::query(DELETE).bind(before_ms).bind(now_ms).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { after: 3, window_ms: 60_000, for_ms: 900_000 };

    fn fail(count: &mut Count, now_ms: i64) -> Admission {
        let admission = count.admit(RULE, now_ms);
        if admission == Admission::Admitted {
            count.fail(RULE, now_ms, now_ms);
        }
        admission
    }

    #[test]
    fn the_attempt_that_reaches_the_limit_is_admitted_and_later_attempts_are_blocked() {
        let mut count = Count::default();
        let outcomes: Vec<_> = (0..4).map(|now_ms| fail(&mut count, now_ms)).collect();
        let blocked = Admission::Blocked { until_ms: 900_002 };
        assert_eq!(outcomes, [Admission::Admitted, Admission::Admitted, Admission::Admitted, blocked]);
        // Attempts during the block do not extend it, and counting restarts afterwards.
        assert_eq!(fail(&mut count, 900_001), blocked);
        let outcomes: Vec<_> = (900_002..900_005).map(|now_ms| fail(&mut count, now_ms)).collect();
        assert_eq!(outcomes, [Admission::Admitted; 3]);
    }

    #[test]
    fn failures_count_only_within_the_window() {
        let mut count = Count::default();
        for now_ms in [0, 30_000, 60_000, 90_000, 120_000] {
            assert_eq!(fail(&mut count, now_ms), Admission::Admitted, "{now_ms}");
        }
        assert_eq!(fail(&mut count, 120_001), Admission::Admitted);
        assert!(matches!(fail(&mut count, 120_002), Admission::Blocked { .. }));
    }

    #[test]
    fn concurrent_attempts_wait_for_earlier_ones() {
        let mut count = Count::default();
        for now_ms in 0..3 {
            assert_eq!(count.admit(RULE, now_ms), Admission::Admitted);
        }
        assert_eq!(count.admit(RULE, 3), Admission::Wait);
        count.succeed(1);
        assert_eq!(count.admit(RULE, 4), Admission::Admitted);
        for at_ms in [0, 2, 4] {
            count.fail(RULE, at_ms, 5);
        }
        assert_eq!(count.admit(RULE, 6), Admission::Blocked { until_ms: 900_005 });
    }

    #[test]
    fn an_attempt_whose_process_died_counts_as_failed() {
        let mut count = Count::default();
        for now_ms in 0..3 {
            count.admit(RULE, now_ms);
        }
        assert_eq!(count.admit(RULE, 29_999), Admission::Wait);
        assert!(matches!(count.admit(RULE, 30_002), Admission::Blocked { .. }));
    }

    #[test]
    fn a_failed_attempt_that_began_before_a_block_was_lifted_does_not_count() {
        let mut count = Count::default();
        count.admit(RULE, 0);
        let mut lifted = Count::default();
        lifted.fail(RULE, 0, 1);
        assert_eq!(lifted, Count::default());
    }
}
