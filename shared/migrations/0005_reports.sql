-- User events counted, so that a report need not read them all. The trigger below keeps the counts in the transaction
-- that changes public.user_events, whoever changes it: they equal a full count at any time.
create table sluice.user_event_counts (
    -- What is counted: a city's or a country's events, since ever ('-infinity'), in a month or on a day; or all of an hour.
    what   text collate "C" not null,
    since  timestamp not null,
    -- The city or country as it came: what counts as one city is the report's to decide.
    name   text collate "C" not null,
    -- Transactions that run side by side count in shards of their own, and so never wait for each other.
    shard  integer not null,
    events bigint not null,
    primary key (what, since, name, shard)
) partition by list (what);
-- What is read together lies together. With room for new versions of a page's rows on the page itself: the same rows
-- change with every batch.
create table sluice.user_event_counts_ever partition of sluice.user_event_counts
    for values in ('city', 'country') with (fillfactor = 50);
create table sluice.user_event_counts_by_month partition of sluice.user_event_counts
    for values in ('city-month', 'country-month') with (fillfactor = 50);
create table sluice.user_event_counts_by_day partition of sluice.user_event_counts
    for values in ('city-day', 'country-day') with (fillfactor = 50);
create table sluice.user_event_counts_by_hour partition of sluice.user_event_counts
    for values in ('hour') with (fillfactor = 50);

-- Adds what was added (argument 1) or takes off what was removed (-1). It is its owner's right to count, so whoever
-- may write events needs no right to the counts.
create function sluice.count_user_events() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    sign constant integer := tg_argv[0];
    lock constant integer := 'sluice.user_event_counts'::regclass::oid::bigint % 2147483647;
    own integer := 0;
begin
    -- The first shard that nobody else counts in. It is this transaction's until its end.
    while own < 32 and not pg_catalog.pg_try_advisory_xact_lock(lock, own) loop
        own := own + 1;
    end loop;
    if own = 32 then
        own := pg_catalog.pg_backend_pid() % 32;
        perform pg_catalog.pg_advisory_xact_lock(lock, own);
    end if;
    insert into sluice.user_event_counts as counts (what, since, name, shard, events)
    select counted.what, counted.since, counted.name, own, sum(grouped.events)
    from (
        select date_trunc('hour', datetime) as hour, city, coalesce(country, '') as country, sign * count(*) as events
        from changed
        group by 1, 2, 3
    ) as grouped
    cross join lateral (
        values
            ('city', '-infinity'::timestamp, grouped.city),
            ('city-month', date_trunc('month', grouped.hour), grouped.city),
            ('city-day', date_trunc('day', grouped.hour), grouped.city),
            ('country', '-infinity'::timestamp, grouped.country),
            ('country-month', date_trunc('month', grouped.hour), grouped.country),
            ('country-day', date_trunc('day', grouped.hour), grouped.country),
            ('hour', grouped.hour, '')
    ) as counted (what, since, name)
    group by 1, 2, 3
    on conflict (what, since, name, shard) do update set events = counts.events + excluded.events;
    return null;
end
$$;

create function sluice.forget_user_event_counts() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    -- No delete: it would leave what it does not see, where the table is truncated whatever a snapshot sees of it.
    truncate sluice.user_event_counts;
    return null;
end
$$;

create trigger count_inserted after insert on public.user_events
    referencing new table as changed for each statement execute function sluice.count_user_events('1');
create trigger count_deleted after delete on public.user_events
    referencing old table as changed for each statement execute function sluice.count_user_events('-1');
create trigger count_before_update after update on public.user_events
    referencing old table as changed for each statement execute function sluice.count_user_events('-1');
create trigger count_after_update after update on public.user_events
    referencing new table as changed for each statement execute function sluice.count_user_events('1');
create trigger count_truncated after truncate on public.user_events
    for each statement execute function sluice.forget_user_event_counts();

-- What lies between the ends of a report's range and the first and last whole day in it is counted one by one.
create index user_events_by_time on public.user_events (datetime) include (city, country);

-- Events that landed before they were counted.
insert into sluice.user_event_counts (what, since, name, shard, events)
select 'hour', date_trunc('hour', datetime), '', 0, count(*) from public.user_events group by 2
union all
select 'city-day', date_trunc('day', datetime), city, 0, count(*) from public.user_events group by 2, 3
union all
select 'city-month', date_trunc('month', datetime), city, 0, count(*) from public.user_events group by 2, 3
union all
select 'city', '-infinity', city, 0, count(*) from public.user_events group by 3
union all
select 'country-day', date_trunc('day', datetime), coalesce(country, ''), 0, count(*) from public.user_events group by 2, 3
union all
select 'country-month', date_trunc('month', datetime), coalesce(country, ''), 0, count(*) from public.user_events
group by 2, 3
union all
select 'country', '-infinity', coalesce(country, ''), 0, count(*) from public.user_events group by 3;

-- The hours whose report goes out by mail: whoever sends it holds its row's lock, and notes here that it was sent.
create table sluice.reports (
    hour    timestamptz primary key,
    sent_at timestamptz
);
