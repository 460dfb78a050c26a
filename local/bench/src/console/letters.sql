-- Inserts the dead letters with the numbers $1 to $2, of a million in all, in chronological order. 800,000 letters
-- arrive in 38 days, 50,000 in the next day, and 150,000 in one hour during an incident. The kinds and statuses of the
-- letters alternate.
insert into sluice.dead_letters
    (topic, "partition", "offset", incarnation, key, payload, headers, record_timestamp_ms, reason, error_code,
     "constraint", "table", pointer, created_at, status, replays, replayed_at, replayed_partition, replayed_offset,
     replayed_timestamp_ms, note)
select k.topic, l.n % k.partitions, l.n, 1, convert_to('user ' || l.n % 50000, 'UTF8'),
       convert_to(case when l.status = 'expired' then '' else k.payload end, 'UTF8'),
       jsonb_build_array(jsonb_build_object('name', 'sluice-user', 'value', 'user ' || l.n % 20)),
       l.at_ms - 500, k.reason, k.error_code, k."constraint", k."table", k.pointer, l.at, l.status,
       (l.status = 'replayed')::integer,
       case when l.status = 'replayed' then l.at + interval '1 hour' end,
       case when l.status = 'replayed' then l.n % k.partitions end,
       case when l.status = 'replayed' then 1500000 + l.n end,
       case when l.status = 'replayed' then l.at_ms + 3600000 end,
       case when l.status = 'discarded' then 'the source was broken' end
from (
    select n, at, (extract(epoch from at) * 1000)::bigint as at_ms, 1 + (n * 7919 % 20)::integer as turn,
           case when n < 20000 then 'expired' when n % 11 = 3 then 'replayed' when n % 23 = 5 then 'discarded'
                else 'open' end as status
    from generate_series($1::bigint, $2::bigint) as n
    cross join lateral (
        select date_trunc('hour', now()) - interval '2 hours' - case
            when n < 800000 then interval '1 day' + interval '38 days' * (800000 - n) / 800000
            when n < 850000 then interval '1 day' * (850000 - n) / 50000
            else interval '-1 hour' * (n - 850000) / 150000
        end as at
    ) as t
) as l
cross join lateral (
    values
        (1, 5, 'routes', 4,
         format('{"userID": %s, "timestamp": %s.563, "coordinates": [52.3676, 4.9041]}', n % 50000, 1557258853 + n),
         '23514', 'check known_users of table public.routes_table rejects the row', 'known_users', 'routes_table', null),
        (6, 8, 'routes', 4,
         format('{"userID": "%s", "timestamp": %s, "coordinates": [152.3676, 4.9041]}', n % 50000, 1557258853 + n),
         'contract_violation', '/userID: must be an integer; /coordinates/0: must be at most 90', null, null, '/userID'),
        (9, 12, 'city', 4,
         format('{"op": "update", "name": "City %s", "country": "Country %s", "population": %s}', n % 40000, n % 250, n),
         'not_found', 'does not exist', null, null, '/name'),
        -- Callers choose the names of fields, so these letters have 3,000 different reasons. All of them form one
        -- group.
        (13, 15, 'user-events', 4,
         format('{"id": "%s", "address": {"city": "City %s", "state": "Maryland", "country": "United States",
                 "postCode": "%s"}, "datetime": "2019-05-07 19:54:13.563", "extra_%s": "%s"}',
                md5(n::text)::uuid, n % 20000, n % 100000, n % 20000, md5(n::text)),
         'contract_violation', format('/: the field "extra_%s" must not be present', n % 20000), null, null, ''),
        (16, 17, 'changes', 1,
         format('{"action": "I", "schema": "public", "table": "readings_%s",
                 "columns": [{"name": "id", "type": "bigint", "value": %s}]}', n % 20, n),
         'no_such_column', format('change %s: table "landing.readings_%s" has no column "id", and none may be added',
                                  n % 30, n % 20), null, null, null),
        (18, 19, 'country', 2,
         format('{"op": "create", "name": "Country %s", "continent": %s', n % 250, repeat('x', (n % 300)::integer)),
         'not_json', format('not JSON: a value must follow here at line 1 column %s', n % 300), null, null, null),
        -- The trigger raises 400 different messages, so these letters form 400 groups.
        (20, 20, 'user-events', 4,
         format('{"id": "%s", "address": {"city": "City %s", "country": "Atlantis"}, "datetime": "2019-05-07"}',
                md5(n::text)::uuid, n % 20000),
         'P0001', format('trigger function checked of table public.user_events rejects the row: %s%s',
                         chr(97 + (n / 20 % 20)::integer), chr(97 + (n / 400 % 20)::integer)),
         null, 'user_events', null)
) as k (first_turn, last_turn, topic, partitions, payload, error_code, reason, "constraint", "table", pointer)
where l.turn between k.first_turn and k.last_turn
order by l.n
