-- Returns the statements that give the functions' role ($1) the privileges that it lacks and that the owner may grant.
-- Tables that the role itself creates in the schema landing need no grants, because the role owns them. $2 says whether
-- the role logs in with tokens from IAM.
with role as (
    select oid, rolname from pg_catalog.pg_roles where rolname = $1
),
schemas as (
    select oid, nspname from pg_catalog.pg_namespace where nspname in ('sluice', 'public', 'landing')
),
relations as (
    select c.oid, c.relkind, n.nspname, format('%I.%I', n.nspname, c.relname) as name
    from pg_catalog.pg_class c join schemas n on n.oid = c.relnamespace
    where pg_catalog.pg_has_role(c.relowner, 'usage') and c.relname <> '_sqlx_migrations'
),
missing as (
    select 1 as step, format('grant connect on database %I to %I', current_database(), rolname) as statement
    from role where not has_database_privilege(oid, current_database(), 'connect')
    union all
    select 2, format('grant usage on schema %I to %I', nspname, rolname)
    from role, schemas where not has_schema_privilege(role.oid, schemas.oid, 'usage')
    union all
    -- Contracts with `evolve` need this privilege, because they create tables.
    select 2, format('grant create on schema landing to %I', rolname)
    from role, schemas where nspname = 'landing' and not has_schema_privilege(role.oid, schemas.oid, 'create')
    union all
    select 3, format('grant select, insert, update, delete on %s to %I', name, rolname)
    from role, relations
    where relkind in ('r', 'p', 'v', 'f')
        and not (
            has_table_privilege(role.oid, relations.oid, 'select')
            and has_table_privilege(role.oid, relations.oid, 'insert')
            and has_table_privilege(role.oid, relations.oid, 'update')
            and has_table_privilege(role.oid, relations.oid, 'delete')
        )
    union all
    select 4, format('grant usage on sequence %s to %I', name, rolname)
    from role, relations
    where relkind = 'S' and nspname = 'sluice' and not has_sequence_privilege(role.oid, relations.oid, 'usage')
    union all
    -- These default privileges are for tables that the owner creates later, by hand.
    select 5, format(
        'alter default privileges in schema %I grant select, insert, update, delete on tables to %I', nspname, rolname)
    from role, schemas
    where 4 > (
        select count(*)
        from pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) a
        where d.defaclrole = current_user::regrole and d.defaclnamespace = schemas.oid and d.defaclobjtype = 'r'
            and a.grantee = role.oid and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
    )
    union all
    -- Only members of rds_iam can log in with a token from IAM.
    select 6, format('grant rds_iam to %I', rolname)
    from role
    where $2 and not exists (
        select from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.roleid
        where m.member = role.oid and r.rolname = 'rds_iam'
    )
)
select statement from missing order by step, statement
