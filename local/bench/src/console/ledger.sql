-- Fills the remaining tables as they would be after 35 busy days. The dead letters, the routes and the user events are
-- already there. Offsets below 3,000,000 have landed.
create temporary table partitions as
select topic, n - 1 as "partition"
from (values ('routes', 4), ('city', 4), ('user-events', 4), ('changes', 1), ('country', 2), ('continent', 1), ('login', 1))
     as t (topic, partitions)
cross join lateral generate_series(1, partitions) as n;

insert into sluice.watermarks
    (topic, "partition", next_offset, max_timestamp_ms, first_offset, first_hash, last_hash, last_offset,
     incarnation_starts, minute, written, max_lag_ms)
select topic, "partition", 3000000, (extract(epoch from now()) * 1000)::bigint, 0, 1, 1, 2999999, array[0],
       date_trunc('minute', now()), 40, 250
from partitions;

-- A row for each minute and partition.
insert into sluice.activity
    (topic, "partition", incarnation, minute, written, duplicates, rejected, max_lag_ms, last_offset, end_offset)
select topic, "partition", 1, date_trunc('minute', now()) - make_interval(mins => n), 50, n % 3, n % 5, 200 + n % 100,
       2999000 - n * 50, 2999001 - n * 50
from generate_series(1, 35 * 24 * 60) as n cross join partitions;

-- The exception tables, in which receipts are looked up.
insert into sluice.waiting
    (topic, "partition", "offset", incarnation, stream, entity_key, parent_stream, parent_key, payload, headers,
     record_timestamp_ms, since_ms)
select 'city', n % 4, 2000000 + n, 1, 'city', 'key ' || n, 'country', 'parent ' || n % 1000, '{}', '[]', 0,
       (extract(epoch from now()) * 1000)::bigint
from generate_series(1, 100000) as n;
insert into sluice.event_ids (stream, id_hash, payload_hash, seen_at_ms)
select 'user-event', md5(n::text)::uuid, n, (extract(epoch from now()) * 1000)::bigint from generate_series(1, 500000) as n;
insert into sluice.duplicates (topic, "partition", "offset", incarnation, seen_at_ms, stream, id_hash)
select 'user-events', n % 4, 2000000 + n, 1, (extract(epoch from now()) * 1000)::bigint, 'user-event', md5(n::text)::uuid
from generate_series(1, 300000) as n;
insert into sluice.superseded (topic, "partition", incarnation, first_offset, last_offset, seen_at_ms)
select 'routes', n % 4, 1, 2000000 + n * 8, 2000003 + n * 8, (extract(epoch from now()) * 1000)::bigint
from generate_series(1, 100000) as n;
insert into sluice.gaps (topic, "partition", incarnation, first_offset, last_offset, cause)
select topic, "partition", 1, 2900000 + n * 10, 2900001 + n * 10, 'retention'
from generate_series(1, 1000) as n cross join partitions;
insert into sluice.stalls (topic, "partition", reason, error_type, fault, since, last_failed_at)
select topic, "partition", 'table public.routes_table has no column "latitude"', 'Sluice.Stop', 'operator',
       now() - interval '1 hour', now() + interval '1 hour'
from partitions;

-- The operators' actions, and the runs of replays.
insert into sluice.audit (at, "user", action, object, detail)
select now() - interval '1 minute' * (500000 - n), 'operator ' || n % 20, 'replayed', 'dead-letters/' || n,
       '{"force": false, "edited": false}'
from generate_series(1, 500000) as n;
insert into sluice.replay_runs (created_by, created_at, filter, is_forced, letters, replayed, status, finished_at)
select 'operator ' || n % 20, now() - interval '1 hour' * (10000 - n), '{"stream": "route"}', false, 100, 100, 'done', now()
from generate_series(1, 10000) as n;

-- Users (1,000 of them are blocked) with their keys. Then continents, countries and cities.
insert into sluice.users (name, name_key, password_hash)
select 'user ' || n, 'user ' || n, '' from generate_series(1, 20000) as n;
insert into sluice.keys (user_id, name, hash, prefix, streams, by_admin, created_at_ms, last_used_at_ms)
select id, 'key ' || n, sha256(convert_to(id || '/' || n, 'UTF8')), 'slk_AbCd', array['*'], false, 1700000000000, 1700000000000
from sluice.users cross join generate_series(1, 3) as n;
insert into sluice.blocks (name_key, name, blocked_until_ms, touched_at_ms)
select name_key, name, (extract(epoch from now()) * 1000)::bigint + 3600000, (extract(epoch from now()) * 1000)::bigint
from sluice.users where id % 20 = 0;
insert into public.continents (name) select 'Continent ' || n from generate_series(1, 7) as n;
insert into public.countries (continent, name) select 'Continent ' || 1 + n % 7, 'Country ' || n from generate_series(0, 249) as n;
insert into public.cities (country, name) select 'Country ' || n % 250, 'City ' || n from generate_series(1, 50000) as n;
