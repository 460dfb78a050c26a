-- Operators find, group, count and discard dead letters by the million.

-- Reasons that differ only in quoted values or numbers are one group. Its name is the reason with "…" and … in their
-- places. The function returns such a name unchanged, so a filter can name a group in the place of a reason.
create function sluice.reason_pattern(reason text) returns text
language sql immutable parallel safe
return regexp_replace(
    regexp_replace(reason, '"[^"]*"|`[^`]*`|(?<!\w)''[^'']*''(?!\w)', '"…"', 'g'),
    '(?<!\w)\d+([.,:-]\d+)*(?!\w)', '…', 'g'
);

alter table sluice.dead_letters
    -- The reason and the group, as hashes, because an index entry is limited to 2,704 bytes. Queries that look up a
    -- reason also compare the reason itself.
    add column reason_hash bigint generated always as (hashtextextended(reason, 0)) stored,
    add column pattern_hash bigint generated always as (hashtextextended(sluice.reason_pattern(reason), 0)) stored,
    -- How often the letter and its predecessors were replayed, and the id of the letter whose replay was rejected as
    -- this one. The id is not a foreign key: after a restore, letters may have other ids.
    add column replays integer not null default 0,
    add column replay_of bigint,
    -- The note of the operator who discarded the letter.
    add column note text;

-- In letters from before this migration, only their own replay counts: replays of their predecessors are not looked up.
update sluice.dead_letters set replays = 1 where status = 'replayed';

-- Lists are ordered by the time at which events became dead letters, so a range of time is a range of each index. `id`
-- makes the order total.
create index dead_letters_by_status on sluice.dead_letters (status, created_at, id);
create index dead_letters_by_topic on sluice.dead_letters (topic, status, created_at, id);
create index dead_letters_by_code on sluice.dead_letters (error_code, status, created_at, id);
create index dead_letters_by_reason on sluice.dead_letters (reason_hash, status, created_at, id);
create index dead_letters_by_group on sluice.dead_letters (pattern_hash, topic, error_code, status, created_at, id);

-- Counts replays. It is a trigger, so that functions of the previous version count them, too.
create function sluice.count_replays() returns trigger
language plpgsql set search_path = '' as $$
declare
    place text[];
begin
    if tg_op = 'UPDATE' then
        new.replays := old.replays + 1;
        return new;
    end if;
    -- A replay names the rejected record by topic, partition, offset and time.
    select string_to_array(h.header ->> 'value', '/') into place
    from jsonb_array_elements(new.headers) as h (header)
    where h.header ->> 'name' in ('sluice-replay', 'sluice-replay-of') and h.header ->> 'value' <> ''
    order by h.header ->> 'name' desc
    limit 1;
    if cardinality(place) = 4 and place[2] ~ '^\d{1,9}$' and place[3] ~ '^\d{1,18}$' and place[4] ~ '^-?\d{1,18}$' then
        select d.id, d.replays into new.replay_of, new.replays
        from sluice.dead_letters d
        where d.topic = new.topic and d.topic = place[1] and d."partition" = place[2]::integer
              and d."offset" = place[3]::bigint and d.record_timestamp_ms = place[4]::bigint
              and d.destination = new.destination;
        new.replays := coalesce(new.replays, 0);
    end if;
    return new;
end
$$;
create trigger count_replays_of_predecessors before insert on sluice.dead_letters
    for each row when (new.headers @> '[{"name": "sluice-replay"}]') execute function sluice.count_replays();
create trigger count_own_replay before update of status on sluice.dead_letters
    for each row when (new.status = 'replayed' and old.status <> 'replayed') execute function sluice.count_replays();

-- The numbers of letters by status and by the values that groups use, so that neither counts nor groups read the
-- letters. The triggers below update them in the transaction that changes the letters, so they always equal a full
-- count.
create table sluice.dead_letter_counts (
    status      text    not null,
    topic       text    not null,
    error_code  text    not null,
    reason_hash bigint  not null,
    -- Concurrent transactions count in separate shards, so they never wait for each other.
    shard       integer not null,
    reason      text    not null,
    letters     bigint  not null,
    primary key (status, topic, error_code, reason_hash, shard)
);

-- Adds (argument 1) or subtracts (-1) the letters that a statement changed. It runs with the privileges of its owner,
-- so a role that writes letters needs no privilege on the counts.
create function sluice.count_dead_letters() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    sign constant integer := tg_argv[0];
    lock constant integer := 'sluice.dead_letter_counts'::regclass::oid::bigint % 2147483647;
    own integer := 0;
begin
    -- A statement that changed nothing counts nothing.
    if not exists (select from changed) then
        return null;
    end if;
    -- Takes the first shard in which no other transaction counts, and keeps it until this transaction ends.
    while own < 32 and not pg_catalog.pg_try_advisory_xact_lock(lock, own) loop
        own := own + 1;
    end loop;
    if own = 32 then
        own := pg_catalog.pg_backend_pid() % 32;
        perform pg_catalog.pg_advisory_xact_lock(lock, own);
    end if;
    insert into sluice.dead_letter_counts as counts (status, topic, error_code, reason_hash, shard, reason, letters)
    select status, topic, error_code, reason_hash, own, min(reason), sign * count(*)
    from changed
    group by 1, 2, 3, 4
    on conflict (status, topic, error_code, reason_hash, shard)
    do update set letters = counts.letters + excluded.letters;
    return null;
end
$$;

create function sluice.forget_dead_letter_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    truncate sluice.dead_letter_counts;
    return null;
end
$$;

create trigger count_inserted after insert on sluice.dead_letters
    referencing new table as changed for each statement execute function sluice.count_dead_letters('1');
create trigger count_deleted after delete on sluice.dead_letters
    referencing old table as changed for each statement execute function sluice.count_dead_letters('-1');
create trigger count_before_update after update on sluice.dead_letters
    referencing old table as changed for each statement execute function sluice.count_dead_letters('-1');
create trigger count_after_update after update on sluice.dead_letters
    referencing new table as changed for each statement execute function sluice.count_dead_letters('1');
create trigger count_truncated after truncate on sluice.dead_letters
    for each statement execute function sluice.forget_dead_letter_counts();

-- Letters from before this migration.
insert into sluice.dead_letter_counts (status, topic, error_code, reason_hash, shard, reason, letters)
select status, topic, error_code, reason_hash, 0, min(reason), count(*)
from sluice.dead_letters
group by 1, 2, 3, 4;
