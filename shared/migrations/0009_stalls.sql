-- Partitions whose batches fail. `consume` writes a row after a batch has failed, outside of the landing transaction.
-- A batch that lands does not touch the table, so landing costs nothing more: the watermark shows that it landed.
create table sluice.stalls (
    destination    text        not null default 'postgresql',
    topic          text        not null,
    "partition"    integer     not null,
    -- One sentence for operators. It names stream, table, column and SQLSTATE, never a value.
    reason         text        not null,
    -- The failed invocation's error type, such as Sluice.Stop.
    error_type     text        not null,
    sqlstate       text,
    -- Who has to act: the operator, or nobody, because the environment recovers by itself.
    fault          text        not null check (fault in ('operator', 'environment')),
    -- The first failure since the partition last landed something, and the latest one.
    since          timestamptz not null,
    last_failed_at timestamptz not null,
    primary key (destination, topic, "partition")
);

-- The stalls in force: nothing has landed since the latest failure. A deadlock, a lock timeout or a restarting server
-- fails one batch and not the next, so a fault of the environment counts once batches have failed for 30 s.
create view sluice.stalled as
select s.destination, s.topic, s."partition", s.reason, s.error_type, s.sqlstate, s.since, s.last_failed_at
from sluice.stalls s
left join sluice.watermarks w
    on w.destination = s.destination and w.topic = s.topic and w."partition" = s."partition"
where (w.updated_at is null or w.updated_at < s.last_failed_at)
  and (s.fault = 'operator' or s.last_failed_at - s.since >= interval '30 seconds');

-- Metrics count the open ones at every scrape.
create index on sluice.dead_letters (destination, topic) where status = 'open';
