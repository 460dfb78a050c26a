//! Lockout: who fails too often is blocked for a while. An attempt is counted before its password is compared, so that
//! guesses at once, in any number of processes, do not pass the limit.

use sqlx::{PgConnection, PgPool, Row as _};

use super::name::UserName;

/// How much guessing is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// This many failed attempts block: `BLOCK_AFTER`.
    pub after: usize,
    /// Within this many milliseconds: `BLOCK_WINDOW_SECONDS`.
    pub window_ms: i64,
    /// For this many milliseconds: `BLOCK_FOR_SECONDS`.
    pub for_ms: i64,
}

/// Comparing a password takes less, unless its process is gone: then the attempt counts as failed.
const CHECK_MOST_MS: i64 = 30_000;

/// What is counted of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// When attempts failed.
    failed_at_ms: Vec<i64>,
    /// When attempts began whose passwords are still being compared.
    checking_at_ms: Vec<i64>,
    blocked_until_ms: Option<i64>,
}

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Its password may be compared.
    Admitted,
    /// As many others are being compared as may still fail: their outcome decides.
    Wait,
    /// It is too late.
    Blocked {
        /// Until when.
        until_ms: i64,
    },
}

impl Count {
    /// Decides over an attempt and counts it, if it is admitted.
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

    /// Notes that the attempt that was admitted at `at_ms` failed.
    pub(super) fn fail(&mut self, rule: Rule, at_ms: i64, now_ms: i64) {
        if !self.take(at_ms) {
            // The block was lifted meanwhile, and counting has started anew.
            return;
        }
        self.failed_at_ms.push(at_ms);
        self.failed_at_ms.retain(|at_ms| *at_ms > now_ms - rule.window_ms);
        if self.failed_at_ms.len() >= rule.after {
            self.block(rule, now_ms);
        }
    }

    /// Notes that the attempt that was admitted at `at_ms` succeeded.
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

/// Locks what is counted of a name until the transaction ends.
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

/// Stores what is counted of a name that is locked.
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

/// The names that are blocked, as they were given: users as they registered, others as they were tried.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn blocked(pool: &PgPool, now_ms: i64) -> Result<Vec<String>, sqlx::Error> {
    const SELECT: &str = "
        select coalesce(u.name, b.name) from sluice.blocks b left join sluice.users u using (name_key)
        where b.blocked_until_ms > $1 order by b.name_key";
    sqlx::query_scalar(SELECT).bind(now_ms).fetch_all(pool).await
}

/// Until when a name is blocked, if it is.
pub(super) async fn blocked_until(pool: &PgPool, name_key: &str, now_ms: i64) -> Result<Option<i64>, sqlx::Error> {
    const SELECT: &str = "select blocked_until_ms from sluice.blocks where name_key = $1 and blocked_until_ms > $2";
    sqlx::query_scalar(SELECT).bind(name_key).bind(now_ms).fetch_optional(pool).await
}

/// Lifts a name's block; counting starts anew. Answers whether there was one.
///
/// # Errors
/// What PostgreSQL answers.
pub async fn lift(pool: &PgPool, name_key: &str, now_ms: i64) -> Result<bool, sqlx::Error> {
    const DELETE: &str = "delete from sluice.blocks where name_key = $1 and blocked_until_ms > $2";
    let lifted = sqlx::query(DELETE).bind(name_key).bind(now_ms).execute(pool).await?;
    Ok(lifted.rows_affected() > 0)
}

/// Forgets names of which nothing counts any more.
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
    fn the_last_failure_is_still_admitted_and_what_follows_is_blocked() {
        let mut count = Count::default();
        let outcomes: Vec<_> = (0..4).map(|now_ms| fail(&mut count, now_ms)).collect();
        let blocked = Admission::Blocked { until_ms: 900_002 };
        assert_eq!(outcomes, [Admission::Admitted, Admission::Admitted, Admission::Admitted, blocked]);
        // Attempts meanwhile do not extend it, and afterwards counting starts anew.
        assert_eq!(fail(&mut count, 900_001), blocked);
        let outcomes: Vec<_> = (900_002..900_005).map(|now_ms| fail(&mut count, now_ms)).collect();
        assert_eq!(outcomes, [Admission::Admitted; 3]);
    }

    #[test]
    fn failures_count_within_the_window_only() {
        let mut count = Count::default();
        for now_ms in [0, 30_000, 60_000, 90_000, 120_000] {
            assert_eq!(fail(&mut count, now_ms), Admission::Admitted, "{now_ms}");
        }
        assert_eq!(fail(&mut count, 120_001), Admission::Admitted);
        assert!(matches!(fail(&mut count, 120_002), Admission::Blocked { .. }));
    }

    #[test]
    fn attempts_at_once_wait_for_those_before_them() {
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
    fn an_attempt_whose_process_is_gone_counts_as_failed() {
        let mut count = Count::default();
        for now_ms in 0..3 {
            count.admit(RULE, now_ms);
        }
        assert_eq!(count.admit(RULE, 29_999), Admission::Wait);
        assert!(matches!(count.admit(RULE, 30_002), Admission::Blocked { .. }));
    }

    #[test]
    fn what_fails_after_a_block_was_lifted_does_not_count() {
        let mut count = Count::default();
        count.admit(RULE, 0);
        let mut lifted = Count::default();
        lifted.fail(RULE, 0, 1);
        assert_eq!(lifted, Count::default());
    }
}
