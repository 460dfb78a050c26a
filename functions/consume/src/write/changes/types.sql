-- Finds types. $2 is the list of their names, and $1 is the list of their schemas. A schema is null if the change gave
-- none. A type that the given schema does not contain is looked up in schema $3, where the tables land.
select w.position,
       tn.nspname::text as type_schema,
       t.typname::text as type_name,
       t.oid <> found.oid as type_array,
       t.typtype = 'e' as type_enumeration,
       case
           when t.oid <> found.oid then false
           else base.oid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype)
       end as type_integer,
       t.typmodin <> 0 as takes_modifiers,
       -- A column cannot have a pseudo-type. Row types are excluded because a table cannot contain its own row type.
       t.typisdefined
           and base.typtype in ('b', 'e', 'r', 'm') as storable
from unnest((select $1)::text[], (select $2)::text[]) with ordinality as w (schema, name, position)
cross join lateral (
    select candidate.*
    from pg_type candidate
    join pg_namespace n on n.oid = candidate.typnamespace
    where candidate.typname in (w.name::name, lower(w.name)::name)
      and (n.nspname = w.schema or n.nspname = $3 or w.schema is null and pg_type_is_visible(candidate.oid))
    order by candidate.typname = w.name desc,
             coalesce(n.nspname = w.schema, pg_type_is_visible(candidate.oid)) desc
    limit 1
) as found
left join pg_type element on element.oid = found.typelem and element.typarray = found.oid
join pg_type t on t.oid = coalesce(element.oid, found.oid)
cross join lateral (
    -- The type itself or, for a domain, the type under it. There may be more domains in between.
    with recursive under as (
        select t.oid, t.typtype, t.typbasetype
        union all
        select b.oid, b.typtype, b.typbasetype from under join pg_type b on b.oid = under.typbasetype
    )
    select oid, typtype from under where typtype <> 'd'
) as base
join pg_namespace tn on tn.oid = t.typnamespace
