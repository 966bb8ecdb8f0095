-- What clients of the API have set for a pipeline, or have asked of it.
CREATE TABLE items (
    pipeline TEXT NOT NULL,
    -- router, alert, webhook, report or report_rows.
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    -- As JSON.
    body TEXT NOT NULL,
    PRIMARY KEY (pipeline, kind, name)
);
