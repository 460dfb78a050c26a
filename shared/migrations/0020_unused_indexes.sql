-- In a migration of its own, because dropping an index locks everybody out of the table: a migration that already held
-- a weaker lock could deadlock with a transaction that has locked letters and is about to update them.
drop index sluice.dead_letters_by_code;
-- Open letters are counted in sluice.dead_letter_group_counts.
drop index sluice.dead_letters_destination_topic_idx;
