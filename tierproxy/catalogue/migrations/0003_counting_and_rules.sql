-- Reads are counted and rules decide. Owner and folder class come from the request or, by the naming patterns, from the
-- key; 'named' says that a request named them. Old rows are classified in the background.
ALTER TABLE entry ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE entry ADD COLUMN folder TEXT NOT NULL DEFAULT '';
ALTER TABLE entry ADD COLUMN named INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN machine_reads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN previous_read_at REAL;   -- the people's read before the last: what a correction restores
ALTER TABLE entry ADD COLUMN pinned_until REAL;       -- NULL: not pinned; 9e999: for ever
ALTER TABLE entry ADD COLUMN purged_run INTEGER;
-- State of the FIFO orders (SIEVE, S3-FIFO) and of GDSF; begins anew with every new blob.
ALTER TABLE entry ADD COLUMN visits INTEGER NOT NULL DEFAULT 0;    -- people's reads since the hand came by, at most 3
ALTER TABLE entry ADD COLUMN main INTEGER NOT NULL DEFAULT 0;      -- S3-FIFO: in the main queue
ALTER TABLE entry ADD COLUMN queued_at REAL;                       -- place in the FIFO; stored_at at first
ALTER TABLE entry ADD COLUMN worth REAL NOT NULL DEFAULT 0;        -- GDSF: inflation at the last read + reads / size
UPDATE entry SET queued_at = stored_at WHERE blob IS NOT NULL;
CREATE INDEX entry_pinned ON entry (pinned_until) WHERE pinned_until IS NOT NULL;
CREATE INDEX entry_queue ON entry (queued_at) WHERE state = 'clean' AND blob IS NOT NULL;

-- People's and machines' reads of an object on one UTC day. Gone with the row.
CREATE TABLE read_day (
    bucket        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    day           INTEGER NOT NULL,
    reads         INTEGER NOT NULL DEFAULT 0,
    machine_reads INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (bucket, key, day)
) WITHOUT ROWID;
CREATE INDEX read_day_day ON read_day (day);
CREATE TRIGGER entry_removed_days AFTER DELETE ON entry BEGIN
    DELETE FROM read_day WHERE bucket = OLD.bucket AND key = OLD.key;
END;

-- What the request that began an upload said the object is to have.
ALTER TABLE upload ADD COLUMN owner TEXT;
ALTER TABLE upload ADD COLUMN folder TEXT;

-- Growth of the node's counters by minute (span 60) and hour (3600).
CREATE TABLE rollup (
    span    INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    counter TEXT    NOT NULL,
    value   INTEGER NOT NULL,
    PRIMARY KEY (span, at, counter)
) WITHOUT ROWID;

-- What each reason (rule:NAME, pressure, operator) removed on a day, and what people regretted of what it removed.
-- Regrets are booked on the day of the read. soon_*: within an hour, a day, a week, 30 days, later.
CREATE TABLE rule_day (
    by              TEXT    NOT NULL,
    day             INTEGER NOT NULL,
    shadow          INTEGER NOT NULL DEFAULT 0,
    objects         INTEGER NOT NULL DEFAULT 0,
    bytes           INTEGER NOT NULL DEFAULT 0,
    regrets         INTEGER NOT NULL DEFAULT 0,
    machine_regrets INTEGER NOT NULL DEFAULT 0,
    seconds         REAL    NOT NULL DEFAULT 0,
    soon_0          INTEGER NOT NULL DEFAULT 0,
    soon_1          INTEGER NOT NULL DEFAULT 0,
    soon_2          INTEGER NOT NULL DEFAULT 0,
    soon_3          INTEGER NOT NULL DEFAULT 0,
    soon_4          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (by, day, shadow)
) WITHOUT ROWID;

CREATE TABLE purge_run (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT    NOT NULL CHECK (kind IN ('rules', 'pressure', 'operator')),
    state           TEXT    NOT NULL CHECK (state IN ('asked', 'running', 'waiting', 'done', 'cancelled', 'failed')),
    at              REAL    NOT NULL,
    rules           INTEGER NOT NULL,
    rule            TEXT    NOT NULL,
    bucket          TEXT    NOT NULL,
    prefix          TEXT    NOT NULL,
    author          TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    confirmed       INTEGER NOT NULL,
    cancel          INTEGER NOT NULL,
    started_at      REAL,
    ended_at        REAL,
    planned_objects INTEGER NOT NULL,
    planned_bytes   INTEGER NOT NULL,
    objects         INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    skipped         INTEGER NOT NULL,
    cursor_bucket   TEXT,
    cursor_key      TEXT,
    note            TEXT    NOT NULL
);
CREATE INDEX purge_run_open ON purge_run (state) WHERE state IN ('asked', 'running', 'waiting');

