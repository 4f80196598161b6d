-- The edge-store, version 1. A change of it is a new version: see MIGRATIONS in schema.py.

-- What the cloud sent: one row an object, the value as it came.
CREATE TABLE objects (
    key              TEXT PRIMARY KEY, -- namespace/type/name, the object's resource
    type             TEXT    NOT NULL,
    namespace        TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    uid              TEXT    NOT NULL,
    resource_version INTEGER NOT NULL,
    checksum         INTEGER NOT NULL, -- CRC-32: SQLite checks its structure, not what it holds
    value            BLOB    NOT NULL
);
CREATE INDEX objects_by_type ON objects (type);

-- Objects that have ended, so that a late message cannot bring one back. Bounded, oldest out.
CREATE TABLE tombstones (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    uid              TEXT    NOT NULL UNIQUE,
    key              TEXT    NOT NULL,
    resource_version INTEGER NOT NULL, -- the highest that is known to belong to the past
    final            INTEGER NOT NULL  -- 1: gone for good, whatever version a message claims
);

-- What the daemon remembers about itself.
CREATE TABLE state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
