-- What sources decided that a replay cannot reproduce.
CREATE TABLE decisions (
    pipeline TEXT NOT NULL,
    source TEXT NOT NULL,
    partition_name TEXT NOT NULL,
    -- The offset of the next message that had not been read.
    place BIGINT NOT NULL,
    -- 0: the partition was idle, and its clock moved; 1: the message was refused.
    kind BIGINT NOT NULL,
    clock BIGINT NOT NULL,
    PRIMARY KEY (pipeline, source, partition_name, place, kind)
);
INSERT INTO decisions (pipeline, source, partition_name, place, kind, clock)
SELECT pipeline, source, partition_name, place, 0, clock FROM silences;
DROP TABLE silences;
