-- What found out that a partition cannot land: a batch that failed, or a comparison of watermarks with Kafka and of
-- contracts with their tables, which needs no batch. The stall of a comparison also ends when a later one finds nothing.
alter table sluice.stalls
    add column found_by text not null default 'batch' check (found_by in ('batch', 'comparison'));
