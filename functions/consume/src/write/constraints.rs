//! Checks deferred constraints inside the transaction, where a savepoint can isolate the records that violate them.

use sqlx::PgConnection;

/// The SQL that checks this database's deferred constraints.
#[derive(Debug)]
pub(crate) struct Constraints {
    check: String,
}

impl Constraints {
    /// Reads which of the database's deferrable constraints are initially immediate.
    pub(crate) async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // Two tables of a schema may have constraints of the same name, and SET CONSTRAINTS changes both. If one of
        // these constraints is initially deferred, both stay deferred here. The other one is then checked later, but a
        // later check does not reject any good record.
        const INITIALLY_IMMEDIATE: &str = "
            select string_agg(distinct format('%I.%I', n.nspname, c.conname), ', ')
            from pg_catalog.pg_constraint c join pg_catalog.pg_namespace n on n.oid = c.connamespace
            where c.condeferrable and not c.condeferred
              and has_schema_privilege(n.oid, 'usage') and not pg_is_other_temp_schema(n.oid)
              and not exists (
                  select from pg_catalog.pg_constraint d
                  where d.connamespace = c.connamespace and d.conname = c.conname and d.condeferred)";
        let immediate: Option<String> = sqlx::query_scalar(INITIALLY_IMMEDIATE).fetch_one(connection).await?;
        Ok(Self { check: check(immediate.as_deref()) })
    }

    /// Returns SQL that fails if a deferred constraint is violated. Otherwise, the SQL leaves each constraint's timing
    /// as the table declares it, except for the constraints that [`Self::read`] leaves out.
    pub(crate) fn check(&self) -> &str {
        &self.check
    }
}

fn check(initially_immediate: Option<&str>) -> String {
    let mut check = "set constraints all immediate; set constraints all deferred;".to_owned();
    if let Some(names) = initially_immediate {
        check.push_str(" set constraints ");
        check.push_str(names);
        check.push_str(" immediate;");
    }
    check
}
