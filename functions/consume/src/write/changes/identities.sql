-- Looks at the relations named $2 in schema $1 or, if they are partitioned, at their partitions. Finds the tables that
-- are published without a replica identity. PostgreSQL refuses to update or delete their rows, because a subscriber
-- could not tell which row changed. `relation` is the name from $2, and `target` is the table's own name, quoted.
-- `ours` is true if we may set `replica identity full` and this helps. It does not help if a publication has a column
-- list for the table, because PostgreSQL then still refuses updates and deletes.
select c.relname::text as relation,
       format('%I.%I', ns.nspname, leaf.relname) as target,
       pg_has_role(leaf.relowner, 'usage') and not bool_or(published.some_columns) as ours
from pg_namespace n
join pg_class c on c.relnamespace = n.oid and c.relname = any ((select $2)::text[]::name[]) and c.relkind in ('r', 'p')
cross join lateral (
    select relid::oid as oid from pg_partition_tree(c.oid) where isleaf
    union
    select c.oid where c.relkind = 'r'
) as tree
join pg_class leaf on leaf.oid = tree.oid and leaf.relkind = 'r' and leaf.relpersistence = 'p'
join pg_namespace ns on ns.oid = leaf.relnamespace
cross join lateral (
    select leaf.oid
    union
    select relid from pg_partition_ancestors(leaf.oid)
) as published_as
join pg_class published_class on published_class.oid = published_as.oid
cross join lateral (
    select r.prattrs is not null as some_columns
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = published_as.oid
    where p.pubupdate or p.pubdelete
    union all
    select false
    from pg_publication p
    where (p.pubupdate or p.pubdelete)
      and (p.puballtables
           or exists (select from pg_publication_namespace s
                      where s.pnpubid = p.oid and s.pnnspid = published_class.relnamespace))
) as published
where n.nspname = $1
  and case leaf.relreplident
          when 'f' then false
          when 'n' then true
          else not exists (
              select
              from pg_index i
              where i.indrelid = leaf.oid and i.indisvalid and i.indimmediate
                and case leaf.relreplident when 'i' then i.indisreplident else i.indisprimary end
          )
      end
group by c.relname, ns.nspname, leaf.relname, leaf.relowner
order by relation, target
