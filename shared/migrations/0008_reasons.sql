-- The constraint, table and column that rejected an event, in separate columns, so that operators can see them without
-- parsing the reason. PostgreSQL reports the names with the error. They are null if it does not, or if another rule
-- rejected the event.
--
-- "table" has no schema, as PostgreSQL reports it; `reason` has the qualified name. `pointer` is the JSON pointer of the
-- wrong value in the payload: that of the contract violation, or that of the value that fills the column. The
-- empty pointer means the whole event.
--
-- Older dead letters keep nulls, because their reasons do not contain the names.
alter table sluice.dead_letters
    add column "constraint" text,
    add column "table" text,
    add column "column" text,
    add column pointer text;
