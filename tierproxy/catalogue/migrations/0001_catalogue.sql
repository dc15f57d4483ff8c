-- The catalogue as of its first version. Keys are TEXT: SQLite's BINARY collation compares their UTF-8 bytes, which is
-- S3's listing order.

-- Small facts of the data directory: the generation ceiling, and how often another process changed something.
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO fact (name, value) VALUES ('generation_ceiling', 0), ('outside_changes', 0);

-- One row per object ever seen. WITHOUT ROWID, measured at 1e6 rows: a listing page of 1,000 takes 0.8 ms (2.4 ms with
-- row ids, which lie in the order of arrival), a look-up 11 us either way; a change costs 10 us more, the file 14 %.
CREATE TABLE entry (
    bucket       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    generation   INTEGER NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('clean', 'dirty', 'deleting', 'suspect')),
    size         INTEGER NOT NULL,
    etag         TEXT    NOT NULL,
    written_at   REAL    NOT NULL,
    alt_etag     TEXT,
    headers      TEXT,               -- JSON; NULL while only a listing of alt has told of the object
    parts        TEXT,               -- JSON list of part sizes; NULL for none
    blob         TEXT,
    blob_bytes   INTEGER NOT NULL,
    xxh3         BLOB,
    stored_at    REAL,
    last_read_at REAL,
    reads        INTEGER NOT NULL,
    purged_at    REAL,
    purged_by    TEXT,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;

-- One blob belongs to one entry; also the scrub's walk.
CREATE UNIQUE INDEX entry_blob ON entry (blob) WHERE blob IS NOT NULL;
-- What alt does not know yet, or is not sure of: small, however large the catalogue is.
CREATE INDEX entry_unclean ON entry (bucket, key, state) WHERE state <> 'clean';
-- Who goes first when space is needed.
CREATE INDEX entry_victim ON entry (coalesce(last_read_at, stored_at)) WHERE state = 'clean' AND blob IS NOT NULL;

-- Work for alt, one job a key: a DIRTY entry has a put, a DELETING entry a delete, nobody else has one.
CREATE TABLE job (
    bucket      TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    generation  INTEGER NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('put', 'delete')),
    size        INTEGER NOT NULL,
    queued_at   REAL    NOT NULL,
    attempts    INTEGER NOT NULL,
    next_try_at REAL    NOT NULL,
    last_error  TEXT,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE INDEX job_due ON job (next_try_at, generation);
CREATE INDEX job_order ON job (generation);
CREATE INDEX job_age ON job (queued_at);

CREATE TABLE bucket (
    name       TEXT    PRIMARY KEY,
    created_at REAL    NOT NULL,
    created    INTEGER NOT NULL,
    complete   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE upload (
    id                 TEXT PRIMARY KEY,
    bucket             TEXT NOT NULL,
    key                TEXT NOT NULL,
    headers            TEXT NOT NULL,
    created_at         REAL NOT NULL,
    ack                TEXT,
    checksum_algorithm TEXT,
    checksum_type      TEXT
) WITHOUT ROWID;
CREATE INDEX upload_name ON upload (bucket, key, id);
CREATE INDEX upload_age ON upload (created_at);

CREATE TABLE part (
    upload      TEXT    NOT NULL REFERENCES upload (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    etag        TEXT    NOT NULL,
    file        TEXT    NOT NULL,
    modified_at REAL    NOT NULL,
    checksums   TEXT,                -- JSON; NULL for none
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;

-- Sums kept by triggers, so that no way of changing a row can forget them. The row of bucket '' is the sum of all.
CREATE TABLE total (
    bucket      TEXT PRIMARY KEY,
    objects     INTEGER NOT NULL DEFAULT 0,  -- all but tombstones
    bytes       INTEGER NOT NULL DEFAULT 0,
    blobs       INTEGER NOT NULL DEFAULT 0,
    blob_bytes  INTEGER NOT NULL DEFAULT 0,
    dirty       INTEGER NOT NULL DEFAULT 0,
    dirty_bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO total (bucket) VALUES ('');

CREATE TRIGGER entry_added AFTER INSERT ON entry BEGIN
    INSERT OR IGNORE INTO total (bucket) VALUES (NEW.bucket);
    UPDATE total SET
        objects     = objects + (NEW.state <> 'deleting'),
        bytes       = bytes + (NEW.state <> 'deleting') * NEW.size,
        blobs       = blobs + (NEW.blob IS NOT NULL),
        blob_bytes  = blob_bytes + NEW.blob_bytes,
        dirty       = dirty + (NEW.state = 'dirty'),
        dirty_bytes = dirty_bytes + (NEW.state = 'dirty') * NEW.size
    WHERE bucket IN ('', NEW.bucket);
END;

CREATE TRIGGER entry_removed AFTER DELETE ON entry BEGIN
    UPDATE total SET
        objects     = objects - (OLD.state <> 'deleting'),
        bytes       = bytes - (OLD.state <> 'deleting') * OLD.size,
        blobs       = blobs - (OLD.blob IS NOT NULL),
        blob_bytes  = blob_bytes - OLD.blob_bytes,
        dirty       = dirty - (OLD.state = 'dirty'),
        dirty_bytes = dirty_bytes - (OLD.state = 'dirty') * OLD.size
    WHERE bucket IN ('', OLD.bucket);
END;

-- Not on the read counters: flushing them moves no sum.
CREATE TRIGGER entry_changed AFTER UPDATE OF state, size, blob, blob_bytes ON entry BEGIN
    UPDATE total SET
        objects     = objects + (NEW.state <> 'deleting') - (OLD.state <> 'deleting'),
        bytes       = bytes + (NEW.state <> 'deleting') * NEW.size - (OLD.state <> 'deleting') * OLD.size,
        blobs       = blobs + (NEW.blob IS NOT NULL) - (OLD.blob IS NOT NULL),
        blob_bytes  = blob_bytes + NEW.blob_bytes - OLD.blob_bytes,
        dirty       = dirty + (NEW.state = 'dirty') - (OLD.state = 'dirty'),
        dirty_bytes = dirty_bytes + (NEW.state = 'dirty') * NEW.size - (OLD.state = 'dirty') * OLD.size
    WHERE bucket IN ('', NEW.bucket);
END;

-- The journal in numbers: one row.
CREATE TABLE queue (
    jobs    INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    failing INTEGER NOT NULL
);
INSERT INTO queue VALUES (0, 0, 0);

CREATE TRIGGER job_added AFTER INSERT ON job BEGIN
    UPDATE queue SET jobs = jobs + 1, bytes = bytes + NEW.size, failing = failing + (NEW.attempts > 0);
END;
CREATE TRIGGER job_removed AFTER DELETE ON job BEGIN
    UPDATE queue SET jobs = jobs - 1, bytes = bytes - OLD.size, failing = failing - (OLD.attempts > 0);
END;
CREATE TRIGGER job_changed AFTER UPDATE OF size, attempts ON job BEGIN
    UPDATE queue SET bytes = bytes + NEW.size - OLD.size, failing = failing + (NEW.attempts > 0) - (OLD.attempts > 0);
END;
