-- A reason belongs to few topics and error codes, usually to one of each. Without these statistics, PostgreSQL multiplies
-- the shares of letters with the topic, the error code, the hash and the reason, expects almost no letter, and sorts the
-- ten thousands that it finds instead of reading the first ones from an index.
create statistics sluice.dead_letter_reasons (dependencies)
on topic, error_code, pattern_hash, reason_hash, reason
from sluice.dead_letters;

do $$
begin
    if exists (select from sluice.dead_letters) then
        analyze sluice.dead_letters;
    end if;
end
$$;
