-- How far the clock of a silent partition went on, which a replay cannot tell.
CREATE TABLE silences (
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    partition_name TEXT NOT NULL,
    -- Nothing at or beyond this offset had come.
    place BIGINT NOT NULL,
    clock BIGINT NOT NULL,
    PRIMARY KEY (pipeline, source, partition_name, place)
);