-- What a run removed, by reason and (pressure) by the rule that had kept it.
CREATE TABLE purge_run_rule (
    run     INTEGER NOT NULL,
    by      TEXT    NOT NULL,
    rule    TEXT    NOT NULL,
    objects INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (run, by, rule)
) WITHOUT ROWID;

CREATE TABLE rules_version (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL CHECK (kind IN ('live', 'shadow')),
    at      REAL NOT NULL,
    author  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    text    TEXT NOT NULL,
    live_at REAL
);

CREATE TABLE eviction (
    bucket    TEXT PRIMARY KEY,
    hand      REAL NOT NULL,
    inflation REAL NOT NULL
) WITHOUT ROWID;

-- The disk as the shadow rules would have it: rows only while fact 'shadow' is 1, or -1 while it is being copied. A blob
-- written or filled is on both disks; what the live rules purge stays on the shadow's; content that is gone is gone.
CREATE TABLE shadow (
    bucket    TEXT    NOT NULL,
    key       TEXT    NOT NULL,
    bytes     INTEGER NOT NULL,          -- footprint of the blob
    stored_at REAL,                      -- NULL: the shadow rules removed it
    purged_at REAL,                      -- by the shadow rules; stays when live fills it, until that read is booked
    purged_by TEXT,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE shadow_since (
    since REAL NOT NULL                  -- one row: when the shadow began
);
INSERT INTO shadow_since VALUES (0);
CREATE TABLE shadow_day (
    day           INTEGER PRIMARY KEY,   -- UTC, of the flush
    reads         INTEGER NOT NULL,
    live_misses   INTEGER NOT NULL,      -- reads that missed because a purge had removed the blob: of the live rules
    shadow_misses INTEGER NOT NULL       -- and of the shadow's
);
INSERT INTO fact (name, value) VALUES ('shadow', 0), ('named_by', 0);

CREATE TRIGGER entry_removed_shadow AFTER DELETE ON entry WHEN (SELECT value FROM fact WHERE name = 'shadow') BEGIN
    DELETE FROM shadow WHERE bucket = OLD.bucket AND key = OLD.key;
END;
CREATE TRIGGER entry_added_shadow AFTER INSERT ON entry
WHEN NEW.blob IS NOT NULL AND (SELECT value FROM fact WHERE name = 'shadow') BEGIN
    INSERT INTO shadow VALUES (NEW.bucket, NEW.key, NEW.blob_bytes, NEW.stored_at, NULL, NULL);
END;
CREATE TRIGGER entry_filled_shadow AFTER UPDATE OF blob ON entry
WHEN NEW.blob IS NOT NULL AND NEW.blob IS NOT OLD.blob AND (SELECT value FROM fact WHERE name = 'shadow') BEGIN
    DELETE FROM shadow
        WHERE bucket = NEW.bucket AND key = NEW.key AND (NEW.etag, NEW.size) IS NOT (OLD.etag, OLD.size);
    INSERT INTO shadow VALUES (NEW.bucket, NEW.key, NEW.blob_bytes, NEW.stored_at, NULL, NULL)
        ON CONFLICT (bucket, key) DO UPDATE SET
            bytes = excluded.bytes, stored_at = coalesce(shadow.stored_at, excluded.stored_at);
END;
CREATE TRIGGER entry_emptied_shadow AFTER UPDATE OF state, size, etag, blob ON entry
WHEN NEW.blob IS NULL AND (NEW.state = 'deleting' OR (NEW.etag, NEW.size) IS NOT (OLD.etag, OLD.size))
    AND (SELECT value FROM fact WHERE name = 'shadow') BEGIN
    DELETE FROM shadow WHERE bucket = OLD.bucket AND key = OLD.key;
END;
CREATE TRIGGER purge_run_removed AFTER DELETE ON purge_run BEGIN
    DELETE FROM purge_run_rule WHERE run = OLD.number;
END;
