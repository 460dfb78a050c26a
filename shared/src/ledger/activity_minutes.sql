-- Parameters: $1 is the number of minutes, $2 the destination.
-- Unlike clock_timestamp(), statement_timestamp() lets PostgreSQL use the index.
with shown as (
    select a.*
    from sluice.minutes a
    where a.destination = $2
          and a.minute > date_trunc('minute', statement_timestamp(), 'UTC') - make_interval(mins => $1)
), logs as (
    select topic, "partition", incarnation, min(minute) as first_minute
    from shown
    group by topic, "partition", incarnation
), before as materialized (
    -- Where each log ended before the first minute shown. This is looked up once for each log instead of once for each
    -- minute.
    select l.topic, l."partition", l.incarnation,
           greatest(
               coalesce(known.end_offset, w.incarnation_starts[l.incarnation], 0),
               -- The watermark's minute may be before the first minute shown.
               case when w.incarnation = l.incarnation and w.minute < l.first_minute then w.next_offset end
           ) as end_offset
    from logs l
    left join sluice.watermarks w on w.topic = l.topic and w."partition" = l."partition" and w.destination = $2
    left join lateral (
        select k.end_offset
        from sluice.activity k
        where k.destination = $2 and k.topic = l.topic and k."partition" = l."partition"
              and k.incarnation = l.incarnation and k.minute < l.first_minute and k.end_offset is not null
        order by k.minute desc limit 1
    ) known on true
), grown as (
    select s.*,
           -- An unknown end counts as an end that has not moved. So does an end that is lower than an earlier end, as
           -- after the truncation of a log.
           greatest(s.end_offset - greatest(b.end_offset, max(s.end_offset) over earlier), 0) as accepted
    from shown s
    join before b using (topic, "partition", incarnation)
    window earlier as (
        partition by s.topic, s."partition", s.incarnation order by s.minute
        rows between unbounded preceding and 1 preceding
    )
)
select topic, (extract(epoch from minute) * 1000)::bigint as began_ms,
       sum(accepted)::bigint as accepted, sum(written)::bigint as written, sum(duplicates)::bigint as duplicates,
       sum(superseded)::bigint as superseded, sum(waiting)::bigint as waiting, sum(released)::bigint as released,
       sum(rejected)::bigint as rejected, sum(tombstones)::bigint as tombstones, sum(replays)::bigint as replays,
       max(max_lag_ms) as max_lag_ms
from grown
group by topic, minute
order by topic, minute
