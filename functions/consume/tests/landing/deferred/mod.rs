//! Violations of deferred constraints: only the records that violate a constraint (the guilty ones) become dead
//! letters, and no batch is blocked.

mod constraints;
mod histories;
mod order;
mod streams;
mod tables;

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::support::Function;

/// Returns a change of one row in wal2json's format 2. `action` is I (insert) or D (delete).
pub(crate) fn change(action: &str, table: &str, columns: &[(&str, i64)]) -> Value {
    let cells: Vec<Value> =
        columns.iter().map(|(name, value)| json!({"name": name, "type": "integer", "value": value})).collect();
    let side = if action == "D" { "identity" } else { "columns" };
    json!({"action": action, "table": table, side: cells})
}

pub(crate) fn insert(table: &str, columns: &[(&str, i64)]) -> Value {
    change("I", table, columns)
}

pub(crate) fn delete(table: &str, id: i64) -> Value {
    change("D", table, &[("id", id)])
}

/// Starts a function, and executes these statements in its database.
pub(crate) async fn function(statements: &str) -> Function {
    let function = Function::new().await;
    function.database.pool.execute(statements).await.expect(statements);
    function
}

/// `landing.parent`, and `landing.child`, whose foreign key to `landing.parent` is checked at COMMIT.
pub(crate) const FAMILY: &str = "
    create table landing.parent (id int primary key);
    create table landing.child (id int primary key, parent int references landing.parent deferrable initially deferred)";

/// `landing.entry`, in which the amounts of each account must add up to zero. PostgreSQL checks this at COMMIT.
pub(crate) const ACCOUNTS: &str = "
    create table landing.entry (id int primary key, account int, amount int);
    create function landing.balanced() returns trigger language plpgsql as $$ begin
        if (select sum(amount) from landing.entry where account = new.account) <> 0 then
            raise exception 'the account is not balanced';
        end if;
        return null;
    end $$;
    create constraint trigger balanced after insert on landing.entry
        deferrable initially deferred for each row execute function landing.balanced()";

/// Returns the insert of a row into `landing.entry`.
pub(crate) fn entry(id: i64, account: i64, amount: i64) -> Value {
    insert("entry", &[("id", id), ("account", account), ("amount", amount)])
}

/// Returns the ids in a landing table.
pub(crate) async fn ids(function: &Function, table: &str) -> Value {
    let select = format!("select coalesce(json_agg(id order by id), '[]') from landing.{table}");
    sqlx::query_scalar(&select).fetch_one(&function.database.pool).await.expect("the ids")
}

/// Returns the offset and SQLSTATE of each of a topic's dead letters.
pub(crate) async fn dead_letters(function: &Function, topic: &str) -> Value {
    let select = r#"select coalesce(json_agg(json_build_array("offset", error_code) order by "offset"), '[]')
                    from sluice.dead_letters where topic = $1"#;
    sqlx::query_scalar(select).bind(topic).fetch_one(&function.database.pool).await.expect("the dead letters")
}
