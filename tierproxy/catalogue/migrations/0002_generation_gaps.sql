-- The newest generation a row ever had: what this catalogue has heard of. Kept in the transaction of every change.
INSERT INTO fact (name, value) SELECT 'generation_committed', coalesce(max(generation), 0) FROM entry;

CREATE TRIGGER entry_added_generation AFTER INSERT ON entry BEGIN
    UPDATE fact SET value = NEW.generation WHERE name = 'generation_committed' AND value < NEW.generation;
END;
CREATE TRIGGER entry_changed_generation AFTER UPDATE OF generation ON entry BEGIN
    UPDATE fact SET value = NEW.generation WHERE name = 'generation_committed' AND value < NEW.generation;
END;

-- The generations between the last commit of one process and the first of the next. A file of one of them is a write
-- that a crash cut off, or an acknowledged write that this catalogue, restored from a backup, has never heard of.
CREATE TABLE generation_gap (
    committed INTEGER PRIMARY KEY,   -- the gap begins above it
    ceiling   INTEGER NOT NULL       -- and ends with it
) WITHOUT ROWID;
