-- Service keys: the credentials of programs. A key acts as its user, for the streams that it names.
create table sluice.keys (
    id              bigint generated always as identity primary key,
    -- Deleting a user deletes the user's keys, even if a function of an older version does it.
    user_id         bigint not null references sluice.users (id) on delete cascade,
    -- A name for people. Several keys may have the same name, so that a new key can be in use before the old one is
    -- deleted.
    name            text not null,
    -- SHA-256 of the key. A slow hash makes guessing a weak password expensive. A key is 256 random bits, which nobody
    -- can guess with any hash, and a fast hash lets every request find its key by this column.
    hash            bytea not null unique check (octet_length(hash) = 32),
    -- The key's first characters, by which people tell keys apart.
    prefix          text not null,
    -- The streams, or {*} for all that the user may post to.
    streams         text[] not null check (cardinality(streams) > 0),
    -- Whether an admin created it. Only such a key can post to a stream whose contract has no roles, even if the
    -- contract lost them after the key was created.
    by_admin        boolean not null,
    -- By the gateway's clock, as in sluice.blocks.
    created_at_ms   bigint not null,
    expires_at_ms   bigint,
    -- The start of the last minute in which the key was used.
    last_used_at_ms bigint
);
-- For the lists of a user's keys, and for deleting the user.
create index on sluice.keys (user_id, id);
