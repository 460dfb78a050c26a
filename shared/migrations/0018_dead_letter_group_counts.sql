-- The numbers of dead letters by group and time. Counts, groups and metrics of a million letters read neither the letters
-- nor a row per reason, whatever the range of time: reasons may hold names that callers chose, so there may be as many
-- as letters.
create table sluice.dead_letter_group_counts (
    status       text        not null,
    -- What the row counts: the letters of all time ('-infinity'), or those that became dead letters on a day (UTC) or
    -- within ten minutes.
    span         text        not null check (span in ('ever', 'day', 'ten minutes')),
    since        timestamptz not null,
    topic        text        not null,
    error_code   text        not null,
    pattern_hash bigint      not null,
    destination  text        not null,
    -- As in sluice.dead_letter_counts.
    shard        integer     not null,
    letters      bigint      not null,
    primary key (status, span, since, topic, error_code, pattern_hash, destination, shard)
)
-- With room for new versions of rows on the same page: every statement updates the rows of the present.
with (fillfactor = 50);

-- Adds (argument 1) or subtracts (-1) the letters that a statement changed, in both tables.
create or replace function sluice.count_dead_letters() returns trigger
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

    insert into sluice.dead_letter_group_counts as counts
        (status, span, since, topic, error_code, pattern_hash, destination, shard, letters)
    select g.status, s.span, s.since, g.topic, g.error_code, g.pattern_hash, g.destination, own, sum(g.letters)
    from (
        select status, topic, error_code, pattern_hash, destination, date_bin('10 minutes', created_at, 'epoch') as since,
               sign * count(*) as letters
        from changed
        group by 1, 2, 3, 4, 5, 6
    ) as g
    cross join lateral (
        values ('ever', '-infinity'::timestamptz), ('day', date_trunc('day', g.since, 'UTC')), ('ten minutes', g.since)
    ) as s (span, since)
    group by 1, 2, 3, 4, 5, 6, 7
    on conflict (status, span, since, topic, error_code, pattern_hash, destination, shard)
    do update set letters = counts.letters + excluded.letters;
    return null;
end
$$;

create or replace function sluice.forget_dead_letter_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    truncate sluice.dead_letter_counts, sluice.dead_letter_group_counts;
    return null;
end
$$;

-- Letters from before this migration. Letters that change meanwhile would be counted twice, or not at all.
lock table sluice.dead_letters in share row exclusive mode;
insert into sluice.dead_letter_group_counts
    (status, span, since, topic, error_code, pattern_hash, destination, shard, letters)
select g.status, s.span, s.since, g.topic, g.error_code, g.pattern_hash, g.destination, 0, sum(g.letters)
from (
    select status, topic, error_code, pattern_hash, destination, date_bin('10 minutes', created_at, 'epoch') as since,
           count(*) as letters
    from sluice.dead_letters
    group by 1, 2, 3, 4, 5, 6
) as g
cross join lateral (
    values ('ever', '-infinity'::timestamptz), ('day', date_trunc('day', g.since, 'UTC')), ('ten minutes', g.since)
) as s (span, since)
group by 1, 2, 3, 4, 5, 6, 7;

-- Finds the letters with one reason in the other counts, which are by reason.
create index dead_letter_counts_by_reason on sluice.dead_letter_counts (reason_hash);

-- Lists of an error code also name a topic: each topic that has the code, if the filter names none. With the index that
-- this one replaces, a list of a code and a topic read all letters of one of them.
create index dead_letters_by_code_and_topic on sluice.dead_letters (error_code, topic, status, created_at, id);
