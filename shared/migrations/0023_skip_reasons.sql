-- Why a run skipped letters: how many it skipped for each reason, as in {"later_event": 2}. A process with an older
-- version of Sluice counts the letters that it skips in `skipped` only.
alter table sluice.replay_runs add column skip_reasons jsonb not null default '{}';
