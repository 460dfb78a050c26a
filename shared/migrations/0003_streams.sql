-- Positions of users. No key: a user may be in one place twice.
create table public.routes_table (
    user_id     bigint           not null,
    "timestamp" timestamptz      not null,
    latitude    double precision not null,
    longitude   double precision not null
);

-- User events, one row per id.
create table public.user_events (
    id        uuid primary key,
    city      text not null,
    state     text,
    country   text,
    post_code text,
    datetime  timestamp not null
);

-- Tables that change events name are written here and nowhere else.
create schema landing;
