-- The versions of rows that were deleted, so that an older event that is replayed afterwards does not bring a row back.
-- Only streams of mode entity whose contract has a version have rows here. The size of a row does not depend on
-- its key. `consume` deletes rows after a week, like ids.
create table sluice.deleted_versions (
    stream        text   not null,
    -- A hash of the entity's key.
    key_hash      uuid   not null,
    -- In PostgreSQL's binary format of this type. A version of another type, from before a change of the contract,
    -- cannot be compared and is ignored.
    version       bytea  not null,
    version_type  text   not null,
    deleted_at_ms bigint not null,
    primary key (stream, key_hash)
);
create index on sluice.deleted_versions (deleted_at_ms);
