//! Reads values for the requests: letters, cursors and receipts from all parts of the tables.

use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row as _};

/// The number of values of each kind. `Sample::routes` has ten times as many.
const SAMPLED: i64 = 200;

/// A dead letter.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) id: i64,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) error_code: String,
    pub(super) reason: String,
    /// The reason of the letter's group: the letter's reason, with placeholders for the parts that vary.
    pub(super) pattern: String,
    /// The cursor with which a list continues after this letter. A list returns it in `next`.
    pub(super) cursor: String,
    /// The time at which the event became a dead letter.
    pub(super) at: String,
}

/// Values for the requests. The letters and their ids are in random order.
#[derive(Debug)]
pub(super) struct Sample {
    /// Open letters.
    pub(super) open: Vec<Letter>,
    /// Replayed letters.
    pub(super) replayed: Vec<Letter>,
    /// Ids of open letters of the stream `route`, which has mode `append`. They are for the requests that can be sent
    /// only once for each letter.
    pub(super) routes: Vec<i64>,
    /// Receipts of waiting, duplicate and superseded events.
    pub(super) exceptions: Vec<String>,
}

impl Sample {
    pub(super) async fn read(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let letters = async |status: &str| {
            let select = r#"
                select id, topic, "partition", "offset", error_code, reason, sluice.reason_pattern(reason) as pattern,
                       (extract(epoch from created_at) * 1000000)::bigint || '-' || id as cursor,
                       to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at
                from sluice.dead_letters where status = $1 order by hashint8(id) limit $2"#;
            sqlx::query(select).bind(status).bind(SAMPLED).try_map(letter).fetch_all(pool).await
        };
        let routes = "
            select id from sluice.dead_letters where status = 'open' and topic = 'routes' and error_code = '23514'
            order by hashint8(id + 1) limit $1";
        let exceptions = r#"
            (select topic || '/' || "partition" || '/' || "offset" from sluice.waiting limit $1)
            union all (select topic || '/' || "partition" || '/' || "offset" from sluice.duplicates limit $1)
            union all (select topic || '/' || "partition" || '/' || first_offset from sluice.superseded limit $1)"#;
        Ok(Self {
            open: letters("open").await?,
            replayed: letters("replayed").await?,
            routes: sqlx::query_scalar(routes).bind(10 * SAMPLED).fetch_all(pool).await?,
            exceptions: sqlx::query_scalar(exceptions).bind(SAMPLED).fetch_all(pool).await?,
        })
    }
}

fn letter(row: PgRow) -> Result<Letter, sqlx::Error> {
    Ok(Letter {
        id: row.try_get("id")?,
        topic: row.try_get("topic")?,
        partition: row.try_get("partition")?,
        offset: row.try_get("offset")?,
        error_code: row.try_get("error_code")?,
        reason: row.try_get("reason")?,
        pattern: row.try_get("pattern")?,
        cursor: row.try_get("cursor")?,
        at: row.try_get("at")?,
    })
}
