-- The ledger: what became of every event, without a row per event.
create schema sluice;

-- Per topic and partition, the next offset to apply. All below it is decided; what has no dead letter was written.
create table sluice.watermarks (
    topic             text    not null,
    "partition"       integer not null,
    next_offset       bigint  not null,
    -- Offsets restart when a topic is deleted and created anew or its log is truncated, and a record does not say
    -- so. It is told from what was applied: the largest record time, and hashes of the first record that was
    -- applied in this incarnation and of the last.
    max_timestamp_ms  bigint  not null,
    first_offset      bigint  not null,
    first_hash        bigint  not null,
    last_hash         bigint  not null,
    incarnation       integer not null default 1,
    -- Offsets that never came although later ones did: removed by retention before they were read, or legally
    -- skipped by compaction and transactions.
    skipped_offsets   bigint  not null default 0,
    updated_at        timestamptz not null default now(),
    primary key (topic, "partition")
);

-- Events that could not be written, with the reason. `payload` is the record's own bytes: it need not be text.
create table sluice.dead_letters (
    id                  bigint generated always as identity primary key,
    topic               text    not null,
    "partition"         integer not null,
    "offset"            bigint  not null,
    incarnation         integer not null,
    key                 bytea,
    payload             bytea   not null,
    -- [{"name", "value"}], a value that is not text as {"name", "bytes"}; in order, names may repeat.
    headers             jsonb   not null,
    record_timestamp_ms bigint  not null,
    reason              text    not null,
    error_code          text    not null,
    status              text    not null default 'open' check (status in ('open', 'replayed')),
    created_at          timestamptz not null default now(),
    replayed_at         timestamptz,
    unique (topic, "partition", "offset", incarnation)
);

-- Events whose parent is not there yet: topics have no order among them.
create table sluice.waiting (
    topic               text    not null,
    "partition"         integer not null,
    "offset"            bigint  not null,
    incarnation         integer not null,
    stream              text    not null,
    -- What the event is about: later commands for it queue behind it.
    entity_key          text    not null,
    parent_stream       text    not null,
    parent_key          text    not null,
    key                 bytea,
    payload             bytea   not null,
    headers             jsonb   not null,
    record_timestamp_ms bigint  not null,
    since_ms            bigint  not null,
    -- The id under which it was recorded in event_ids, where its rejection is noted if it comes to that.
    event_id            uuid,
    primary key (topic, "partition", "offset", incarnation)
);
create index on sluice.waiting (parent_stream, parent_key);
create index on sluice.waiting (stream, entity_key);
create index on sluice.waiting (since_ms);
create index on sluice.waiting (stream, event_id) where event_id is not null;

-- Ids under which an event lands at most once: an Idempotency-Key, a CloudEvents source and id. Hashed with the
-- sender's name, so that keys of different users never meet. Only events that carry one have a row here. A rejected
-- event keeps its id and why it was rejected, so that its repeats are answered alike.
create table sluice.event_ids (
    stream       text   not null,
    id_hash      uuid   not null,
    payload_hash bigint not null,
    seen_at_ms   bigint not null,
    error_code   text,
    reason       text,
    check ((error_code is null) = (reason is null)),
    primary key (stream, id_hash)
);
create index on sluice.event_ids (seen_at_ms) where error_code is null;

-- Events that repeated an earlier one, and share its fate: that of their id in event_ids, if they carried one.
create table sluice.duplicates (
    topic       text    not null,
    "partition" integer not null,
    "offset"    bigint  not null,
    incarnation integer not null,
    seen_at_ms  bigint  not null,
    stream      text    not null,
    id_hash     uuid,
    primary key (topic, "partition", "offset", incarnation)
);
create index on sluice.duplicates (seen_at_ms);
