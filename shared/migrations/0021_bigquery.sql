-- What lands in BigQuery. Migration 6 gave most tables of this schema a column `destination`.

-- Per partition: the write stream that its rows are appended to, and what is being appended. BigQuery takes an append only
-- at the stream's end, and says how many rows a finished stream has, so the row count tells whether an append that was
-- announced here has happened.
create table sluice.bigquery_streams (
    topic              text     not null,
    "partition"        integer  not null,
    -- The stream's full name, which includes its table's. Null if the next append needs a new one.
    stream             text,
    -- How many rows of the stream are applied: the offset of the next append.
    next_row           bigint   not null default 0,
    -- When the server of this database had started while BigQuery last agreed with this row. A restored database comes
    -- with a new server, and may know less than BigQuery.
    server_started_us  bigint   not null default 0,
    -- An append that was announced. Nobody else appends to the stream as long as it is here.
    intent             uuid,
    intent_rows        bigint,
    intent_incarnation integer,
    -- When the server had started under which it was announced.
    intent_server_started_us bigint,
    -- The Kafka offsets of its rows, as first and last offset of each run.
    intent_offsets     bigint[],
    -- Records that are not settled, although their rows are known to be in the table, in the same form.
    written_offsets     bigint[] not null default '{}',
    written_incarnation integer  not null default 0,
    updated_at         timestamptz not null default now(),
    check ((intent is null) = (intent_rows is null)),
    check ((intent is null) = (intent_incarnation is null)),
    check ((intent is null) = (intent_offsets is null)),
    check ((intent is null) = (intent_server_started_us is null)),
    check (intent is null or stream is not null),
    primary key (topic, "partition")
);

-- As event_ids, but for BigQuery. An id is claimed before its row is appended, so the claim names the record: after a
-- crash, the record is found to hold its own id.
create table sluice.bigquery_event_ids (
    stream       text    not null,
    id_hash      uuid    not null,
    payload_hash bigint  not null,
    "partition"  integer not null,
    "offset"     bigint  not null,
    incarnation  integer not null,
    seen_at_ms   bigint  not null,
    primary key (stream, id_hash)
);
create index on sluice.bigquery_event_ids (seen_at_ms);

-- Events that repeat one whose row is in BigQuery. Receipts show them.
create table sluice.bigquery_duplicates (
    topic       text    not null,
    "partition" integer not null,
    "offset"    bigint  not null,
    incarnation integer not null,
    seen_at_ms  bigint  not null,
    primary key (topic, "partition", "offset", incarnation)
);
create index on sluice.bigquery_duplicates (seen_at_ms);
