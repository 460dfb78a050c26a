-- Returns one row per wanted table, in order, with the catalogue's data about that table. A missing table or schema is
-- not an error.
select n.oid is not null as has_schema,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'usage'), false) as may_use_schema,
       c.relkind::text as kind,
       -- Whether a trigger may change rows before they are inserted: tgtype has the bits ROW (1), BEFORE (2), INSERT (4).
       -- A partition may have triggers of its own.
       exists (
           select from pg_catalog.pg_trigger g
           where g.tgtype & 7 = 7 and g.tgenabled in ('O', 'A')
             and (g.tgrelid = c.oid
                  or c.relkind = 'p' and g.tgrelid in (select relid from pg_catalog.pg_partition_tree(c.oid)))
       ) as has_insert_trigger,
       coalesce(privileges.missing, '{}') as missing_privileges,
       coalesce(columns.list, '[]') as columns,
       coalesce(uniques.list, '[]') as uniques
from unnest($1::text[], $2::text[]) with ordinality as wanted (schema, name, position)
left join pg_catalog.pg_namespace n on n.nspname = wanted.schema
left join pg_catalog.pg_class c
    on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind in ('r', 'p', 'v', 'm', 'f')
left join lateral (
    -- A privilege on only some columns is accepted. If a batch needs a column that the privilege does not cover, the
    -- batch fails with a message that says so.
    select array_agg(p) as missing
    from unnest(array['select', 'insert', 'update', 'delete']) p
    where c.oid is not null
      and not pg_catalog.has_table_privilege(c.oid, p)
      and (p = 'delete' or not pg_catalog.has_any_column_privilege(c.oid, p))
) privileges on true
left join lateral (
    select json_agg(json_build_object(
        'name', a.attname,
        'type_oid', a.atttypid::bigint,
        'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
        'not_null', a.attnotnull or t.typnotnull,
        'is_not_null_of_domain', t.typnotnull and not a.attnotnull,
        'has_default', a.atthasdef or a.attidentity <> '' or t.typdefault is not null,
        'is_generated', a.attgenerated <> '' or a.attidentity = 'a'
    ) order by a.attnum) as list
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) columns on true
left join lateral (
    select json_agg(json_build_object(
        'columns', array(
            select a.attname
            from unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
            where k.position <= i.indnkeyatts
        ),
        'is_partial', i.indpred is not null,
        'has_expressions', i.indexprs is not null,
        'is_deferrable', not i.indimmediate,
        'is_valid', i.indisvalid and i.indisready
    ) order by i.indexrelid) as list
    from pg_catalog.pg_index i
    where i.indrelid = c.oid and i.indisunique
) uniques on true
order by wanted.position
