-- What landed, minute by minute, and how long dead letters and login attempts are kept.

-- One row per incarnation of a partition and minute in which something landed. The landing transaction writes it, so
-- the sums equal the other tables. They do so after a restore, too: the database then lacks the counts of exactly those
-- events that land again. Functions of the previous version write no rows, so events that they land during the
-- deployment are missing.
--
-- The counts of a partition's latest minute are in its watermark, which is updated anyway: updating a second row took
-- 6 % of the time that a batch of 100 events takes to land. The first landing in a later minute moves them here.
create table sluice.activity (
    destination text        not null default 'postgresql',
    topic       text        not null,
    "partition" integer     not null,
    incarnation integer     not null,
    -- The minute of the landing. It is the database's, because the clocks of functions differ.
    minute      timestamptz not null,
    -- The outcomes of the records. An event that waits counts as waiting in one minute, and in a later one as released
    -- and under its final outcome. So waiting minus released is the number of events that still wait.
    written     bigint      not null default 0,
    duplicates  bigint      not null default 0,
    superseded  bigint      not null default 0,
    waiting     bigint      not null default 0,
    released    bigint      not null default 0,
    rejected    bigint      not null default 0,
    tombstones  bigint      not null default 0,
    -- How many of them were replays of dead letters.
    replays     bigint      not null default 0,
    -- The longest time from a record's timestamp to its landing. Null if waiting events were released and no record
    -- landed.
    max_lag_ms  bigint,
    -- The highest offset that landed in this minute.
    last_offset bigint,
    -- The end of the log, as far as it was known in this minute: every landed record was in the log, and the comparison
    -- with Kafka notes the ends of logs that do not land. The difference from the previous minute is what Kafka
    -- accepted.
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

-- An expired dead letter keeps its place, its reason, and the place of its replay, to which its receipt refers.
alter table sluice.dead_letters
    drop constraint dead_letters_replayed_as_check,
    add constraint dead_letters_replayed_as_check
        check (num_nulls(replayed_partition, replayed_offset, replayed_timestamp_ms) in (0, 3)
               and (replayed_offset is null or status in ('replayed', 'expired')));
-- Finds the letters that expire next.
create index on sluice.dead_letters (created_at) where status <> 'expired';
