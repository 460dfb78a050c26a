-- Continents, countries and cities. A child names its parent, as its events do. No cascades: a parent with children
-- is not deleted. Reading a country's cities uses the index behind its unique key.
create table public.continents (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    population bigint,
    area       double precision
);

create table public.countries (
    id         bigint generated always as identity primary key,
    continent  text not null references public.continents (name),
    name       text not null unique,
    population bigint,
    area       double precision
);
create index on public.countries (continent);

create table public.cities (
    id         bigint generated always as identity primary key,
    country    text not null references public.countries (name),
    name       text not null,
    population bigint,
    area       double precision,
    latitude   double precision,
    longitude  double precision,
    unique (country, name)
);
