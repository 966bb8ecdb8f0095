-- Who runs a pipeline. A holder that is alive counts its heartbeat up.
CREATE TABLE leases (
    pipeline TEXT NOT NULL PRIMARY KEY,
    -- The process; empty if none holds the lease.
    holder TEXT NOT NULL,
    heartbeat BIGINT NOT NULL,
    -- The process that asks the holder to stop and to pass the lease on; empty if none does.
    handover TEXT NOT NULL
);
