-- Operators replay all dead letters that match a filter. A run outlives the process that began it: any process may
-- continue it.
create table sluice.replay_runs (
    id          bigint generated always as identity primary key,
    created_by  text        not null,
    created_at  timestamptz not null default now(),
    -- The filter as it was given, for display. It is not applied again: the letters are in the table below.
    filter      jsonb       not null,
    is_forced   boolean     not null,
    -- How many letters matched, how many of them were replayed, and how many were skipped.
    letters     bigint      not null default 0,
    replayed    bigint      not null default 0,
    skipped     bigint      not null default 0,
    status      text        not null default 'running' check (status in ('running', 'done', 'cancelled')),
    finished_at timestamptz,
    check ((status = 'running') = (finished_at is null))
);
create index on sluice.replay_runs (id) where status = 'running';

-- The letters that a run still has to replay: those that matched when it was created, except those that it has replayed
-- or skipped. A letter is removed in the transaction that marks it as replayed, so it is replayed once, even if several
-- processes continue the run. `letter_id` is not a foreign key: a restore may remove a letter, and the run then skips
-- it.
create table sluice.replay_run_letters (
    run_id    bigint not null references sluice.replay_runs,
    letter_id bigint not null,
    primary key (run_id, letter_id)
);

-- What admins did. The row is written in the transaction of the action, if there is one.
create table sluice.audit (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default now(),
    "user" text        not null,
    -- What was done, as in 'discarded', and to what, as in 'dead-letters/17'.
    action text        not null,
    object text        not null,
    detail jsonb       not null default '{}'
);
