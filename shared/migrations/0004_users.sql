-- Who may use the gateway.
create table sluice.users (
    id            bigint generated always as identity primary key,
    -- As it was given, and as it is compared: after NFKC and case folding.
    name          text not null,
    name_key      text not null unique,
    role          text not null default 'user' check (role in ('user', 'admin')),
    -- argon2id with its parameters, as a PHC string.
    password_hash text not null,
    -- Goes up with every change of the password: tokens that were given out before are void.
    generation    integer not null default 1,
    created_at    timestamptz not null default now()
);

-- Failed attempts, and who is blocked for them. Names that nobody has are counted too.
create table sluice.blocks (
    name_key         text primary key,
    name             text not null,
    -- When an attempt failed, and when one began whose password is still being compared. All within the window.
    failed_at_ms     bigint[] not null default '{}',
    checking_at_ms   bigint[] not null default '{}',
    blocked_until_ms bigint,
    touched_at_ms    bigint not null
);
create index on sluice.blocks (touched_at_ms);

-- Attempts on their way to the topic `login`: committed with what they led to, sent when the broker takes them.
create table sluice.login_outbox (
    id      uuid primary key,
    number  bigint generated always as identity unique,
    attempt text not null
);

-- Where the stream `login` lands.
create table sluice.login_attempts (
    "user"     text not null,
    at         timestamptz not null,
    outcome    text not null,
    via        text not null,
    source_ip  text,
    request_id text
);
create index on sluice.login_attempts (at);
