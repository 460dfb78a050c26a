-- Operators replay all dead letters that match a filter. A run outlives the process that began it: any process may
-- continue it.
create table sluice.replay_runs (
    id          bigint generated always as identity primary key,
    created_by  text        not null,
    created_at  timestamptz not null default now(),
    -- As it was given, to be shown. It is not applied again: the letters are in the table below.
    filter      jsonb       not null,
    is_forced   boolean     not null,
    -- How many letters matched, how many of them were put back, and how many were left out.
    letters     bigint      not null default 0,
    replayed    bigint      not null default 0,
    skipped     bigint      not null default 0,
    status      text        not null default 'running' check (status in ('running', 'done', 'cancelled')),
    finished_at timestamptz,
    check ((status = 'running') = (finished_at is null))
);
create index on sluice.replay_runs (id) where status = 'running';

-- The letters that a run has still to put back: those that matched when it was created, less those that are settled.
-- A letter is removed in the transaction that marks it as replayed, so it is put back once, whoever continues the run.
-- Letters are not foreign keys: a restore may have removed one, which is then left out.
create table sluice.replay_run_letters (
    run_id    bigint not null references sluice.replay_runs,
    letter_id bigint not null,
    primary key (run_id, letter_id)
);

-- Who did what. Written in the transaction that does it, where there is one.
create table sluice.audit (
    id     bigint generated always as identity primary key,
    at     timestamptz not null default now(),
    "user" text        not null,
    -- What was done, as in 'discarded', and to what, as in 'dead-letters/17'.
    action text        not null,
    object text        not null,
    detail jsonb       not null default '{}'
);
