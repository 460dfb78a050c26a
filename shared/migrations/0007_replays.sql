-- A replay never replaces newer data, and its place identifies it.

-- The place of a letter's latest replay, to which its receipt refers; the topic is the letter's own. The record time
-- distinguishes the place from the same offset of a recreated topic. Letters that were replayed before this migration
-- have no place.
alter table sluice.dead_letters
    add column replayed_partition    integer,
    add column replayed_offset       bigint,
    add column replayed_timestamp_ms bigint,
    add constraint dead_letters_replayed_as_check
        check (num_nulls(replayed_partition, replayed_offset, replayed_timestamp_ms) in (0, 3)
               and (replayed_offset is null or status = 'replayed')),
    -- Operators will be able to discard letters, and old letters will expire.
    drop constraint dead_letters_status_check,
    add constraint dead_letters_status_check check (status in ('open', 'replayed', 'discarded', 'expired'));

-- The event that a replay repeats if its letter is missing. After a restore, `consume` decides the event again before
-- it reads the replay, so the event has landed this time or is still pending. The replay shares its outcome.
alter table sluice.duplicates
    add column of_partition    integer,
    add column of_offset       bigint,
    add column of_timestamp_ms bigint,
    add constraint duplicates_of_check check (num_nulls(of_partition, of_offset, of_timestamp_ms) in (0, 3));

-- Events that changed nothing because their row already had a higher version. One row per range of neighbouring
-- offsets, because an old batch that is sent again is superseded as a whole.
create table sluice.superseded (
    topic        text    not null,
    "partition"  integer not null,
    incarnation  integer not null,
    first_offset bigint  not null,
    last_offset  bigint  not null check (last_offset >= first_offset),
    seen_at_ms   bigint  not null,
    primary key (topic, "partition", incarnation, first_offset)
);
-- `consume` deletes them after a week, like duplicates.
create index on sluice.superseded (seen_at_ms);
