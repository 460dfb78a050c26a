-- The list of users is in the order of their names' code points. The unique index has the order of the database's locale.
create index users_by_name on sluice.users (name_key collate "C");

-- Finds the event of each stream that has waited longest, however many wait.
create index waiting_by_age on sluice.waiting (stream, since_ms);
