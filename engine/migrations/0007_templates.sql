-- Pipeline files with parameters.
CREATE TABLE templates (
    name TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);
