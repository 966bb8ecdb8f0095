-- The same statements for SQLite and Postgres.

CREATE TABLE pipelines (
    name TEXT NOT NULL PRIMARY KEY,
    -- Names one history of checkpoints; a fresh start is another one.
    lineage TEXT NOT NULL,
    -- The run that may commit; each start takes the next.
    generation BIGINT NOT NULL,
    -- The tick of the newest checkpoint; -1 before the first.
    latest BIGINT NOT NULL
);

CREATE TABLE checkpoints (
    pipeline TEXT NOT NULL,
    -- Everything before this tick is in here and in every sink.
    tick BIGINT NOT NULL,
    -- The tick of the checkpoint that this one adds to; its own when it is whole.
    base BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    committed_at_ms BIGINT NOT NULL,
    n_changes BIGINT NOT NULL,
    body BYTEA NOT NULL,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (pipeline, tick)
);
