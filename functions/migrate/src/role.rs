//! The functions' role in PostgreSQL: its login, its privileges, and the settings of its sessions.

use shared::database::{Authentication, FunctionsLogin, Owner, SESSION_SETTINGS};
use sqlx::{Executor as _, PgConnection, PgPool};

use crate::error::MigrateError;
use crate::scram;

/// Creates the functions' role if it is missing, and gives it everything that the functions need. Returns one line for
/// each thing that was done.
///
/// # Errors
/// The owner lacks a privilege, there is no password for a new role, or the role still cannot log in after its password
/// has been set.
pub(crate) async fn prepare(owner: &Owner, pool: &PgPool) -> Result<Vec<String>, MigrateError> {
    if owner.is_shared() {
        return Ok(Vec::new());
    }
    let FunctionsLogin { name, authentication } = &owner.functions;
    let mut connection = pool.acquire().await.map_err(failed("the owner's connection"))?;
    let connection = &mut *connection;
    let mut done = Vec::new();
    if !exists(connection, name).await? {
        create(connection, name, authentication).await?;
        done.push(format!("role {name} created"));
    }
    let granted = grant(connection, &owner.functions).await?;
    if granted > 0 {
        done.push(format!("role {name}: {granted} privileges granted"));
    }
    let set = settle(connection, name).await?;
    if set > 0 {
        done.push(format!("role {name}: {set} settings set"));
    }
    if let Authentication::Password(_) = authentication
        && leave_iam(connection, name).await?
    {
        done.push(format!("role {name}: no longer a member of rds_iam"));
    }
    if let Authentication::Password(Some(password)) = authentication
        && !owner.functions_can_log_in().await?
    {
        let stored = scram::stored(password)?;
        run(connection, "the functions' password", "alter role %I login password %L", &[name, &stored]).await?;
        if !owner.functions_can_log_in().await? {
            return Err(MigrateError::LoginRefused(name.clone()));
        }
        done.push(format!("role {name}: password set"));
    }
    Ok(done)
}

async fn exists(connection: &mut PgConnection, name: &str) -> Result<bool, MigrateError> {
    const EXISTS: &str = "select exists (select from pg_catalog.pg_roles where rolname = $1)";
    sqlx::query_scalar(EXISTS).bind(name).fetch_one(connection).await.map_err(failed("the functions' role"))
}

async fn create(
    connection: &mut PgConnection,
    name: &str,
    authentication: &Authentication,
) -> Result<(), MigrateError> {
    const DOING: &str = "creating the functions' role";
    match authentication {
        Authentication::Password(Some(password)) => {
            let stored = scram::stored(password)?;
            run(connection, DOING, "create role %I login password %L", &[name, &stored]).await
        }
        Authentication::Password(None) => Err(MigrateError::NoPassword(name.to_owned())),
        Authentication::Iam => run(connection, DOING, "create role %I login", &[name]).await,
    }
}

/// Ends the role's membership in `rds_iam`, because on Amazon RDS, members of `rds_iam` can log in only with tokens.
/// Returns whether the role was a member.
async fn leave_iam(connection: &mut PgConnection, name: &str) -> Result<bool, MigrateError> {
    const DOING: &str = "preparing the functions' role for passwords";
    const IS_MEMBER: &str = "select exists (select from pg_catalog.pg_auth_members m \
        join pg_catalog.pg_roles r on r.oid = m.roleid join pg_catalog.pg_roles f on f.oid = m.member \
        where r.rolname = 'rds_iam' and f.rolname = $1)";
    let is_member =
        sqlx::query_scalar(IS_MEMBER).bind(name).fetch_one(&mut *connection).await.map_err(failed(DOING))?;
    if is_member {
        run(connection, DOING, "revoke rds_iam from %I", &[name]).await?;
    }
    Ok(is_member)
}

/// Grants the privileges that the role lacks. Returns their number.
async fn grant(connection: &mut PgConnection, login: &FunctionsLogin) -> Result<usize, MigrateError> {
    const DOING: &str = "granting privileges to the functions' role";
    let is_iam = match login.authentication {
        Authentication::Iam => true,
        Authentication::Password(_) => false,
    };
    let missing = sqlx::query_scalar(include_str!("grants.sql")).bind(&login.name).bind(is_iam);
    let missing: Vec<String> = missing.fetch_all(&mut *connection).await.map_err(failed(DOING))?;
    for statement in &missing {
        connection.execute(statement.as_str()).await.map_err(failed(DOING))?;
    }
    Ok(missing.len())
}

/// Stores the session settings for the role in this database, so that the role's sessions begin with them. Returns how
/// many settings were missing.
async fn settle(connection: &mut PgConnection, name: &str) -> Result<usize, MigrateError> {
    const DOING: &str = "storing settings with the functions' role";
    const STORED: &str = "select unnest(s.setconfig) from pg_catalog.pg_db_role_setting s \
        join pg_catalog.pg_roles r on r.oid = s.setrole join pg_catalog.pg_database d on d.oid = s.setdatabase \
        where r.rolname = $1 and d.datname = current_database()";
    let stored: Vec<String> =
        sqlx::query_scalar(STORED).bind(name).fetch_all(&mut *connection).await.map_err(failed(DOING))?;
    let missing = SESSION_SETTINGS.iter().filter(|(name, value)| !stored.contains(&format!("{name}={value}")));
    let mut count = 0;
    for (setting, value) in missing {
        const SET: &str = "alter role %1$I in database %4$I set %2$I = %3$L";
        let database: String =
            sqlx::query_scalar("select current_database()").fetch_one(&mut *connection).await.map_err(failed(DOING))?;
        run(connection, DOING, SET, &[name, setting, value, &database]).await?;
        count += 1;
    }
    Ok(count)
}

/// Runs a statement that cannot have parameters, such as `create role`. PostgreSQL's `format` quotes and inserts the
/// values instead.
async fn run(
    connection: &mut PgConnection,
    doing: &'static str,
    statement: &'static str,
    values: &[&str],
) -> Result<(), MigrateError> {
    let quoted = sqlx::query_scalar("select format($1, variadic $2::text[])").bind(statement).bind(values);
    let quoted: String = quoted.fetch_one(&mut *connection).await.map_err(failed(doing))?;
    connection.execute(quoted.as_str()).await.map(drop).map_err(failed(doing))
}

fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> MigrateError {
    move |source| MigrateError::Sql { doing, source }
}
