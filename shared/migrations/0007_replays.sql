-- Replays never put old over new, and are known by their place.

-- Where a letter went when it was put back on its topic, which its receipt follows. The place is the replay's own;
-- its topic is the letter's. The record time tells the place from the same offset of a recreated topic. Letters that
-- were put back before this migration have no place.
alter table sluice.dead_letters
    add column replayed_partition    integer,
    add column replayed_offset       bigint,
    add column replayed_timestamp_ms bigint,
    add constraint dead_letters_replayed_as_check
        check (num_nulls(replayed_partition, replayed_offset, replayed_timestamp_ms) in (0, 3)
               and (replayed_offset is null or status = 'replayed')),
    -- Operators will be able to discard letters, and old ones to expire.
    drop constraint dead_letters_status_check,
    add constraint dead_letters_status_check check (status in ('open', 'replayed', 'discarded', 'expired'));

-- A replay whose letter is missing, as its event landed this time or is still to be decided: after a restore, an event
-- is decided again before its replay is read. The replay repeats the event and shares its fate.
alter table sluice.duplicates
    add column of_partition    integer,
    add column of_offset       bigint,
    add column of_timestamp_ms bigint,
    add constraint duplicates_of_check check (num_nulls(of_partition, of_offset, of_timestamp_ms) in (0, 3));

-- Events that changed nothing because their row already had a higher version. A row per run of neighbouring offsets:
-- an old batch that is sent again is superseded as a whole.
create table sluice.superseded (
    topic        text    not null,
    "partition"  integer not null,
    incarnation  integer not null,
    first_offset bigint  not null,
    last_offset  bigint  not null check (last_offset >= first_offset),
    seen_at_ms   bigint  not null,
    primary key (topic, "partition", incarnation, first_offset)
);
-- They are forgotten after a week, as duplicates are.
create index on sluice.superseded (seen_at_ms);
