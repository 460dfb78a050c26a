-- Finds the relations named $2 in schema $1, and returns a row for each of their columns. Also finds the types that
-- have one of these names. A table with the name of a type cannot be created, because the table's row type would need
-- the name.
select c.relname::text as name,
       c.relkind in ('r', 'p') as ordinary,
       c.relkind = 'p' as partitioned,
       -- The table to which a new column is added. A partition has the columns of its root, and a typed table has the
       -- columns of its type.
       case
           when c.reloftype <> 0 then null
           when not c.relispartition then c.relname::text
           else (
               select root.relname::text
               from pg_class root
               where root.oid = pg_partition_root(c.oid) and root.relnamespace = n.oid and root.reloftype = 0
           )
       end as extended,
       pg_has_role(c.relowner, 'usage') and has_schema_privilege(n.oid, 'create') as owned,
       c.relhastriggers as triggers,
       exists (select from pg_publication where pubupdate or pubdelete) as publishing,
       a.attname::text as column_name,
       format_type(a.atttypid, a.atttypmod) as shown,
       not a.attnotnull as nullable,
       a.attgenerated <> '' as generated,
       a.attidentity = 'a' as identity,
       tn.nspname::text as type_schema,
       t.typname::text as type_name,
       t.oid <> a.atttypid as type_array,
       t.typtype = 'e' as type_enumeration,
       case
           when t.oid <> a.atttypid then false
           when t.typtype <> 'd' then t.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype)
           else (
               with recursive under (type, domain_of) as (
                   select t.oid, t.typbasetype
                   union all
                   select b.oid, b.typbasetype from under join pg_type b on b.oid = under.domain_of
               )
               select bool_or(type in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype)) from under
           )
       end as type_integer,
       exists (
           select
           from pg_index i
           join pg_class ic on ic.oid = i.indexrelid
           join pg_am m on m.oid = ic.relam
           where i.indrelid = c.oid and i.indisvalid and i.indpred is null and m.amname in ('btree', 'hash')
             and (i.indkey[0] = a.attnum
                  or i.indkey[0] = 0
                     and pg_get_indexdef(i.indexrelid, 1, false)
                         in (format('"left"(%I, 128)', a.attname), format('"left"((%I)::text, 128)', a.attname)))
       ) as indexed
from pg_namespace n
join pg_class c on c.relnamespace = n.oid and c.relname = any ((select $2)::text[]::name[])
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
left join pg_type own on own.oid = a.atttypid
left join pg_type element on element.oid = own.typelem and element.typarray = own.oid
left join pg_type t on t.oid = coalesce(element.oid, own.oid)
left join pg_namespace tn on tn.oid = t.typnamespace
where n.nspname = $1
union all
select t.typname::text, false, false, null, false, false, false, null, null, null, null, null, null, null, null, null,
       null, null
from pg_namespace n
join pg_type t on t.typnamespace = n.oid and t.typname = any ((select $2)::text[]::name[])
where n.nspname = $1 and t.typrelid = 0
  -- The name of an array type is free: when a table takes it, PostgreSQL renames the array type.
  and not exists (select from pg_type element where element.typarray = t.oid)
  and not exists (select from pg_class c where c.relnamespace = n.oid and c.relname = t.typname)
order by name
