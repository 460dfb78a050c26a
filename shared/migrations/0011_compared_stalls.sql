-- How Sluice found that a partition cannot land: a batch failed, or a comparison of watermarks with Kafka and of
-- contracts with their tables, which needs no batch, found a fault. A stall that a comparison recorded also ends when a
-- later comparison finds no fault.
alter table sluice.stalls
    add column found_by text not null default 'batch' check (found_by in ('batch', 'comparison'));
