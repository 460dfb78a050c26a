-- Returns whether the tables named $2 in schema $1 can be emptied together by `truncate`. If not, their rows are
-- deleted.
with named as (
    select c.oid, c.relname, c.relkind
    from pg_namespace n
    join pg_class c on c.relnamespace = n.oid and c.relname = any ($2::text[]::name[]) and c.relkind in ('r', 'p')
    where n.nspname = $1
), emptied as (
    select oid from named
    union
    select relid from named, pg_partition_tree(named.oid) where named.relkind = 'p'
)
select
    -- `truncate` refuses a table that another table refers to, even if that other table is empty.
    not exists (
        select
        from pg_constraint f
        where f.contype = 'f' and f.confrelid in (select oid from emptied)
          and f.conrelid not in (select oid from emptied)
    )
    -- `truncate` does not fire row-level delete triggers, which may count or log the deleted rows.
    and not exists (
        select
        from pg_trigger t
        where t.tgrelid in (select oid from emptied) and not t.tgisinternal and t.tgtype & 8 = 8 and t.tgtype & 1 = 1
    )
    -- `truncate` may refuse a table that has checks deferred to the end of the transaction.
    and not exists (
        select
        from pg_trigger t
        where t.tgrelid in (select oid from emptied) and t.tginitdeferred
    )
    and not exists (select from named where not has_table_privilege(oid, 'truncate'))
    as can_truncate
