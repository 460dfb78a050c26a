-- The watermark decides what is read; a consumer group's offset is only a hint. `consume` reads the records between the
-- watermark and a batch from Kafka; offsets that Kafka no longer has are a gap.

-- Where events land. Each destination keeps its own progress, so that one that is down never delays another.
alter table sluice.watermarks add column destination text not null default 'postgresql';
alter table sluice.watermarks drop constraint watermarks_pkey;
alter table sluice.watermarks add primary key (topic, "partition", destination);
alter table sluice.dead_letters add column destination text not null default 'postgresql';
alter table sluice.dead_letters drop constraint dead_letters_topic_partition_offset_incarnation_key;
alter table sluice.dead_letters add unique (topic, "partition", "offset", incarnation, destination);

alter table sluice.watermarks
    -- The offset of the last record that was applied in this incarnation, whose hash is last_hash; -1 before the first.
    -- It is not always next_offset - 1: a gap may follow the record.
    add column last_offset bigint not null default -1,
    -- The offset at which each incarnation begins, the first at 0. An offset belongs to the latest incarnation that
    -- begins at or before it: a truncated log keeps the records before the cut.
    add column incarnation_starts bigint[] not null default '{0}',
    -- Gaps have a table of their own. Dropping the column at once stops functions of the previous version, which do not
    -- know last_offset, from writing a wrong watermark. Their batches are delivered again.
    drop column skipped_offsets;
update sluice.watermarks set
    last_offset = next_offset - 1,
    -- The starts of the incarnations between the first and the current one are no longer known.
    incarnation_starts = array[0::bigint] || array_fill(first_offset, array[incarnation - 1]);

-- Ranges of offsets that Kafka no longer had when they were due.
create table sluice.gaps (
    id           bigint generated always as identity primary key,
    destination  text    not null default 'postgresql',
    topic        text    not null,
    "partition"  integer not null,
    incarnation  integer not null,
    -- Both offsets belong to the gap.
    first_offset bigint  not null,
    last_offset  bigint  not null check (last_offset >= first_offset),
    -- Aborted, or the marker of a transaction; compacted away; deleted by retention; not known. Merging neighbours with
    -- different causes keeps the one that says most about lost events: the later one in this list.
    cause        text    not null check (cause in ('transaction', 'compaction', 'retention', 'unknown')),
    -- No record of an exact gap was applied. A topic with many small transactions has a gap per transaction, so beyond
    -- 1,000 per partition the oldest are merged into one row that spans records that were applied, too.
    is_exact     boolean not null default true,
    noted_at     timestamptz not null default now()
);
create unique index on sluice.gaps (topic, "partition", incarnation, first_offset, destination) where is_exact;
create unique index on sluice.gaps (topic, "partition", incarnation, destination) where not is_exact;

-- The offsets before the first record that was ever applied were not applied, and the cause is not known.
insert into sluice.gaps (topic, "partition", incarnation, first_offset, last_offset, cause)
select topic, "partition", 1, 0, first_offset - 1, 'unknown'
from sluice.watermarks
where incarnation = 1 and first_offset > 0;
