-- Optional fields of the contract are columns that may be null. A discount is never larger than the order.
create table public.orders (
    number   text        primary key,
    status   text        not null,
    total    numeric     not null,
    discount numeric     check (discount <= total),
    placed   timestamptz not null,
    note     text
);
