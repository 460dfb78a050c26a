-- What refused a dead letter, in fields of its own, so that operators can filter and group by them. PostgreSQL reports
-- the names with the error. They are null where it does not, and for rejections that another rule decided.
--
-- "table" has no schema, as PostgreSQL reports it; `reason` has the qualified name. `pointer` is the JSON pointer of the
-- wrong value in the payload: a contract violation's own, or the one from which the contract fills the column. The
-- empty pointer means the whole event.
--
-- Older dead letters keep nulls: their reasons do not hold the names.
alter table sluice.dead_letters
    add column "constraint" text,
    add column "table" text,
    add column "column" text,
    add column pointer text;
