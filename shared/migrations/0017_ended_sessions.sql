-- Sessions of the console that were signed out before their tokens expire. A token is valid because of its signature, so
-- only this table can end one of a user's sessions without ending the others.
create table sluice.ended_sessions (
    -- Deleting a user ends all of the user's sessions.
    user_id       bigint not null references sluice.users (id) on delete cascade,
    -- The number in the session's tokens. Renewed tokens keep it.
    session_id    bigint not null,
    -- When the last of those tokens has expired, so that the row has no purpose any more. By the gateway's clock, as in
    -- sluice.blocks.
    kept_until_ms bigint not null,
    primary key (user_id, session_id)
);
