-- Names and keys of entities are stored and compared composed (Unicode NFC). This migration composes existing rows, so
-- that commands and requests still find them. If several rows have the same composed name, nothing says which one is
-- meant, so they keep their spellings.
do $$
begin
    -- Usually nothing has to be composed. Then no table is locked, and no foreign key is checked again.
    if not exists (select from public.continents where name is not nfc normalized)
       and not exists (select from public.countries where name is not nfc normalized)
       and not exists (select from public.cities where name is not nfc normalized) then
        return;
    end if;
    -- Parents first, as batches lock them.
    lock table public.continents, public.countries, public.cities in access exclusive mode;

    -- Children follow their parents' names for the length of this transaction.
    alter table public.countries
        drop constraint countries_continent_fkey,
        add constraint countries_continent_fkey foreign key (continent) references public.continents (name) on update cascade;
    alter table public.cities
        drop constraint cities_country_fkey,
        add constraint cities_country_fkey foreign key (country) references public.countries (name) on update cascade;

    update public.continents c set name = s.composed
    from (select id, normalize(name, nfc) as composed, count(*) over (partition by normalize(name, nfc)) as spellings
          from public.continents) s
    where c.id = s.id and s.spellings = 1 and c.name <> s.composed;

    update public.countries c set name = s.composed
    from (select id, normalize(name, nfc) as composed, count(*) over (partition by normalize(name, nfc)) as spellings
          from public.countries) s
    where c.id = s.id and s.spellings = 1 and c.name <> s.composed;

    update public.cities c set name = s.composed
    from (select id, normalize(name, nfc) as composed, count(*) over (partition by country, normalize(name, nfc)) as spellings
          from public.cities) s
    where c.id = s.id and s.spellings = 1 and c.name <> s.composed;

    alter table public.countries
        drop constraint countries_continent_fkey,
        add constraint countries_continent_fkey foreign key (continent) references public.continents (name);
    alter table public.cities
        drop constraint cities_country_fkey,
        add constraint cities_country_fkey foreign key (country) references public.countries (name);
end
$$;

update sluice.waiting set entity_key = normalize(entity_key, nfc), parent_key = normalize(parent_key, nfc)
where entity_key is not nfc normalized or parent_key is not nfc normalized;
