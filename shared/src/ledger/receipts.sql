-- Parameters: $1 is the topic. $2 to $4 are arrays of partitions, of offsets, and of the records' times, which may be
-- null.
-- An offset belongs to the latest incarnation that begins at or before it: a truncated log keeps the records before the
-- cut, and their outcome stays the same.
select coalesce(r."offset" < w.next_offset and coalesce(r.time_ms <= w.max_timestamp_ms, true), false) as applied,
       coalesce(d.reason, u.reason) as reason, coalesce(d.error_code, u.error_code) as error_code,
       coalesce(q.since_ms, u.since_ms) as since_ms, u.topic is not null as duplicate,
       $1 as topic, u.of_partition, u.of_offset, u.of_timestamp_ms, coalesce(s.last_offset >= r."offset", false) as superseded,
       d.replayed_partition, d.replayed_offset, d.replayed_timestamp_ms,
       case when g.last_offset >= r."offset" then g.cause end as gap, m.cause as merged_gap
from unnest($2::integer[], $3::bigint[], $4::bigint[])
     with ordinality as r ("partition", "offset", time_ms, position)
left join sluice.watermarks w on w.topic = $1 and w."partition" = r."partition" and w.destination = 'postgresql'
left join lateral (
    select max(number)::integer as incarnation
    from unnest(w.incarnation_starts) with ordinality as s (start, number)
    where s.start <= r."offset"
) i on true
left join sluice.dead_letters d
    on d.topic = $1 and d."partition" = r."partition" and d."offset" = r."offset" and d.incarnation = i.incarnation
       and d.destination = 'postgresql'
left join sluice.waiting q
    on q.topic = $1 and q."partition" = r."partition" and q."offset" = r."offset" and q.incarnation = i.incarnation
left join lateral (
    select x.topic, e.reason, e.error_code, first.since_ms, x.of_partition, x.of_offset, x.of_timestamp_ms
    from sluice.duplicates x
    left join sluice.event_ids e on e.stream = x.stream and e.id_hash = x.id_hash
    left join sluice.waiting first on first.stream = x.stream and first.event_id = x.id_hash
    where x.topic = $1 and x."partition" = r."partition" and x."offset" = r."offset" and x.incarnation = i.incarnation
    limit 1
) u on true
-- Ranges do not overlap, so only the last range that begins at or before the offset can contain the offset.
left join lateral (
    select x.last_offset from sluice.superseded x
    where x.topic = $1 and x."partition" = r."partition" and x.incarnation = i.incarnation
          and x.first_offset <= r."offset"
    order by x.first_offset desc limit 1
) s on true
-- Exact gaps do not overlap, so only the last gap that begins at or before the offset can contain the offset.
left join lateral (
    select x.last_offset, x.cause from sluice.gaps x
    where x.topic = $1 and x."partition" = r."partition" and x.incarnation = i.incarnation
          and x.first_offset <= r."offset" and x.destination = 'postgresql' and x.is_exact
    order by x.first_offset desc limit 1
) g on true
left join sluice.gaps m
    on m.topic = $1 and m."partition" = r."partition" and m.incarnation = i.incarnation
       and r."offset" between m.first_offset and m.last_offset and m.destination = 'postgresql' and not m.is_exact
order by r.position
