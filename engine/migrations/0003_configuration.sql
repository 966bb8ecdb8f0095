-- What was changed while a pipeline ran, in the order of the changes.
CREATE TABLE configuration (
    pipeline TEXT NOT NULL,
    number BIGINT NOT NULL,
    -- When it took effect; never before the change before it.
    tick BIGINT NOT NULL,
    -- The operator that is configured, and what of it.
    component TEXT NOT NULL,
    item TEXT NOT NULL,
    -- As JSON; NULL takes it away.
    value TEXT,
    PRIMARY KEY (pipeline, number)
);
