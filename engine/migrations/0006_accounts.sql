-- Who may use the API. Passwords, keys and the secrets of sessions are stored as hashes; times are seconds
-- since the Unix epoch.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    password TEXT NOT NULL,
    role TEXT NOT NULL,
    tier TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Separated by spaces.
    scopes TEXT NOT NULL,
    tier TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- NULL: never.
    expires_at BIGINT
);
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    user_name TEXT NOT NULL,
    hash TEXT NOT NULL,
    -- That of the refresh token before; empty at first.
    previous_hash TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
-- The key of each algorithm that signs access tokens.
CREATE TABLE signing_keys (
    algorithm TEXT NOT NULL PRIMARY KEY,
    private_key TEXT NOT NULL
);
