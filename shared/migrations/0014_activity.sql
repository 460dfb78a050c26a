-- What landed, minute by minute, and how long dead letters and login attempts are kept.

-- One row per incarnation of a partition and minute in which something landed. The landing transaction writes it, so the
-- sums equal what the other tables say: after a restore, too, because the rows of what lands again were not restored.
-- Functions of the version before write no rows: what lands through them during the deployment is missing.
--
-- The counts of a partition's latest minute are in its watermark, which is updated anyway: updating a second row took
-- 6 % of the time in which a batch of 100 events lands. The first landing of a later minute moves them here.
create table sluice.activity (
    destination text        not null default 'postgresql',
    topic       text        not null,
    "partition" integer     not null,
    incarnation integer     not null,
    -- When it landed, by the database's clock: every function has a clock of its own, and there is one database.
    minute      timestamptz not null,
    -- What became of the records. One that waited counts as waiting in one minute, and in a later one as released and as
    -- what became of it then. So waiting minus released is how many wait.
    written     bigint      not null default 0,
    duplicates  bigint      not null default 0,
    superseded  bigint      not null default 0,
    waiting     bigint      not null default 0,
    released    bigint      not null default 0,
    rejected    bigint      not null default 0,
    tombstones  bigint      not null default 0,
    -- How many of them were replays of dead letters.
    replays     bigint      not null default 0,
    -- From the record's time to its landing. Null if no record landed, only waiting ones were released.
    max_lag_ms  bigint,
    -- The highest offset that landed in this minute.
    last_offset bigint,
    -- Where the log ended, as far as it was known in this minute: what landed was in the log, and the comparison with
    -- Kafka notes the end of logs that do not land. The difference to the minute before was accepted by Kafka.
    end_offset  bigint,
    primary key (destination, topic, "partition", incarnation, minute)
);
-- The routes read the last minutes of all partitions, and the sweep deletes the oldest.
create index on sluice.activity (minute);

alter table sluice.watermarks
    -- The latest minute in which something landed, unless its counts were moved.
    add column minute     timestamptz,
    add column written    bigint not null default 0,
    add column duplicates bigint not null default 0,
    add column superseded bigint not null default 0,
    add column waiting    bigint not null default 0,
    add column released   bigint not null default 0,
    add column rejected   bigint not null default 0,
    add column tombstones bigint not null default 0,
    add column replays    bigint not null default 0,
    add column max_lag_ms bigint;

-- All minutes. A minute may have two rows, whose counts add up.
create view sluice.minutes as
select destination, topic, "partition", incarnation, minute, written, duplicates, superseded, waiting, released, rejected,
       tombstones, replays, max_lag_ms, last_offset, end_offset
from sluice.activity
union all
select destination, topic, "partition", incarnation, minute, written, duplicates, superseded, waiting, released, rejected,
       tombstones, replays, max_lag_ms, nullif(last_offset, -1), next_offset
from sluice.watermarks
where minute is not null;

-- An expired dead letter keeps its place and reason, and its replay's place, which its receipt follows.
alter table sluice.dead_letters
    drop constraint dead_letters_replayed_as_check,
    add constraint dead_letters_replayed_as_check
        check (num_nulls(replayed_partition, replayed_offset, replayed_timestamp_ms) in (0, 3)
               and (replayed_offset is null or status in ('replayed', 'expired')));
-- Those that are due next.
create index on sluice.dead_letters (created_at) where status <> 'expired';
