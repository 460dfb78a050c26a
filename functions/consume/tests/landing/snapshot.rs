//! Copies the tables of a database, and restores them.

use sqlx::postgres::PgPool;
use sqlx::{Executor as _, PgExecutor};

/// The tables to which the batches of these tests write. Parents come before their children.
pub(crate) const TABLES: [&str; 13] = [
    "sluice.watermarks",
    "sluice.gaps",
    "sluice.dead_letters",
    "sluice.waiting",
    "sluice.event_ids",
    "sluice.duplicates",
    "sluice.activity",
    "public.routes_table",
    "public.user_events",
    "public.continents",
    "public.countries",
    "public.cities",
    "landing.model",
];

/// Copies of tables, in a schema of their own.
pub(crate) struct Snapshot {
    schema: String,
    /// The tables that were copied, each with its writable columns as a list for SQL.
    tables: Vec<(String, String)>,
}

impl Snapshot {
    /// Copies [`TABLES`] and `more`, except for tables that the database does not have.
    pub(crate) async fn take(pool: &PgPool, more: &[&str]) -> Self {
        let schema = format!("snapshot_{}", rand::random::<u32>());
        let mut tables = Vec::new();
        for table in TABLES.iter().chain(more) {
            let writable = writable_columns(pool, table).await;
            tables.extend(writable.map(|columns| ((*table).to_owned(), columns)));
        }
        let copies = tables
            .iter()
            .map(|(table, columns)| format!("create table {} as select {columns} from {table};", copy(&schema, table)));
        let take = format!("create schema {schema}; {}", copies.collect::<String>());
        pool.execute(take.as_str()).await.expect("the tables are copied");
        Self { schema, tables }
    }

    /// Restores the tables, and drops the copies.
    pub(crate) async fn restore(self, pool: &PgPool) {
        let Self { schema, tables } = self;
        let deletes = tables.iter().rev().map(|(table, _)| format!("delete from {table};"));
        let inserts = tables.iter().map(|(table, columns)| {
            format!("insert into {table} ({columns}) overriding system value table {};", copy(&schema, table))
        });
        let restore = format!(
            "begin; {} {} drop schema {schema} cascade; commit",
            deletes.collect::<String>(),
            inserts.collect::<String>()
        );
        pool.execute(restore.as_str()).await.expect("the tables are restored");
    }
}

/// Returns a table's writable columns as a list for SQL, or `None` if there is no such table.
pub(crate) async fn writable_columns(executor: impl PgExecutor<'_>, table: &str) -> Option<String> {
    const SELECT: &str = "
        select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
        where attrelid = to_regclass($1) and attnum > 0 and not attisdropped and attgenerated = ''";
    sqlx::query_scalar(SELECT).bind(table).fetch_one(executor).await.expect("the database answers")
}

fn copy(schema: &str, table: &str) -> String {
    format!("{schema}.{}", table.replace('.', "_"))
}
